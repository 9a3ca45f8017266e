"""Who has picked up, and what a plain yes is."""

from __future__ import annotations

import numpy as np
import pytest
from livekit import rtc

from transfer.screen import LONGEST_HELLO, Answerer, HelloWatch, answerer, from_model, is_plain_acceptance

RATE = 16000


def sound(seconds: float, level: float) -> list[rtc.AudioFrame]:
    """A tone in frames of 20 ms."""
    samples = (level * np.sin(np.arange(int(seconds * RATE)) * 0.3)).astype(np.int16)
    size = RATE // 50
    return [
        rtc.AudioFrame(samples[i : i + size].tobytes(), RATE, 1, size) for i in range(0, len(samples) - size + 1, size)
    ]


def moments(*parts: list[rtc.AudioFrame]) -> list[int]:
    """Numbers of the frames at which a hello was over."""
    watch = HelloWatch()
    frames = [frame for part in parts for frame in part]
    return [number for number, frame in enumerate(frames) if watch.feed(frame)]


def test_a_word_and_a_pause_are_a_hello() -> None:
    (moment,) = moments(sound(0.5, 0), sound(0.6, 6000), sound(1.0, 0))
    assert moment * 20 == pytest.approx(500 + 600 + 250, abs=20)


def test_it_is_told_once() -> None:
    assert len(moments(sound(0.6, 6000), sound(0.5, 0), sound(0.6, 6000), sound(1.0, 0))) == 1


def test_a_quiet_line_says_nothing() -> None:
    assert moments(sound(3.0, 60)) == []


def test_a_click_is_no_hello() -> None:
    assert moments(sound(0.04, 9000), sound(1.0, 0)) == []


def test_who_goes_on_speaking_is_left_to_speech_recognition() -> None:
    assert moments(sound(LONGEST_HELLO + 0.5, 6000), sound(1.0, 0)) == []


def test_a_hello_ends_on_a_noisy_line_too() -> None:
    assert len(moments(sound(0.6, 12000), sound(1.0, 1000))) == 1


@pytest.mark.parametrize(
    "said",
    [
        "Yes.",
        "Yes, please connect me.",
        "Sure, go ahead.",
        "Okay",
        "Yeah, put him through.",
        "Of course. I'll take it.",
    ],
)
def test_a_plain_yes_needs_no_model(said: str) -> None:
    assert is_plain_acceptance(said)


@pytest.mark.parametrize(
    "said",
    [
        "Yes?", "No.", "Yes, but who is it?", "Not now.", "Thank you.", "Yes, I am busy.", "Hello?", "", "Okay, what is it about?",
        "I can't connect them.", "Please hold.", "Sure, later.",
    ],
)  # fmt: skip
def test_anything_else_does(said: str) -> None:
    assert not is_plain_acceptance(said)


@pytest.mark.parametrize(
    ("words", "who"),
    [
        ("You have reached the voicemail of Sarah.", Answerer.VOICEMAIL),
        ("Please leave a message after the tone.", Answerer.VOICEMAIL),
        ("Leave your message after the beep, or press one for the operator.", Answerer.VOICEMAIL),
        ("I'm not available to take your call right now.", Answerer.VOICEMAIL),
        ("Sorry, I can't come to the phone.", Answerer.VOICEMAIL),
        ("The mailbox is full.", Answerer.VOICEMAIL),
        ("Thank you for calling. For sales, press one. For support, press two.", Answerer.MENU),
        ("Please listen carefully, as our menu options have changed.", Answerer.MENU),
        ("If you know your party's extension, you may dial it now.", Answerer.MENU),
        (
            "Hi, if you record your name and reason for calling, I will see if this person is available.",
            Answerer.ASSISTANT,
        ),
        ("Please state your name and why you are calling.", Answerer.ASSISTANT),
        ("The person you are calling is screening their calls.", Answerer.ASSISTANT),
        ("Thanks, please stay on the line.", Answerer.WAITING),
        ("I am transferring you now.", Answerer.WAITING),
        ("One moment please.", Answerer.WAITING),
    ],
)
def test_who_is_no_person_is_known_by_the_words(words: str, who: Answerer) -> None:
    assert answerer(words) is who


@pytest.mark.parametrize(
    "hello",
    [
        "Hello, this is Sarah.",
        "Billing, good morning.",
        "You have reached the sales desk, Tom speaking.",
        "I can't take your call right now, I am in a meeting.",
        "Sorry, can they leave a message?",
        "Hello, who is calling?",
        "Yes, what is it about?",
        "Sarah here, just press on.",
    ],
)
def test_a_person_is_not_taken_for_a_machine(hello: str) -> None:
    assert answerer(hello) is None


@pytest.mark.parametrize(
    ("word", "who"),
    [
        ("person", None),
        ("Menu.", Answerer.MENU),
        ("voicemail", Answerer.VOICEMAIL),
        ("I cannot tell.", None),
        ("", None),
    ],
)
def test_what_the_model_says_becomes_a_kind_or_a_person(word: str, who: Answerer | None) -> None:
    assert from_model(word) is who


def test_a_greeting_that_goes_on_is_long() -> None:
    watch = HelloWatch()
    for frame in [*sound(LONGEST_HELLO + 0.5, 6000), *sound(1.0, 0)]:
        watch.feed(frame)
    assert watch.is_long
