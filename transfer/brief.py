"""The briefing: written and spoken into memory while the phone rings, so that nobody waits for a model at pick-up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from livekit import rtc
from livekit.agents import llm, tts

from transfer import prompts
from transfer.speech import synthesize

logger = logging.getLogger("transfer")

WRITING_LIMIT = 6.0
"""Seconds that the model has; after that the briefing is built without it."""
WORDS = 60


def conversation(chat_ctx: llm.ChatContext | None) -> str:
    """What the caller and the agent said, a line each."""
    if chat_ctx is None:
        return ""
    names = {"user": "Caller", "assistant": "Assistant"}
    return "\n".join(
        f"{names[message.role]}: {message.text_content}"
        for message in chat_ctx.messages()
        if message.role in names and message.text_content
    )


def fallback_summary(chat_ctx: llm.ChatContext | None) -> str:
    """The caller's own last words of some length, when there is no model to summarise them."""
    said = [m.text_content for m in chat_ctx.messages() if m.role == "user" and m.text_content] if chat_ctx else []
    if not said:
        return prompts.read("transfer/briefing_unknown.txt")
    longest = max(said[-3:], key=len)
    return prompts.read("transfer/briefing_fallback.txt", last_words=" ".join(longest.split()[:WORDS]))


async def write_summary(model: llm.LLM | None, chat_ctx: llm.ChatContext | None) -> str:
    """At most 60 words from the model, or the fallback when it is slow, fails, or there is none."""
    text = conversation(chat_ctx)
    if model is None or not text:
        return fallback_summary(chat_ctx)
    request = llm.ChatContext.empty()
    request.add_message(role="system", content=prompts.read("transfer/briefing_request.txt", conversation=text))
    request.add_message(role="user", content="Write the briefing.")
    try:
        async with asyncio.timeout(WRITING_LIMIT):
            answer = await model.chat(chat_ctx=request).collect()
    except Exception as error:
        logger.warning("the briefing is written without the model: %s", type(error).__name__)
        return fallback_summary(chat_ctx)
    words = answer.text.split()
    return " ".join(words[:WORDS]) if words else fallback_summary(chat_ctx)


class Briefing:
    """A sentence or two about the caller, and their sound, made while the phone rings.

    Nobody waits for it: what is not ready when the human is there is replaced by what is.
    """

    def __init__(self, model: llm.LLM | None, voice: tts.TTS | None, chat_ctx: llm.ChatContext | None) -> None:
        self._fallback = _whole(fallback_summary(chat_ctx))
        self._text: str | None = None
        self._frames: list[rtc.AudioFrame] | None = None
        self._preparing = asyncio.create_task(self._prepare(model, voice, chat_ctx))

    async def settle(self, limit: float) -> None:
        """Waits up to `limit` seconds; from then on the text stays what it is."""
        await asyncio.wait({self._preparing}, timeout=limit)
        await self.aclose()

    async def aclose(self) -> None:
        self._preparing.cancel()
        await asyncio.gather(self._preparing, return_exceptions=True)

    @property
    def text(self) -> str:
        return self._text or self._fallback

    @property
    def spoken(self) -> bool:
        """True when its sound is ready."""
        return bool(self._frames)

    async def audio(self) -> AsyncIterator[rtc.AudioFrame]:
        for frame in self._frames or []:
            yield frame

    async def _prepare(self, model: llm.LLM | None, voice: tts.TTS | None, chat_ctx: llm.ChatContext | None) -> None:
        """Never fails: what cannot be had is left out."""
        self._text = _whole(await write_summary(model, chat_ctx))
        self._frames = await synthesize(voice, self._text)


def _whole(summary: str) -> str:
    return prompts.read("transfer/briefing.txt", summary=summary)
