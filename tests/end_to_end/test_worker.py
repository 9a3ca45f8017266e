"""Whom the shipped worker answers, and when it takes no more calls: on a server that believes what a worker reports."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from livekit import api

from bench.desk import Desk, open_desk
from frontdesk.voice.worker import TARGET_LOAD
from lab.lab import AGENT_NAME, FRONT_DESK
from lab.server.workers import FINISHED, Worker
from tests.lab.support import LIMIT, Tone, client, server_api, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A worker that takes one call at a time; of no call is anything kept."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.play.worker.MAX_CALLS", 1)
        patch.setenv("RECORDING_FOLDER", str(folder / "recordings"))
        async with open_desk(folder) as made:
            yield made
    assert not (folder / "recordings").exists()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def idle(desk: Desk) -> None:
    """The calls of the test before are over, and the server has heard of it."""
    await until(lambda: is_free(desk), "the worker is free")


def is_free(desk: Desk) -> bool:
    over = all(job.state.status in FINISHED for job in desk.server.dispatcher.jobs.values())
    return over and worker_of(desk).load == 0


def worker_of(desk: Desk) -> Worker:
    [worker] = desk.server.dispatcher.workers.values()
    return worker


@pytest.fixture
def open_rule(desk: Desk) -> Iterator[None]:
    """The dispatch rule names no trunk, as in many guides."""
    [rule] = desk.gateway.rules.values()
    trunks = list(rule.trunk_ids)
    del rule.trunk_ids[:]
    yield
    rule.trunk_ids.extend(trunks)


@pytest.mark.parametrize("called", ["+19990001234", "admin"])
async def test_a_stranger_who_came_over_no_trunk_is_hung_up_on_and_costs_no_model(
    desk: Desk, open_rule: None, called: str
) -> None:
    events = desk.folder / "ai.jsonl"
    asked = events.read_text() if events.exists() else ""
    stranger = desk.exchange.phone("+15559990000")
    began = time.monotonic()
    assert await stranger.dial(f"sip:{called}@{desk.gateway.address}", timeout=LIMIT) >= 400
    assert time.monotonic() - began < 3
    await until(lambda: not desk.server.rooms.all(), "no room is left")
    assert (events.read_text() if events.exists() else "") == asked
    assert "a call that came over no trunk is ended" in desk.worker.log.read_text()


async def test_with_the_trunk_in_the_rule_a_stranger_gets_nothing(desk: Desk) -> None:
    stranger = desk.exchange.phone("+15559990000")
    with pytest.raises(TimeoutError):
        await stranger.dial(f"sip:+19990001234@{desk.gateway.address}", timeout=1.0)
    assert not desk.server.rooms.all()


async def test_a_caller_from_a_browser_is_served(desk: Desk) -> None:
    async with server_api(desk.server) as calls, client(desk.server, "visitor", "web-1") as room, Tone(room, 440):
        request = api.CreateAgentDispatchRequest(agent_name=AGENT_NAME, room="web-1")
        await calls.agent_dispatch.create_dispatch(request)
        await until(
            lambda: any(each.track_publications for each in room.remote_participants.values()), "the agent speaks"
        )
    await until(lambda: not desk.server.rooms.all(), "no room is left")


async def test_two_busy_loops_beside_the_worker_cost_no_call(desk: Desk) -> None:
    """LiveKit's own load is the machine's CPU: with every core busy the server offered no call to anybody."""
    busy = [await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass") for _ in range(2)]
    try:
        await asyncio.sleep(3.0)  # longer than between two reports of the load
        call = desk.call()
        assert await call.caller.dial(f"sip:{FRONT_DESK}@{desk.gateway.address}", timeout=LIMIT) == 200
        await desk.end_calls()
    finally:
        for process in busy:
            process.kill()
            await process.wait()


async def test_a_call_too_many_is_offered_to_nobody_and_the_next_one_is_when_there_is_room_again(desk: Desk) -> None:
    worker = worker_of(desk)
    first, second = desk.call(), desk.call(caller="+12025550112")
    uri = f"sip:{FRONT_DESK}@{desk.gateway.address}"
    assert await first.caller.dial(uri, timeout=LIMIT) == 200
    for full in (lambda: True, lambda: worker.load > TARGET_LOAD):  # also before the server has heard of it
        await until(full, "no more call fits")
        with pytest.raises(TimeoutError):
            await second.caller.dial(uri, timeout=1.0)
    first.caller.hang_up()
    await until(lambda: is_free(desk), "one fits again")
    assert await second.caller.dial(uri, timeout=LIMIT) == 200
    async with server_api(desk.server) as calls:  # rooms in which nobody came stay for 20 s
        for room in desk.server.rooms.all():
            await calls.room.delete_room(api.DeleteRoomRequest(room=room.name))
    await desk.end_calls()
