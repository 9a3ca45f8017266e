"""A sentence as sound, made before it is needed."""

from __future__ import annotations

import asyncio
import logging

from livekit import rtc
from livekit.agents import tts

logger = logging.getLogger("transfer")

SPEAKING_LIMIT = 15.0
"""Seconds that a speech service has for one text."""


async def synthesize(voice: tts.TTS | None, text: str) -> list[rtc.AudioFrame]:
    """Empty when there is no voice, or when it fails or stalls: what is said in advance can be left out."""
    if voice is None:
        return []
    try:
        async with asyncio.timeout(SPEAKING_LIMIT), voice.synthesize(text) as stream:
            return [event.frame async for event in stream]
    except Exception as error:
        logger.warning("a text is not spoken in advance: %s", type(error).__name__)
        return []
