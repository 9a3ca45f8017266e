"""A human who is reached through Twilio and LiveKit's connector, without any SIP trunk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench import agent
from bench.desk import CLEAN_UP, HUMAN, Call, Desk, open_desk
from lab.sip import Answer, Refuse, Ring
from lab.twilio import ACCOUNT_SID, AUTH_TOKEN, NUMBER, Twilio
from tests.lab.support import LIMIT, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def twilio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Desk, Twilio]]:

    async with (
        open_desk(tmp_path_factory.mktemp("desk"), Path(agent.__file__)) as desk,
        Twilio(desk.server, desk.exchange.address) as twilio,
    ):
        await desk.worker.stop()
        await desk.start_worker(
            TWILIO_API_BASE_URL=twilio.url,
            TWILIO_ACCOUNT_SID=ACCOUNT_SID,
            TWILIO_AUTH_TOKEN=AUTH_TOKEN,
        )
        yield desk, twilio
        assert twilio.active == []


def order(desk: Desk, **parameters: Any) -> None:
    desk.order("twilio", **{"phone_number": HUMAN, "twilio_from_number": NUMBER, **parameters})


async def reach_the_human(call: Call) -> None:
    await call.ask_for_a_person(agent.GREETING)
    await call.human.wait_for("answered", LIMIT)
    call.say(call.human, "Hello, this is Sarah.")
    await call.hears(call.human, "Shall I connect you?")


async def test_the_human_is_briefed_accepts_and_is_connected(twilio: tuple[Desk, Twilio]) -> None:
    desk, _ = twilio
    order(desk)
    call = desk.call()
    await reach_the_human(call)
    assert call.leaks() == []
    call.say(call.human, "Yes, please connect me.")
    await until(call.hear_each_other, "both hear each other", every=0.05)
    assert (await desk.report())["outcome"] == "connected"
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def test_a_key_of_the_human_declines(twilio: tuple[Desk, Twilio]) -> None:
    desk, _ = twilio
    order(desk)
    call = desk.call()
    await reach_the_human(call)
    await call.human.press("2")
    assert (await desk.report())["outcome"] == "declined"
    await until(lambda: not call.human.in_call, "the human's leg has ended", CLEAN_UP)
    await desk.end_calls()


@pytest.mark.parametrize(("status", "reason"), [(486, "busy"), (480, "no_answer"), (404, "unreachable")])
async def test_twilio_s_status_becomes_the_reason(twilio: tuple[Desk, Twilio], status: int, reason: str) -> None:
    desk, _ = twilio
    order(desk)
    call = desk.call(Refuse(status))
    await call.ask_for_a_person(agent.GREETING)
    assert (await desk.report())["outcome"] == reason
    await desk.end_calls()


async def test_a_phone_that_nobody_answers_stops_ringing(twilio: tuple[Desk, Twilio]) -> None:
    desk, _ = twilio
    order(desk, ringing_timeout=2.0)
    call = desk.call(Ring())
    await call.ask_for_a_person(agent.GREETING)
    assert (await desk.report())["outcome"] == "no_answer"
    await until(lambda: not call.human.in_call, "the phone is silent", CLEAN_UP)
    await desk.end_calls()


@pytest.mark.parametrize("on_call", [Ring(), Answer(0.3)])
async def test_a_caller_who_hangs_up_ends_the_call_at_twilio(
    twilio: tuple[Desk, Twilio], on_call: Ring | Answer
) -> None:
    desk, lab = twilio
    order(desk)
    call = desk.call(on_call)
    await call.ask_for_a_person(agent.GREETING)
    await call.human.wait_for("ringing" if isinstance(on_call, Ring) else "answered", LIMIT)
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP
    assert lab.active == []


async def test_a_refused_caller_id_gives_way_to_that_of_the_business(twilio: tuple[Desk, Twilio]) -> None:
    desk, lab = twilio
    order(desk, twilio_from_number="+12025550000")
    call = desk.call()
    await call.ask_for_a_person(agent.GREETING)
    report = await desk.report()
    assert (report["outcome"], len(lab.active)) == ("unreachable", 0)
    await desk.end_calls()

    order(desk, twilio_call_token="token", original_caller_number="+12025550111")
    call = desk.call()
    await reach_the_human(call)
    assert lab.active[0].values["From"] == "+12025550111"
    await desk.end_calls()
