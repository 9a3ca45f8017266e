"""A sentence as sound, made before it is needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from livekit import rtc
from livekit.agents import NOT_GIVEN, AgentSession, tts
from livekit.agents.voice import SpeechHandle

logger = logging.getLogger("transfer")

SPEAKING_LIMIT = 15.0
"""Seconds that a speech service has for one text."""


class Sentence:
    """A text, with its sound where there is one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._frames: list[rtc.AudioFrame] = []

    async def prepare(self, voice: tts.TTS | None) -> None:
        self._frames = await synthesize(voice, self.text)

    @property
    def spoken(self) -> bool:
        """True when its sound is ready."""
        return bool(self._frames)

    def say(self, session: AgentSession, *, allow_interruptions: bool = True) -> SpeechHandle:
        """Says it at once, from memory where it can."""
        audio = self._audio() if self._frames else NOT_GIVEN
        return session.say(self.text, audio=audio, allow_interruptions=allow_interruptions)

    async def _audio(self) -> AsyncIterator[rtc.AudioFrame]:
        for frame in self._frames:
            yield frame


async def synthesize(voice: tts.TTS | None, text: str) -> list[rtc.AudioFrame]:
    """Empty when there is no voice, or when it fails or stalls: sound made in advance can be left out."""
    if voice is None:
        return []
    try:
        async with asyncio.timeout(SPEAKING_LIMIT), voice.synthesize(text) as stream:
            return [event.frame async for event in stream]
    except Exception as error:
        logger.warning("a text is not spoken in advance: %s", type(error).__name__)
        return []
