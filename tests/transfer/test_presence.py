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
GONE = api.TwirpError("not_found", "participant does not exist", status=404)


class Room(rtc.EventEmitter[Any]):
    """What `Departures` sees of a room."""

    name = "call"

    def __init__(self, state: rtc.ConnectionState.ValueType) -> None:
        super().__init__()
        self.connection_state = state
        self.remote_participants: dict[str, Any] = {}

    def announce(self, identity: str) -> None:
        self.remote_participants[identity] = object()
        self.emit("participant_connected", SimpleNamespace(identity=identity))

    def take_away(self, identity: str) -> None:
        self.remote_participants.pop(identity)
        self.emit("participant_disconnected", SimpleNamespace(identity=identity))


class Desk:
    """A `Departures`, the room that it watches, what the server says of anybody in it, and who has left."""

    def __init__(self, state: rtc.ConnectionState.ValueType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(presence, "LOOK", 0.02)
        self.room, self.left = Room(state), list[str]()
        self.answer: Exception | None = None
        job: Any = SimpleNamespace(room=self.room, api=SimpleNamespace(room=self))
        self.watch = Departures(job, self.left.append)

    async def get_participant(self, request: api.RoomParticipantIdentity) -> None:
        assert request.room == Room.name
        if self.answer:
            raise self.answer

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


async def test_nobody_is_looked_for_once_the_watch_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(THERE, monkeypatch)
    await desk.lose_the_connection()
    desk.watch.close()
    desk.answer = GONE
    await asyncio.sleep(0.1)
    assert desk.left == []
