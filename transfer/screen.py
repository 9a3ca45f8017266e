"""Who has picked up: a person, or a machine? Nothing about the caller is said before it looks like a person."""

from __future__ import annotations

import asyncio
import re
import time
from enum import StrEnum

import numpy as np
from livekit import rtc

VOICEMAIL_WORDS = re.compile(
    r"(after|at) the (tone|beep)|voice ?mail|mail ?box|answering machine|record your message"
    r"|(please|you (can|may)|to) leave (me |us )?(a|your) (short |brief )?message"
    r"|(is|are|am|'m|'re) (currently |presently )?(not available|unavailable) (to take|right now|at the moment)"
    r"|can(no|')t come to the phone",
    re.IGNORECASE,
)
"""Phrases of answering machines that people do not use to answer a telephone: "can they leave a message?" is a person."""

MENU_WORDS = re.compile(
    r"\b(press|dial|push|enter) (\d|zero|one|two|three|four|five|six|seven|eight|nine|star|pound|hash)\b|main menu"
    r"|(listen (carefully )?|our )(to )?(the )?(following )?(menu )?options have|say or press|your party's extension",
    re.IGNORECASE,
)
"""Phrases of phone menus."""
ASSISTANT_WORDS = re.compile(
    r"(state|record|say|tell (me|us)|leave) your name (and|after)|call[- ]screening|screen(s|ing) (this|their|your|the) calls?"
    r"|(your )?name and (the )?(reason|why|what)|(why|reason) (you are|you're|for) (your )?call(ing)?",
    re.IGNORECASE,
)
"""Phrases of assistants that answer for somebody and ask who is there."""
WAITING_WORDS = re.compile(
    r"(stay|remain|hold) on the line|please (hold|wait|stand by)|(connecting|transferring|putting) you (now|through)?"
    r"|if (they are|they're|he is|she is|the person is) available|(just )?(one|a) moment",
    re.IGNORECASE,
)
"""Phrases of a machine or a secretary before somebody else comes to the phone."""


class Answerer(StrEnum):
    """The speaker, when it is not the person called."""

    VOICEMAIL = "voicemail"
    MENU = "menu"
    ASSISTANT = "assistant"
    WAITING = "waiting"


_WORDS = {
    Answerer.VOICEMAIL: VOICEMAIL_WORDS,
    Answerer.ASSISTANT: ASSISTANT_WORDS,
    Answerer.MENU: MENU_WORDS,
    Answerer.WAITING: WAITING_WORDS,
}
"""The first that fits counts: a voicemail may speak of keys as well."""

_POLITE = r"(?:please|thanks|thank you|sure|ok|okay|yes|go ahead|of course)"
_YES = (
    r"(?:yes|yeah|yep|yup|sure|ok|okay|of course|certainly|absolutely|go ahead|please do|do it|will do|fine|alright|all right"
    r"|(?:please )?(?:connect|put) (?:me|us|them|him|her|the caller|it)(?: through)?(?: now)?"
    r"|i(?:'ll| will| can) take (?:it|the call|them|him|her))"
)
ACCEPTANCE = re.compile(rf"(?:{_YES}|{_POLITE})(?:[\s,.!]+(?:{_YES}|{_POLITE}))*[\s.!]*", re.IGNORECASE)

LOUD = 500.0
"""Root mean square (16 bit) of a 20 ms frame that is taken for speech; quiet telephone lines stay below 100."""
QUIET_SHARE = 0.15
"""Of the loudest frame: below it the speaker pauses, whatever the noise on the line."""
LEAST_HELLO = 0.12
LONGEST_HELLO = 1.6
"""Seconds of speech; people answer with a word or two, machines go on."""
PAUSE = 0.25
"""Seconds of silence after which a hello is over."""


def answerer(text: str) -> Answerer | None:
    """The speaker of such words at pick-up; None: it may well be a person."""
    return next((kind for kind, words in _WORDS.items() if words.search(text)), None)


def from_model(word: str) -> Answerer | None:
    """The speaker according to the model, asked by `prompts/instructions/screen.txt`; None: a person, or no clear answer."""
    return next((kind for kind in Answerer if kind in word.lower()), None)


def is_plain_acceptance(text: str) -> bool:
    """True for an unmistakable yes: it needs no model. "Yes, but who is it?" does."""
    said = text.strip()
    return bool(ACCEPTANCE.fullmatch(said)) and not re.fullmatch(r"(?:thanks|thank you)[\s.!]*", said, re.IGNORECASE)


class HelloWatch:
    """Listens for the end of the first short utterance, sooner than speech recognition can report it."""

    def __init__(self) -> None:
        self.over = False
        """True once somebody has said a word or two and paused."""
        self.last_loud = 0.0
        """`time.monotonic()` of the last speech."""
        self.is_long = False
        """True when the first words went on for longer than a hello."""
        self._peak = 0.0
        self._spoken = 0.0
        self._paused = 0.0

    def feed(self, frame: rtc.AudioFrame) -> bool:
        """True at the moment at which the hello is over."""
        samples = np.frombuffer(frame.data, np.int16).astype(np.float64)
        level = float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0
        self._peak = max(self._peak, level)
        if level > max(LOUD, QUIET_SHARE * self._peak):
            self._spoken += frame.duration
            self._paused = 0.0
            self.last_loud = time.monotonic()
        elif self._spoken:
            self._paused += frame.duration
        self.is_long = self.is_long or (not self.over and self._spoken > LONGEST_HELLO)
        ended = not self.over and self._paused >= PAUSE and LEAST_HELLO <= self._spoken <= LONGEST_HELLO
        self.over = self.over or ended
        return ended

    @property
    def is_quiet(self) -> bool:
        """True when nobody speaks just now."""
        return time.monotonic() - self.last_loud > PAUSE

    async def quiet_for(self, seconds: float) -> None:
        """Returns when nobody has spoken for so long."""
        while True:
            left = self.last_loud + seconds - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)
