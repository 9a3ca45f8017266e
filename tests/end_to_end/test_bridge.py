"""A bridge that does not come about: the human is told, and the caller has the agent back within 3 seconds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench import agent
from bench.desk import CLEAN_UP, HUMAN, Call, Desk, open_desk
from lab.server.faults import ApiFault
from tests.lab.support import LIMIT, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BRIDGE_LIMIT = 3.0
"""Seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """On a server of the open-source edition, which cannot move anybody."""
    async with open_desk(tmp_path_factory.mktemp("desk"), Path(agent.__file__), edition="oss") as made:
        yield made


async def accepted(desk: Desk) -> tuple[Call, float]:
    desk.order("ours", sip_call_to=HUMAN)
    call = desk.call()
    await call.ask_for_a_person(agent.GREETING)
    await call.human.wait_for("answered", LIMIT)
    call.say(call.human, "Hello, this is Sarah.")
    await call.hears(call.human, "Shall I connect you?")
    await call.human.press("1")
    return call, time.monotonic()


@pytest.mark.parametrize(
    "fault", [None, ApiFault(hangs=True), ApiFault(unanswered=True)], ids=["not implemented", "hangs", "no answer"]
)
async def test_a_move_that_fails_or_hangs_ends_in_an_outcome(desk: Desk, fault: ApiFault | None) -> None:
    if fault:
        desk.server.twirp.faults.plan("MoveParticipant", fault)
    call, at = await accepted(desk)
    report = await desk.report()
    assert report["outcome"] == "bridge_failed"
    assert report["ended"] - at <= BRIDGE_LIMIT
    await call.hears(call.human, "I cannot connect the call.")
    await call.hears(call.caller, "I could not connect you")
    assert call.leaks() == []
    await until(lambda: not call.human.in_call, "the human's leg has ended", CLEAN_UP)
    await desk.end_calls()
