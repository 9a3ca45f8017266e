"""Who has left a room, told apart from our own connection being away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

from transfer import presence
from transfer.presence import Departures

AWAY, THERE = rtc.ConnectionState.CONN_RECONNECTING, rtc.ConnectionState.CONN_CONNECTED


class Room(rtc.EventEmitter[Any]):
    """What `Departures` sees of a room."""

    def __init__(self, state: rtc.ConnectionState.ValueType) -> None:
        super().__init__()
        self.connection_state = state
        self.remote_participants: dict[str, Any] = {}


async def departures(room: Room, monkeypatch: pytest.MonkeyPatch) -> tuple[Departures, list[str]]:
    monkeypatch.setattr(presence, "RETURN_LIMIT", 0.05)
    left: list[str] = []
    return Departures(room, left.append), left  # type: ignore[arg-type]


async def test_whoever_is_expected_and_not_there_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(THERE)
    room.remote_participants["caller"] = object()
    watch, left = await departures(room, monkeypatch)
    watch.expect(["caller", "human"])
    assert left == ["human"]


async def test_nobody_has_left_while_our_own_connection_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(AWAY)
    watch, left = await departures(room, monkeypatch)
    watch.expect(["caller", "human"])
    assert left == [] and watch.is_away
    room.remote_participants["caller"] = object()
    room.emit("participant_connected", SimpleNamespace(identity="caller"))
    room.emit("reconnected")
    await asyncio.sleep(0.2)
    assert left == ["human"]
