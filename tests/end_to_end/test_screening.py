"""Who picks up is not always the person that was called: nothing about the caller is said to anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from bench import agent
from bench.desk import CLEAN_UP, HUMAN, Call, Desk, open_desk
from lab.server.room import Track
from lab.server.webrtc import WebRtcParticipant
from lab.sip import Answer, g711
from tests.lab.support import LIMIT, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_call_left")]

OPENING = "with a caller for you."
ABOUT_THE_CALLER = "question about my bill"
MENU = "Thank you for calling. For sales, press one. For support, press two."
ASSISTANT = "Please state your name and why you are calling."
VOICEMAIL = "Please leave a message after the tone."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path_factory.mktemp("desk"), Path(agent.__file__)) as made:
        yield made


async def picked_up_with(desk: Desk, words: str, **parameters: object) -> Call:
    desk.order("ours", **{"sip_call_to": HUMAN, **parameters})  # type: ignore[arg-type]
    call = desk.call()
    await call.ask_for_a_person(agent.GREETING)
    await call.human.wait_for("answered", LIMIT)
    call.say(call.human, words)
    return call


def nothing_told(call: Call) -> bool:
    return ABOUT_THE_CALLER not in call.heard(call.human, call.started)


async def test_a_phone_menu_is_no_person(desk: Desk) -> None:
    call = await picked_up_with(desk, MENU, human_name="Sarah", call_reason="a bill")
    report = await desk.report()
    assert report["outcome"] == "phone_menu"
    assert nothing_told(call)
    await until(lambda: not call.human.in_call, "it is hung up", CLEAN_UP)
    # Records and events carry the colleague's name in place of a number, and why the caller wanted them.
    assert report["attempts"][0]["destination"] == "Sarah"
    assert {event["destination"] for event in report["events"]} == {"", "Sarah"}
    assert {event["call_reason"] for event in report["events"]} == {"a bill"}


async def test_a_menu_on_the_way_is_walked_with_keys_and_the_person_behind_it_briefed(desk: Desk) -> None:
    call = await picked_up_with(desk, MENU, dtmf="ww2")
    assert (await call.human.wait_for("key", LIMIT)).detail == "2"
    await call.hears(call.human, OPENING)
    assert nothing_told(call)
    call.say(call.human, "Support, this is Sarah.")
    await call.hears(call.human, ABOUT_THE_CALLER)
    await call.human.press("1")
    assert (await desk.report())["outcome"] == "connected"


async def test_an_assistant_is_told_who_calls_and_the_person_it_fetches_is_briefed(desk: Desk) -> None:
    call = await picked_up_with(desk, ASSISTANT)
    await call.hears(call.human, "This is the assistant of the front desk.")
    call.say(call.human, "Thanks, please stay on the line.")
    call.human.say(np.zeros(g711.RATE, np.int16))  # somebody is fetched
    await call.human.spoken()
    assert nothing_told(call)
    call.say(call.human, "Hello, this is Sarah.")
    await call.hears(call.human, ABOUT_THE_CALLER)
    await call.human.press("1")
    assert (await desk.report())["outcome"] == "connected"


async def test_a_long_greeting_without_known_words_is_judged_by_the_model(desk: Desk) -> None:
    long = (
        "Good morning and welcome to the Northwind service line, " + "where all our agents are happy to help you, " * 6
    )
    call = await picked_up_with(desk, long)
    assert (await desk.report())["outcome"] == "phone_menu"
    assert nothing_told(call)


async def test_a_machine_is_not_briefed_because_it_cannot_be_heard_yet(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of silence after which a human is spoken to begins when our agent has ears."""
    hears, subscribe = asyncio.Event(), WebRtcParticipant.subscribe
    late: list[asyncio.Task[None]] = []

    async def subscribe_later(participant: WebRtcParticipant, track: Track) -> None:
        await asyncio.sleep(1.5)
        subscribe(participant, track)
        hears.set()

    def late_in_the_consult(participant: WebRtcParticipant, track: Track) -> None:
        if participant.room.name.startswith("consult-"):
            late.append(asyncio.create_task(subscribe_later(participant, track)))
        else:
            subscribe(participant, track)

    monkeypatch.setattr(WebRtcParticipant, "subscribe", late_in_the_consult)
    desk.order("ours", sip_call_to=HUMAN)
    call = desk.call(Answer(after=1.0))
    await call.ask_for_a_person(agent.GREETING)
    await hears.wait()
    await asyncio.sleep(0.5)
    call.say(call.human, MENU)
    assert (await desk.report())["outcome"] == "phone_menu"
    assert OPENING not in call.heard(call.human, call.started)
    assert nothing_told(call)


def music(seconds: float) -> np.ndarray:
    """As a queue plays it: loud, without pause, and no words."""
    time = np.arange(int(seconds * g711.RATE)) / g711.RATE
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (262, 330, 392))
    return (3000 * chord * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))).astype(np.int16)


async def on_hold_in_a_queue(desk: Desk, seconds: float, **parameters: float) -> Call:
    desk.order("ours", **{"sip_call_to": HUMAN, **parameters})  # type: ignore[arg-type]
    call = desk.call()
    await call.ask_for_a_person(agent.GREETING)
    await call.human.wait_for("answered", LIMIT)
    call.human.say(music(seconds))
    return call


async def test_a_queue_may_play_music_for_longer_than_a_person_may_take_to_decide(desk: Desk) -> None:
    call = await on_hold_in_a_queue(desk, 6.0, person_timeout=60, consult_deadline=5)
    await call.human.spoken()
    assert nothing_told(call)
    call.say(call.human, "Support, this is Sarah.")
    await call.hears(call.human, ABOUT_THE_CALLER)
    report = await desk.report()
    assert report["outcome"] == "consult_deadline"  # which began when she was there
    assert report["attempts"][0]["seconds"]["brief"] > 4


async def test_a_queue_in_which_nobody_comes_is_given_up_after_its_own_time(desk: Desk) -> None:
    call = await on_hold_in_a_queue(desk, 30.0, person_timeout=6, consult_deadline=60)
    report = await desk.report()
    assert report["outcome"] == "nobody_spoke"
    assert nothing_told(call)
    assert 5 < report["ended"] - call.phase_time("answered") < 12


async def test_a_voicemail_is_left_a_message_while_the_caller_is_told(desk: Desk) -> None:
    message = "This is Northwind. Please call us back."
    call = await picked_up_with(desk, VOICEMAIL, voicemail_message=message)
    report = await desk.report()
    assert report["outcome"] == "voicemail"
    await call.hears(call.caller, "nobody answers")
    await call.hears(call.human, "Please call us back.")
    assert nothing_told(call)
    await until(lambda: not call.human.in_call, "it is hung up", CLEAN_UP)
