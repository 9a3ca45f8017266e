"""Once the two talk: what the agent does, what it costs, and what happens when one of them hangs up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from livekit import api

from bench import agent
from bench.desk import CLEAN_UP, HUMAN, Call, Desk, open_desk
from tests.lab.support import LIMIT, server_api, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_call_left")]

INTRODUCTION = "Sarah is on the line now."
RETURN_LIMIT = 2.0
"""Seconds from the colleague's hang-up until the agent speaks to the caller again."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["cloud", "oss"])
async def desk(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """On a server that moves the colleague, and on one that cannot: the two rooms are joined."""
    async with open_desk(tmp_path_factory.mktemp("desk"), Path(agent.__file__), edition=request.param) as made:
        yield made


async def bridged(desk: Desk, **parameters: Any) -> Call:
    """Two people who talk."""
    desk.order(sip_call_to=HUMAN, introduction=INTRODUCTION, **parameters)
    call = desk.call()
    await call.ask_for_a_person(agent.GREETING)
    await call.hears(call.human, "Shall I connect you?")
    await call.human.press("1")
    await asyncio.gather(call.hears(call.caller, INTRODUCTION), call.hears(call.human, INTRODUCTION))
    await until(call.hear_each_other, "both hear each other", every=0.05)
    return call


async def test_no_stream_to_a_model_is_open_while_the_two_talk(desk: Desk) -> None:
    call = await bridged(desk, after_bridge="return")
    await until(lambda: desk.ai.open_streams == 0, "no speech stream is open")
    before = desk.ai.requests
    call.say(call.human, "I can help you with that. Shall we begin?")
    await call.hears(call.caller, "Shall we begin?")
    assert (desk.ai.open_streams, desk.ai.requests) == (0, before)
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def test_the_agent_returns_when_the_colleague_hangs_up(desk: Desk) -> None:
    call = await bridged(desk, after_bridge="return")
    call.human.hang_up()
    hung_up = time.monotonic()
    await until(
        lambda: "anything else" in call.heard(call.caller, hung_up), "the agent asks what else it can do", every=0.05
    )
    assert time.monotonic() - hung_up <= RETURN_LIMIT + 0.7, "the sentence itself takes 0.65 s"
    assert (await desk.report())["ended_by"] == "human"
    call.say(call.caller, "I would like a person after all.")
    await call.human.wait_for("ringing", LIMIT, after=hung_up)
    await until(call.music_on_hold, "the second transfer has hold music", every=0.05)
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def test_otherwise_the_call_ends_when_the_colleague_hangs_up(desk: Desk) -> None:
    call = await bridged(desk)
    call.human.hang_up()
    assert await call.ends() <= CLEAN_UP
    assert call.caller.event("ended")


async def test_a_caller_who_hangs_up_ends_the_colleague_s_leg_even_if_the_agent_would_return(desk: Desk) -> None:
    call = await bridged(desk, after_bridge="return")
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP
    assert call.human.event("ended")


async def test_the_agent_can_leave_the_two_alone(desk: Desk) -> None:
    call = await bridged(desk, after_bridge="leave")

    def agents() -> list[str]:
        return [p for r in desk.server.rooms.all() for p in r.participants if p.startswith("agent-")]

    await until(lambda: not agents(), "the agent has left")
    assert call.hear_each_other()
    call.caller.hang_up()
    if desk.server.settings.edition == "oss":
        assert await call.ends() <= CLEAN_UP, "the relay alone looks after the two"
        return
    call.human.hang_up()
    # Nobody is left who would close the room at once.
    async with server_api(desk.server) as calls:
        await calls.room.delete_room(api.DeleteRoomRequest(room=desk.server.rooms.all()[0].name))
