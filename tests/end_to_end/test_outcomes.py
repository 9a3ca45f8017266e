"""Every way in which a transfer can end, with the real worker, real WebRTC and real SIP phones."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bench.desk import CALLER, CLEAN_UP, CONNECTED, HOLD, HUMAN, RINGING_TIMEOUT, Call, Desk
from lab.sip import Refuse, Ring, Voicemail
from tests.lab.support import LIMIT, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_call_left")]


OUTCOME_LIMIT = 1.0
"""Seconds from a hang-up to the outcome; unpublishing in a room that goes meanwhile once took two."""


async def end_by_caller(call: Call) -> None:
    call.caller.hang_up()
    assert await call.ends() <= CLEAN_UP


async def connected(call: Call) -> None:
    """Both hear each other, are introduced, and heard nothing of each other before."""
    await until(lambda: "bridged" in call.phases, "the transfer is bridged")
    await until(call.hear_each_other, "both hear each other", every=0.05)
    assert call.leaks(call.phase_time("bridge")) == []
    await call.hears(call.caller, CONNECTED)
    assert call.reason == ""


async def test_a_colleague_who_says_yes_is_connected_and_both_are_introduced(desk: Desk) -> None:
    call = desk.call()
    await call.reach_the_human()
    call.say(call.human, "Yes, please connect me.")
    await connected(call)
    await end_by_caller(call)
    assert call.human.event("ended")


async def test_key_1_connects_and_when_the_colleague_hangs_up_the_agent_is_back(desk: Desk) -> None:
    call = desk.call()
    await call.reach_the_human(hello="")
    await call.human.press("1")
    await connected(call)
    call.human.hang_up()
    await call.hears(call.caller, "Is there anything else I can do for you?")
    call.say(call.caller, "What are your opening hours?")
    await call.hears(call.caller, "Our opening hours are")
    await end_by_caller(call)


async def test_a_colleague_can_ask_and_hear_the_briefing_again_before_deciding(desk: Desk) -> None:
    call = desk.call()
    await call.reach_the_human()
    call.say(call.human, "What is it about?")
    await call.hears(call.human, "That is all I know.")
    call.say(call.human, "And their number, please.")
    await call.hears(call.human, f"The caller's number is {CALLER}")
    await call.human.press("3")
    await call.hears(call.human, "I have a question about my bill.")
    call.say(call.human, "Okay, put him through.")
    await connected(call)
    await end_by_caller(call)


async def test_a_colleague_who_declines_is_thanked_and_the_caller_is_told(desk: Desk) -> None:
    call = desk.call()
    await call.reach_the_human()
    call.say(call.human, "I am busy, I cannot take it.")
    await call.hears(call.human, "All right, I will let the caller know. Goodbye.")
    await call.hears(call.caller, "my colleague cannot take your call now")
    assert call.reason == "declined"
    assert call.leaks() == []
    await until(lambda: not call.human.in_call, "the colleague's leg has ended")
    await end_by_caller(call)


async def test_key_2_declines(desk: Desk) -> None:
    call = desk.call()
    await call.reach_the_human(hello="")
    await call.human.press("2")
    await call.hears(call.caller, "my colleague cannot take your call now")
    assert call.reason == "declined"
    await end_by_caller(call)


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (486, "busy", "line is busy"),
        (603, "declined_by_phone", "cannot take your call now"),
        (404, "wrong_number", "could not connect you"),
        (480, "no_answer", "nobody answers"),
        (403, "trunk_error", "could not connect you"),
    ],
)
async def test_a_phone_that_refuses_is_told_to_the_caller(desk: Desk, status: int, reason: str, told: str) -> None:
    call = desk.call(Refuse(status))
    await call.ask_for_a_person()
    await call.hears(call.caller, told)
    assert call.reason == reason
    await end_by_caller(call)


async def test_a_phone_that_nobody_answers_stops_ringing_after_the_time_limit(desk: Desk) -> None:
    call = desk.call(Ring())
    await call.ask_for_a_person()
    rings = await call.human.wait_for("ringing", LIMIT)
    ended = await call.human.wait_for("ended", LIMIT)
    assert RINGING_TIMEOUT - 0.5 <= ended.at - rings.at <= RINGING_TIMEOUT + 1.5
    await call.hears(call.caller, "nobody answers")
    assert call.reason == "no_answer"
    await end_by_caller(call)


async def test_a_voicemail_hears_nothing_about_the_caller(desk: Desk) -> None:
    call = desk.call()
    greeting = "You have reached the voicemail of Sarah. Please leave a message after the tone."
    call.say(call.human, greeting)
    samples = call.human._to_say
    call.human.on_call = Voicemail(np.asarray(samples, np.int16), after=1.5)
    await call.ask_for_a_person()
    await call.hears(call.caller, "nobody answers")
    assert call.reason == "voicemail"
    said = call.heard(call.human, call.started)
    assert "bill" not in said and "person" not in said, "nothing about the caller"
    await end_by_caller(call)


async def test_a_colleague_who_hangs_up_in_the_briefing_is_no_connection(desk: Desk) -> None:
    call = desk.call()
    await call.reach_the_human()
    call.human.hang_up()
    await call.hears(call.caller, "could not connect you")
    assert call.reason == "human_hung_up"
    await end_by_caller(call)


async def test_a_caller_who_hangs_up_while_it_rings_stops_the_ringing(desk: Desk) -> None:
    call = desk.call(Ring())
    await call.ask_for_a_person()
    await call.human.wait_for("ringing", LIMIT)
    await until(lambda: call.music_on_hold(), "the caller hears hold music", every=0.05)
    hung_up = time.monotonic()
    await end_by_caller(call)
    assert [event.detail for event in call.human.events if event.name == "ended"] == ["cancel"]
    await until(lambda: call.reason == "caller_hung_up", "the outcome is told")
    assert call.phase_time("failed") - hung_up <= OUTCOME_LIMIT


async def test_a_caller_who_hangs_up_during_the_briefing_ends_the_consult(desk: Desk) -> None:
    call = desk.call()
    await call.ask_for_a_person()
    await call.human.wait_for("answered", LIMIT)
    call.say(call.human, "Hello, this is Sarah.")
    await until(lambda: "brief" in call.phases, "the briefing has begun")
    await end_by_caller(call)
    assert call.leaks() == []
    await until(lambda: call.reason == "caller_hung_up", "the outcome is told")


async def test_a_second_transfer_in_the_same_call_works_after_a_failed_one(desk: Desk) -> None:
    call = desk.call(Refuse(486))
    await call.ask_for_a_person()
    await call.hears(call.caller, HOLD)
    await call.hears(call.caller, "line is busy")
    answering = desk.exchange.phone(HUMAN, pilot_hertz=3200.0)
    call.human = answering
    call.say(call.caller, "Please try again, I want to speak to a person.")
    await answering.wait_for("answered", LIMIT)
    call.say(answering, "Hello, this is Sarah.")
    await call.hears(answering, "Shall I connect you?")
    await answering.press("1")
    await until(lambda: "bridged" in call.phases, "the transfer is bridged")
    await until(call.hear_each_other, "both hear each other", every=0.05)
    await end_by_caller(call)


async def test_a_question_is_answered_without_any_transfer(desk: Desk) -> None:
    """And the server does not hear the caller leave: livekit-server 1.13.4 misses one in a hundred."""
    call = desk.call()
    await call.dial()
    call.say(call.caller, "When are you open?")
    await call.hears(call.caller, "Our opening hours are")
    (room,) = desk.server.rooms.all()
    room.participants[f"sip_{call.caller.number}"].network.goodbye_lost = True
    await end_by_caller(call)
    assert call.phases == []
