"""Several destinations, one hold: in order or all at once; and what the caller on hold hears and can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench import agent
from bench.desk import CLEAN_UP, HUMAN, Call, Desk, open_desk
from lab.server.webrtc import WebRtcParticipant
from lab.sip import Answer, Refuse, Ring
from tests.lab.support import LIMIT, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_call_left")]

SECOND = "+12025550142"
THIRD = "+12025550143"
BOTH = [{"sip_call_to": HUMAN, "name": "Sarah"}, {"sip_call_to": SECOND, "name": "Tom"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A worker whose transfers are ordered by the tests."""
    async with open_desk(tmp_path_factory.mktemp("desk"), Path(agent.__file__)) as made:
        yield made


async def connected_to(call: Call) -> None:
    await call.hears(call.caller, agent.INTRODUCTION)
    assert (await call.desk.report())["outcome"] == "connected"


async def end(call: Call) -> None:
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def test_after_a_busy_line_the_next_one_is_called_on_the_same_hold(desk: Desk) -> None:
    desk.order(destinations=BOTH)
    call = desk.call(Refuse(486))
    tom = call.colleague(SECOND, Answer(after=0.2))
    await call.ask_for_a_person(agent.GREETING)
    await tom.wait_for("answered", LIMIT)
    await call.hears(tom, "Shall I connect you?")
    call.say(tom, "Who is it?")
    await call.hears(tom, "That is all I know.")
    await tom.press("1")
    await connected_to(call)
    report = await desk.report()
    assert [(a["destination"], a["reason"], a["sip_status_code"]) for a in report["attempts"]] == [
        ("Sarah", "busy", 486),
        ("Tom", None, None),
    ]
    bridged = report["events"][-1]
    assert ["human", "Who is it?"] in bridged["transcript"]
    assert bridged["transcript"][-1][0] == "assistant" and bridged["destination"] == "Tom"
    assert [e["phase"] for e in report["events"] if e["phase"] in ("hold", "attempt_failed", "bridged")] == [
        "hold",
        "attempt_failed",
        "bridged",
    ]
    await end(call)


async def test_a_line_that_is_busy_before_our_agent_is_connected_leaves_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room that is deleted under a connection being made would keep the SDK for 15 s, and come back with it."""

    def far_away(participant: WebRtcParticipant) -> None:
        participant.network.delay = 0.3 if participant.room.name.startswith("consult-") else 0.0

    monkeypatch.setattr(desk.server, "on_join", far_away)
    desk.order(sip_call_to=HUMAN)
    call = desk.call(Refuse(486, after=0.3))
    await call.ask_for_a_person(agent.GREETING)
    assert (await desk.report())["outcome"] == "busy"
    later = await until(desk.later_report, "what is left is reported")
    assert later and later["tasks"] == []
    await end(call)


async def test_a_failure_that_was_not_named_ends_the_transfer(desk: Desk) -> None:
    desk.order(destinations=BOTH, go_on_after=["no_answer"])
    call = desk.call(Refuse(486))
    tom = call.colleague(SECOND, Answer(after=0.2))
    await call.ask_for_a_person(agent.GREETING)
    await call.hears(call.caller, "line is busy")
    assert [a["destination"] for a in (await desk.report())["attempts"]] == ["Sarah"]
    assert not tom.events
    await end(call)


async def test_of_all_that_ring_at_once_the_first_to_accept_gets_the_call(desk: Desk) -> None:
    desk.order(destinations=[*BOTH, {"sip_call_to": THIRD, "name": "Maya"}], dial_order="all_at_once")
    call = desk.call(Answer(after=0.2))
    tom = call.colleague(SECOND, Answer(after=0.3))
    maya = call.colleague(THIRD, Ring())
    await call.ask_for_a_person(agent.GREETING)
    await call.hears(call.human, "Shall I connect you?")
    await call.hears(tom, "Shall I connect you?")
    await maya.wait_for("ringing", LIMIT)
    await tom.press("1")
    await call.hears(call.human, "A colleague has just taken this call.")
    await connected_to(call)
    await until(lambda: not (call.human.in_call or maya.in_call), "the others are hung up")
    report = await desk.report()
    assert {a["destination"]: a["reason"] for a in report["attempts"]} == {
        "Sarah": "taken",
        "Tom": None,
        "Maya": "taken",
    }
    await end(call)


async def test_all_at_once_fails_when_the_last_one_has_failed(desk: Desk) -> None:
    desk.order(destinations=BOTH, dial_order="all_at_once")
    call = desk.call(Refuse(486))
    call.colleague(SECOND, Refuse(603, after=0.5))
    await call.ask_for_a_person(agent.GREETING)
    await call.hears(call.caller, "Is there anything else I can do for you?")
    report = await desk.report()
    assert report["outcome"] == "declined_by_phone"
    assert len(report["attempts"]) == 2
    await end(call)


async def test_the_time_on_hold_is_limited_over_all_destinations(desk: Desk) -> None:
    desk.order(destinations=[{**d, "ringing_timeout": 2.0} for d in BOTH], hold_limit=3.0)
    call = desk.call(Ring())
    tom = call.colleague(SECOND, Ring())
    await call.ask_for_a_person(agent.GREETING)
    await tom.wait_for("ended", LIMIT)
    report = await desk.report()
    assert report["outcome"] == "hold_limit"
    assert 2.9 <= report["seconds"]["hold"] <= 4.0
    await end(call)


async def test_star_brings_the_agent_back_and_the_colleague_is_told(desk: Desk) -> None:
    desk.order(sip_call_to=HUMAN)
    call = desk.call()
    await call.ask_for_a_person(agent.GREETING)
    await call.hears(call.human, "Shall I connect you?")
    await call.caller.press("*")
    await call.hears(call.human, "The caller has gone.")
    report = await desk.report()
    assert report["outcome"] == "caller_cancelled"
    assert report["tracks"] == [name for name in report["tracks"] if "hold" not in name]
    await until(lambda: not call.human.in_call, "the colleague is hung up")
    await until(
        lambda: call.heard(call.caller, call.started + 1) != "", "the agent speaks to the caller again", every=0.05
    )
    await end(call)


async def test_the_caller_on_hold_hears_what_is_being_done(desk: Desk) -> None:
    desk.order(sip_call_to=HUMAN, hold_updates=1.5)
    call = desk.call(Ring())
    await call.ask_for_a_person(agent.GREETING)
    await call.hears(call.caller, "I am still trying to reach a colleague")
    await until(lambda: call.music_on_hold(), "and the music goes on", every=0.05)
    await call.hears(call.caller, "I am still trying to reach a colleague")
    await end(call)
