"""Calls between two phones of the lab, in one room or in two that a relay joins, without an agent or a model."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import psutil
from livekit import api

from bench.beeps import TICK, Frames, delays, talk
from lab.server import LabServer, ServerSettings
from lab.sip import Answer, Phone, PhoneExchange, SipGateway
from lab.waiting import LIMIT, until
from transfer.relay import Order, Relay, RelayProcess, Side
from transfer.relay.order import EngineName

Way = Literal["direct", "packet", "sdk"]
"""Both phones in one room, or in two rooms that an engine of the relay joins."""

Delays = tuple[list[float | None], list[float | None]]
"""From the first phone to the second, and back."""

SETTLE = 4.0
"""Seconds of a call until the buffers on its way have found their length."""
NUMBERS = ("+12025550111", "+12025550141")
SIDES = ("first", "second")
_serial = itertools.count(1)


class RelayLab:
    """A server that cannot move participants, and its way to the telephones."""

    def __init__(self, server: LabServer, gateway: SipGateway, calls: api.LiveKitAPI) -> None:
        self.server, self.gateway, self.calls = server, gateway, calls

    def order(self, rooms: tuple[str, str], engine: EngineName) -> Order:
        settings = self.server.settings
        first, second = (Side(room, name) for room, name in zip(rooms, SIDES, strict=True))
        return Order(self.server.url, settings.api_key, settings.api_secret, first, second, engine=engine)

    async def delete(self, room: str) -> None:
        if self.server.rooms.get(room):
            await self.calls.room.delete_room(api.DeleteRoomRequest(room=room))


@contextlib.asynccontextmanager
async def open_lab() -> AsyncIterator[RelayLab]:
    """Opens a lab; nothing of any call is left on it afterwards."""
    server = LabServer(ServerSettings(edition="oss"))
    settings = server.settings
    async with (
        server,
        SipGateway(server) as gateway,
        api.LiveKitAPI(server.http_url, settings.api_key, settings.api_secret) as calls,
    ):
        yield RelayLab(server, gateway, calls)
    assert not gateway.endpoint.legs
    assert not server.leftovers()


@contextlib.asynccontextmanager
async def telephones(phase: float) -> AsyncIterator[tuple[PhoneExchange, PhoneExchange]]:
    """Two exchanges whose clocks of 20 ms tick at `phase` (0 to 1) of a frame, and half a frame later.

    A phone plays sound from a tick of its own clock on, so in one call a relay adds whole frames or none. Over calls at
    evenly spread phases the mean is the added delay.
    """
    first, second = PhoneExchange(), PhoneExchange()
    async with contextlib.AsyncExitStack() as stack:
        for exchange, at in ((first, phase), (second, phase + 0.5)):
            await asyncio.sleep((at * TICK - time.monotonic()) % TICK)
            await stack.enter_async_context(exchange)
        yield first, second


class WarmProcess(RelayProcess):
    """A relay process that is known to wait for its order."""

    _waiting: dict[str, Any] | None = None

    @classmethod
    async def warmed(cls) -> WarmProcess:
        process = cls.launch()
        assert isinstance(process, WarmProcess)
        process._waiting = await process.read()
        assert process._waiting, "the relay's process has ended"
        return process

    async def read(self) -> dict[str, Any] | None:
        if self._waiting is None:
            return await super().read()
        waiting, self._waiting = self._waiting, None
        return waiting


@dataclass
class Bridge:
    """A running relay."""

    relay: Relay
    ready: float
    """Seconds from the order to "ready"."""

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.relay.pid)


async def bridge(lab: RelayLab, rooms: tuple[str, str], engine: EngineName, process: RelayProcess) -> Bridge:
    relay = Relay(lab.order(rooms, engine), process)
    began = time.monotonic()
    await relay.start()
    return Bridge(relay, time.monotonic() - began)


def new_rooms(way: Way) -> tuple[str, str]:
    number = next(_serial)
    return (f"call-{number}", f"call-{number}") if way == "direct" else (f"call-{number}", f"consult-{number}")


@dataclass
class PhoneCall:
    """Two people talking."""

    rooms: tuple[str, str]
    phones: tuple[Phone, Phone]
    bridge: Bridge | None = None

    def talk(self, seconds: float) -> None:
        """Both talk without a pause, after the sound still queued."""
        for phone in self.phones:
            phone.say(talk(seconds))

    def ears(self, start: float, end: float) -> tuple[Frames, Frames]:
        first, second = ([frame for frame in phone.ear.frames if start <= frame[0] < end] for phone in self.phones)
        return first, second

    async def delays(self, start: float, end: float) -> Delays:
        """Of the beeps: in a thread, because phones do not wait."""
        ears = self.ears(start, end)
        mouths = [[frame for frame in phone.mouth.frames if start <= frame[0] < end] for phone in self.phones]
        there = await asyncio.to_thread(delays, mouths[0], ears[1])
        return there, await asyncio.to_thread(delays, mouths[1], ears[0])

    def forget(self, before: float) -> None:
        """Drops the sound said and heard until then: an hour of it would fill the memory of this process."""
        for phone in self.phones:
            for recording in (phone.ear, phone.mouth):
                recording.frames = [frame for frame in recording.frames if frame[0] >= before]


async def dial(lab: RelayLab, exchange: PhoneExchange, number: str, room: str, identity: str) -> Phone:
    phone = exchange.phone(number, on_call=Answer(after=0.0))
    await lab.calls.sip.create_sip_participant(
        api.CreateSIPParticipantRequest(
            trunk=api.SIPOutboundConfig(hostname=exchange.address),
            sip_call_to=number,
            sip_number=NUMBERS[0],
            room_name=room,
            participant_identity=identity,
            wait_until_answered=True,
        )
    )
    return phone


@contextlib.asynccontextmanager
async def phone_call(
    lab: RelayLab, exchanges: tuple[PhoneExchange, PhoneExchange], way: Way
) -> AsyncIterator[PhoneCall]:
    """Two phones that have been connected; both hang up at the end, and nothing is left of their rooms."""
    rooms = new_rooms(way)
    process = None if way == "direct" else await WarmProcess.warmed()
    phones: list[Phone] = []
    made: Bridge | None = None
    try:
        for exchange, number, room, name in zip(exchanges, NUMBERS, rooms, SIDES, strict=True):
            phones.append(await dial(lab, exchange, number, room, name))
        if process is not None and way != "direct":
            made = await bridge(lab, rooms, way, process)
        yield PhoneCall(rooms, (phones[0], phones[1]), made)
    finally:
        if made is not None:
            await made.relay.stop()
        elif process is not None:
            await process.stop()
        for room in rooms:
            await lab.delete(room)
        await until(lambda: not any(phone.in_call for phone in phones), "the phones hang up", LIMIT)
        await until(lambda: not any(lab.server.rooms.get(room) for room in rooms), "the rooms end", LIMIT)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
