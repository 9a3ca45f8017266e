"""Two people with tones in two rooms, the relay between them, and what is said of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psutil
from livekit import rtc

from lab.server import LabServer, Participant, ServerSettings
from tests.lab.support import LIMIT, Ear, Tone, client, is_near, until
from transfer.relay import Ended, Order, Relay, Side, relay_rooms
from transfer.relay.order import EngineChoice
from transfer.relay.relay import CHILD

ENGINES: list[EngineChoice] = ["packet", "sdk"]
CALLER, HUMAN = 440.0, 880.0
"""Hz."""


def relay_processes() -> list[psutil.Process]:
    """Those that this process has started, and only those: other tests may run beside it."""
    found = []
    for process in psutil.Process().children():
        try:
            if str(CHILD) in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@asynccontextmanager
async def lab_server(**settings: Any) -> AsyncIterator[LabServer]:
    """A server that cannot move participants, and of which nothing is left."""
    async with LabServer(ServerSettings(edition="oss", **settings)) as made:
        yield made
    assert not made.leftovers()


class Person:
    """An SDK client with a tone."""

    def __init__(self, room: rtc.Room, ear: Ear, tone: Tone) -> None:
        self.room, self.ear, self.tone = room, ear, tone
        self.keys: list[str] = []
        room.on("sip_dtmf_received", lambda event: self.keys.append(event.digit))

    def hears(self, hertz: float) -> bool:
        return any(is_near(hertz)(self.ear.hertz(sid)) for sid in self.ear.heard)


@asynccontextmanager
async def person(
    server: LabServer, name: str, room: str, hertz: float, *, shared_key: str = ""
) -> AsyncIterator[Person]:
    async with client(server, name, room, shared_key=shared_key) as made, Ear(made) as ear, Tone(made, hertz) as tone:
        yield Person(made, ear, tone)


@asynccontextmanager
async def two_people(server: LabServer, *, shared_key: str = "") -> AsyncIterator[tuple[Person, Person]]:
    """`shared_key`: of the caller's room, which is end-to-end encrypted then."""
    async with (
        person(server, "caller", "call", CALLER, shared_key=shared_key) as caller,
        person(server, "human", "consult", HUMAN) as human,
    ):
        yield caller, human


def order(
    server: LabServer,
    first: Side = Side("call", "caller"),  # noqa: B008
    second: Side = Side("consult", "human"),  # noqa: B008
    **values: Any,
) -> Order:
    return Order(server.url, server.settings.api_key, server.settings.api_secret, first, second, **values)


def relayed(
    server: LabServer,
    engine: EngineChoice = "auto",
    first: Side = Side("call", "caller"),  # noqa: B008
    second: Side = Side("consult", "human"),  # noqa: B008
) -> AbstractAsyncContextManager[Relay]:
    key, secret = server.settings.api_key, server.settings.api_secret
    return relay_rooms(first, second, url=server.url, api_key=key, api_secret=secret, engine=engine)


def is_leg(participant: Participant) -> bool:
    return participant.identity.startswith("relay-")


def legs(server: LabServer) -> dict[str, Participant]:
    """The relay's participants that are there, by room."""
    return {room.name: p for room in server.rooms.all() for p in room.participants.values() if is_leg(p)}


async def hear_each_other(caller: Person, human: Person, limit: float = LIMIT) -> None:
    await until(lambda: caller.hears(HUMAN) and human.hears(CALLER), "they hear each other", limit)


async def rooms_end(server: LabServer) -> None:
    await until(lambda: not server.rooms.all(), "no room is left", 3.0)


async def are_alone_again(server: LabServer) -> None:
    """The two of them, each in the room where they were: what a relay leaves that did not come about."""

    def present() -> list[tuple[str, list[str]]]:
        return sorted((room.name, sorted(room.participants)) for room in server.rooms.all())

    await until(lambda: present() == [("call", ["caller"]), ("consult", ["human"])], "the two are alone again", 3.0)


async def ends(relay: Relay) -> Ended:
    async with asyncio.timeout(LIMIT):
        return await relay.ended
