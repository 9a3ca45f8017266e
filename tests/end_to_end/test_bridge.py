"""The moment in which two people are connected: by a move, by joining their rooms, or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench import agent
from bench.desk import CLEAN_UP, HUMAN, Call, Desk, open_desk
from bench.fault_play import is_relay
from lab.server.faults import ApiFault
from lab.sip import Phone
from tests.lab.support import LIMIT, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_call_left")]

BRIDGE_LIMIT = 3.0
"""Seconds from the yes until a bridge that fails has an outcome, or another one has taken its place."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path_factory.mktemp("desk"), Path(agent.__file__)) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def oss_desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """On a server of the open-source edition, which cannot move anybody."""
    async with open_desk(tmp_path_factory.mktemp("oss"), Path(agent.__file__), edition="oss") as made:
        yield made


FAULTS = (ApiFault("unknown", "no"), ApiFault(hangs=True), ApiFault(drops=True))


async def accepted(desk: Desk, **parameters: Any) -> tuple[Call, float]:
    desk.order("ours", sip_call_to=HUMAN, **parameters)
    call = desk.call()
    await call.ask_for_a_person(agent.GREETING)
    await call.human.wait_for("answered", LIMIT)
    call.say(call.human, "Hello, this is Sarah.")
    await call.hears(call.human, "Shall I connect you?")
    at = time.monotonic()
    await call.human.press("1")
    return call, at


def keys_heard(phone: Phone, since: float) -> str:
    return "".join(event.detail for event in phone.events if event.name == "key" and event.at >= since)


def moves_asked_for(desk: Desk) -> int:
    """In the life of the server."""
    return sum(call.method == "MoveParticipant" for call in desk.server.twirp.faults.calls)


@pytest.mark.parametrize("fault", FAULTS, ids=["fails", "hangs", "drops"])
async def test_a_move_that_may_not_be_replaced_ends_in_an_outcome(desk: Desk, fault: ApiFault) -> None:
    desk.server.twirp.faults.plan("MoveParticipant", fault)
    call, at = await accepted(desk, bridge="move")
    report = await desk.report()
    assert report["outcome"] == "bridge_failed"
    assert report["ended"] - at <= BRIDGE_LIMIT
    await call.hears(call.human, "I cannot connect the call.")
    await call.hears(call.caller, "I could not connect you")
    assert call.leaks() == []
    await until(lambda: not call.human.in_call, "the human's leg has ended", CLEAN_UP)
    await desk.end_calls()


@pytest.mark.parametrize("fault", FAULTS, ids=["fails", "hangs", "drops"])
async def test_a_move_that_fails_or_hangs_is_replaced_by_a_relay(desk: Desk, fault: ApiFault) -> None:
    desk.server.twirp.faults.plan("MoveParticipant", fault)
    call, at = await accepted(desk)
    await until(call.hear_each_other, "both hear each other", every=0.05)
    assert time.monotonic() - at <= BRIDGE_LIMIT + 0.5, "the pilots that tell it are listened to for half a second"
    report = await desk.report()
    bridged = report["events"][-1]
    assert (bridged["phase"], bridged["bridge"]) == ("bridged", "relay/packet")
    assert bridged["bridge_reason"].startswith("the move failed: ")
    assert call.leaks(at) == []
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def test_a_move_whose_answer_never_comes_has_come_about_all_the_same(desk: Desk) -> None:
    desk.server.twirp.faults.plan("MoveParticipant", ApiFault(unanswered=True))
    call, at = await accepted(desk, bridge="move")
    await until(call.hear_each_other, "both hear each other", every=0.05)
    assert time.monotonic() - at <= BRIDGE_LIMIT
    assert (await desk.report())["outcome"] == "connected"
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def test_a_caller_who_gives_up_in_the_moment_of_the_move_does_not_get_the_human(desk: Desk) -> None:
    desk.server.twirp.faults.plan("MoveParticipant", ApiFault(before=0.6))
    before = moves_asked_for(desk)
    call, _ = await accepted(desk)
    await until(lambda: moves_asked_for(desk) > before, "the move is asked for")
    await call.caller.press("*")
    assert (await desk.report())["outcome"] == "caller_cancelled"
    await until(lambda: not call.human.in_call, "the human's leg ends", 5.0)
    assert call.caller.in_call
    assert call.leaks(least=25) == [], "whom the server brings late is sent away as soon as they are seen"


async def test_where_the_server_moves_nobody_is_relayed_and_no_process_is_left(desk: Desk) -> None:
    call, _ = await accepted(desk)
    await until(call.hear_each_other, "both hear each other", every=0.05)
    assert (await desk.report())["events"][-1]["bridge"] == "move"
    assert not any(is_relay(p) for room in desk.server.rooms.all() for p in room.participants.values())
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def test_a_server_that_cannot_move_is_asked_once_in_the_life_of_a_worker(oss_desk: Desk) -> None:
    for expected in (1, 1):
        call, _ = await accepted(oss_desk)
        await until(call.hear_each_other, "both hear each other", every=0.05)
        report = await oss_desk.report()
        bridged = report["events"][-1]
        assert bridged["bridge"] == "relay/packet"
        assert (bridged["destination"], bridged["human_identity"]) == ("+12…41", report["human"])
        consult, callers = (oss_desk.server.rooms.get(name) for name in (bridged["consult_room"], report["room"]))
        assert consult and callers
        assert json.loads(consult.metadata) == {"transfer": bridged["transfer"], "caller_room": callers.sid}
        assert bridged["bridge_reason"] == "this server cannot move a participant; packets get through"
        assert moves_asked_for(oss_desk) == expected
        assert call.leaks(call.phase_time("bridge")) == []
        call.human.hang_up()
        assert await call.ends() <= CLEAN_UP


async def test_a_move_that_is_asked_for_by_name_is_refused_clearly_there(oss_desk: Desk) -> None:
    call, at = await accepted(oss_desk, bridge="move")
    report = await oss_desk.report()
    assert report["outcome"] == "bridge_failed"
    assert "could not be connected" in report["error"]
    assert report["ended"] - at <= BRIDGE_LIMIT
    await call.hears(call.human, "I cannot connect the call.")
    await call.hears(call.caller, "I could not connect you")
    await oss_desk.end_calls()


async def test_keys_pass_once_in_both_directions_and_the_agent_s_track_is_silent(oss_desk: Desk) -> None:
    call, _ = await accepted(oss_desk, bridge="relay", introduction="You are connected.")
    await call.hears(call.human, "You are connected.")
    await until(call.hear_each_other, "both hear each other", every=0.05)
    since = time.monotonic()
    await call.caller.press("5")
    await call.human.press("#")
    await until(lambda: keys_heard(call.human, since) == "5", "the human's phone gets the key")
    await until(lambda: keys_heard(call.caller, since) == "#", "and the caller's")
    assert (keys_heard(call.human, since), keys_heard(call.caller, since)) == ("5", "#")
    assert call.heard(call.human, since) == "" == call.heard(call.caller, since)
    call.human.hang_up()
    assert await call.ends() <= CLEAN_UP
