"""Who has left a room, told apart from our own connection being away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from livekit import api, rtc

from transfer import presence
from transfer.presence import Departures

AWAY, THERE = rtc.ConnectionState.CONN_RECONNECTING, rtc.ConnectionState.CONN_CONNECTED
HUNG_UP = {"sip.callStatus": "hangup"}
GONE = api.TwirpError("not_found", "participant does not exist", status=404)


class Room(rtc.EventEmitter[Any]):
    """What `Departures` sees of a room."""

    name = "call"

    def __init__(self, state: rtc.ConnectionState.ValueType) -> None:
        super().__init__()
        self.connection_state = state
        self.remote_participants: dict[str, Any] = {}

    def announce(self, identity: str, **attributes: str) -> None:
        self.remote_participants[identity] = SimpleNamespace(identity=identity, attributes=attributes)
        self.emit("participant_connected", self.remote_participants[identity])

    def take_away(self, identity: str) -> None:
        self.emit("participant_disconnected", self.remote_participants.pop(identity))

    def hang_up(self, identity: str) -> None:
        participant = self.remote_participants[identity]
        participant.attributes |= HUNG_UP
        self.emit("participant_attributes_changed", HUNG_UP, participant)


class Desk:
    """A `Departures`, the room that it watches, what the server says of anybody in it, and who has left."""

    def __init__(self, state: rtc.ConnectionState.ValueType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(presence, "LOOK", 0.02)
        self.room, self.left = Room(state), list[str]()
        self.answer: Exception | None = None
        self.attributes: dict[str, str] = {}
        job: Any = SimpleNamespace(room=self.room, api=SimpleNamespace(room=self))
        self.watch = Departures(job, self.left.append)

    async def get_participant(self, request: api.RoomParticipantIdentity) -> Any:
        assert request.room == Room.name
        if self.answer:
            raise self.answer
        return SimpleNamespace(attributes=self.attributes)

    async def lose_the_connection(self) -> None:
        for identity in ("caller", "human"):
            self.room.announce(identity)
        self.room.emit("reconnecting")
        for identity in ("caller", "human"):
            self.room.take_away(identity)
        self.room.announce("caller")
        self.room.emit("reconnected")
        await asyncio.sleep(0.1)


async def test_whoever_is_expected_and_not_there_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(THERE, monkeypatch)
    desk.room.announce("caller")
    desk.watch.expect(["caller", "human"])
    assert desk.left == ["human"]


async def test_nobody_has_left_while_our_own_connection_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(AWAY, monkeypatch)
    desk.answer = GONE
    desk.watch.expect(["caller", "human"])
    assert desk.left == [] and desk.watch.is_away
    desk.room.announce("caller")
    desk.room.emit("reconnected")
    await asyncio.sleep(0.1)
    assert desk.left == ["human"]


async def test_who_left_while_we_were_away_has_left_as_soon_as_the_server_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(THERE, monkeypatch)
    desk.answer = GONE
    await desk.lose_the_connection()
    assert desk.left == ["human"]


async def test_whom_the_server_knows_has_not_left_though_it_announces_them_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "RETURN_LIMIT", 0.01)
    desk = Desk(THERE, monkeypatch)
    await desk.lose_the_connection()
    assert desk.left == []
    desk.room.announce("human")
    await asyncio.sleep(0.05)
    desk.answer = GONE
    await asyncio.sleep(0.05)
    assert desk.left == [], "nobody looks for somebody who is there"


async def test_of_a_server_that_does_not_answer_nobody_is_waited_for_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "RETURN_LIMIT", 0.3)
    desk = Desk(THERE, monkeypatch)
    desk.answer = aiohttp.ServerDisconnectedError()
    await desk.lose_the_connection()
    assert desk.left == []
    await asyncio.sleep(0.4)
    assert desk.left == ["human"]


async def test_a_telephone_has_left_when_it_hangs_up_and_leaves_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(THERE, monkeypatch)
    room: Any = desk.room
    desk.room.announce("caller")
    desk.room.announce("human")
    assert (desk.left, presence.present_in(room)) == ([], {"caller", "human"})
    desk.room.hang_up("caller")
    assert (desk.left, presence.present_in(room)) == (["caller"], {"human"})
    desk.watch.expect(["caller"])
    desk.room.take_away("caller")
    assert desk.left == ["caller"] * 2, "once for each who asks"


async def test_who_hung_up_while_we_were_away_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(THERE, monkeypatch)
    desk.attributes = HUNG_UP
    await desk.lose_the_connection()
    assert desk.left == ["human"], "as the server says"
    desk.room.emit("reconnecting")
    desk.room.take_away("caller")
    desk.room.announce("caller", **HUNG_UP)
    desk.room.emit("reconnected")
    assert desk.left == ["human", "caller"], "as is announced"
    desk.room.emit("reconnecting")
    desk.room.take_away("caller")
    desk.room.announce("caller", **HUNG_UP)
    desk.room.emit("reconnected")
    assert desk.left == ["human", "caller"], "once"


async def test_nobody_is_looked_for_once_the_watch_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(THERE, monkeypatch)
    await desk.lose_the_connection()
    desk.watch.close()
    desk.answer = GONE
    await asyncio.sleep(0.1)
    assert desk.left == []
