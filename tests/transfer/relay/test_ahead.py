"""A relay that is in both rooms before the two may hear each other."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aioice
import pytest
from aiohttp import web
from livekit.protocol import models

from lab.server import LabServer
from lab.waiting import until
from tests.transfer.relay.support import (
    CALLER,
    HUMAN,
    Person,
    are_alone_again,
    ends,
    hear_each_other,
    legs,
    order,
    person,
    two_people,
)
from transfer.relay import Ended, Relay, RelayError, RelayFailure, RelayProcess, Side
from transfer.relay.order import PARTICIPANT_LIMIT
from transfer.relay.packets import PacketEngine
from transfer.relay.rooms import RoomApi

QUIET = 0.5
"""Seconds for which nothing may be heard."""


@asynccontextmanager
async def joined_ahead(server: LabServer, caller: Person, human: Person) -> AsyncIterator[Relay]:
    """A relay that waits in both rooms, and of which nobody has heard anything."""
    relay = Relay(order(server, Side("call", "caller", keep=True)), RelayProcess.launch())
    relay.join()
    try:
        await until(lambda: len(legs(server)) == 2, "both legs are there")
        await asyncio.sleep(QUIET)
        assert not caller.hears(HUMAN) and not human.hears(CALLER)
        yield relay
    finally:
        await relay.stop()


async def test_who_is_connected_hears_the_other_at_once_and_not_before(server: LabServer) -> None:
    async with two_people(server) as (caller, human), joined_ahead(server, caller, human) as relay:
        began = time.monotonic()
        await relay.start()
        ready = time.monotonic() - began
        await hear_each_other(caller, human)
        assert relay.engine == "packet"
        assert ready < 0.05, "both legs were there"


async def test_one_that_is_not_needed_leaves_everybody_where_they_were(server: LabServer) -> None:
    async with two_people(server) as (caller, human):
        async with joined_ahead(server, caller, human) as relay:
            await relay.stop()
        await are_alone_again(server)


async def test_whoever_dies_before_the_two_are_connected_leaves_no_relay_behind(server: LabServer) -> None:
    async with two_people(server) as (caller, human), joined_ahead(server, caller, human) as relay:
        relay.let_go()
        await are_alone_again(server)


async def test_a_human_who_has_hung_up_meanwhile_ends_it_and_the_caller_stays(server: LabServer) -> None:
    async with two_people(server) as (caller, human), joined_ahead(server, caller, human) as relay:
        consult = server.rooms.get("consult")
        assert consult
        await consult.close(models.ROOM_DELETED)
        await until(lambda: len(legs(server)) <= 1, "the leg there is gone")
        try:
            await relay.start()
        except RelayError as error:
            assert error.failure is RelayFailure.NO_ROOM
        else:  # the process had not heard of it yet
            assert await ends(relay) == Ended("second", "room_deleted")
        call = server.rooms.get("call")
        await until(lambda: call is not None and sorted(call.participants) == ["caller"], "the caller is alone")


async def test_what_fails_after_the_two_should_hear_each_other_is_not_begun_again(server: LabServer) -> None:
    async with two_people(server):
        relay = Relay(order(server, second=Side("consult", "nobody")), RelayProcess.launch())
        relay.join()
        await until(lambda: len(legs(server)) == 2, "both legs are there")
        began = time.monotonic()
        with pytest.raises(RelayError) as caught:
            await relay.start()
        assert caught.value.failure is RelayFailure.NO_PARTICIPANT
        assert time.monotonic() - began < 1.5 * PARTICIPANT_LIMIT
        await are_alone_again(server)


async def test_one_whose_process_has_died_is_replaced(server: LabServer) -> None:
    async with two_people(server) as (caller, human), joined_ahead(server, caller, human) as relay:
        os.kill(relay.pid, signal.SIGKILL)
        await relay.start()
        await hear_each_other(caller, human)


async def test_legs_that_lose_the_server_meanwhile_are_there_again(server: LabServer) -> None:
    async with two_people(server) as (caller, human), joined_ahead(server, caller, human) as relay:
        first = {leg.identity for leg in legs(server).values()}
        for identity in first:
            await server.cut_signalling(0.0, identity)
        await asyncio.sleep(QUIET)
        await relay.start()
        await hear_each_other(caller, human)
        assert not first & {leg.identity for leg in legs(server).values()}, "they have joined anew"


@pytest.mark.parametrize("told", ["while it joins", "when it has joined"])
async def test_a_leg_that_makes_a_deleted_room_anew_does_not_leave_it_there(
    server: LabServer, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    coming, gone = asyncio.Event(), asyncio.Event()
    accept = server._accept

    async def accept_late(request: web.Request) -> web.WebSocketResponse:
        claims = server._join_claims(request)
        if (claims.room, claims.kind) == ("call", "agent"):
            coming.set()
            await gone.wait()
            server._open_room(claims)  # the real server does so before it answers
        return await accept(request)

    monkeypatch.setattr(server, "_accept", accept_late)
    async with person(server, "human", "consult", HUMAN):
        async with person(server, "caller", "call", CALLER):
            relay = Relay(order(server, Side("call", "caller", keep=True)), RelayProcess.launch())
            relay.join()
            await coming.wait()
            call = server.rooms.get("call")
            assert call
            await call.close(models.ROOM_DELETED)
        if told == "while it joins":
            stopping = asyncio.create_task(relay.stop())
            await asyncio.sleep(0.1)
            gone.set()
            await stopping
        else:
            gone.set()
            await until(lambda: "call" in legs(server), "the leg has made the room anew")
            await relay.stop()

        def present() -> list[tuple[str, list[str]]]:
            return [(room.name, list(room.participants)) for room in server.rooms.all()]

        await asyncio.sleep(QUIET)
        assert present() == [("consult", ["human"])]


async def test_legs_whose_closing_is_cancelled_leave_all_the_same(
    server: LabServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hangs up, the legs are being closed, and the relay is told to stop."""
    for name in ("CONSENT_INTERVAL", "CONSENT_FAILURES", "get_host_addresses"):  # what the engine sets is set back
        monkeypatch.setattr(aioice.ice, name, getattr(aioice.ice, name))
    asked = order(server)
    async with two_people(server), RoomApi(asked) as rooms:
        await rooms.check()
        engine = PacketEngine(asked, rooms)
        await engine.start()
        assert len(legs(server)) == 2
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await are_alone_again(server)


@pytest.mark.parametrize("after", [0.0, 0.1])
async def test_a_process_that_is_not_needed_before_it_is_ready_is_gone_at_once(
    server: LabServer, after: float, capfd: pytest.CaptureFixture[str]
) -> None:
    relay = Relay(order(server), RelayProcess.launch())
    relay.join()
    await asyncio.sleep(after)
    began = time.monotonic()
    await relay.stop()
    assert time.monotonic() - began < 0.2, "it takes several times as long to load"
    assert "Traceback" not in capfd.readouterr().err
