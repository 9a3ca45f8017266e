"""The briefing: written and spoken into memory while the phone rings, so that nobody waits for a model at pick-up."""

from __future__ import annotations

import asyncio
import logging

from livekit.agents import llm, tts

from transfer import prompts
from transfer.redaction import Redact
from transfer.speech import Sentence

logger = logging.getLogger("transfer")

WRITING_LIMIT = 6.0
"""Seconds that the model has; after that the briefing is built without it."""
WORDS = 60
TOOL_RESULT_LIMIT = 500
"""Characters of what a tool found that the model gets to see."""
CALLER, FOUND = "Caller", "Found by"


def conversation(chat_ctx: llm.ChatContext | None, redact: Redact) -> str:
    """What the caller and the agent said and what the agent's tools found, a line each, redacted as a whole."""
    lines = (_line(item) for item in chat_ctx.items) if chat_ctx else ()
    return redact("\n".join(line for line in lines if line))


def _line(item: llm.ChatItem) -> str:
    if isinstance(item, llm.FunctionCallOutput):
        found = "" if item.is_error else " ".join(item.output.split())[:TOOL_RESULT_LIMIT]
        return f"{FOUND} {item.name or 'a tool'}: {found}" if found else ""
    if not isinstance(item, llm.ChatMessage) or not item.text_content:
        return ""
    name = {"user": CALLER, "assistant": "Assistant"}.get(item.role)
    return f"{name}: {' '.join(item.text_content.split())}" if name else ""


def fallback_summary(history: str) -> str:
    """The caller's own last words of some length, when there is no model to summarise them."""
    said = [line.removeprefix(f"{CALLER}: ") for line in history.splitlines() if line.startswith(f"{CALLER}: ")]
    if not said:
        return prompts.read("transfer/briefing_unknown.txt")
    longest = max(said[-3:], key=len)
    return prompts.read("transfer/briefing_fallback.txt", last_words=" ".join(longest.split()[:WORDS]))


async def write_summary(model: llm.LLM | None, history: str) -> str:
    """At most 60 words from the model, or the fallback when it is slow, fails, or there is none."""
    if model is None or not history:
        return fallback_summary(history)
    request = llm.ChatContext.empty()
    request.add_message(role="system", content=prompts.read("transfer/briefing_request.txt", conversation=history))
    request.add_message(role="user", content="Write the briefing.")
    try:
        async with asyncio.timeout(WRITING_LIMIT):
            answer = await model.chat(chat_ctx=request).collect()
    except Exception as error:
        logger.warning("the briefing is written without the model: %s", type(error).__name__)
        return fallback_summary(history)
    words = answer.text.split()
    return " ".join(words[:WORDS]) if words else fallback_summary(history)


class Briefing:
    """What the human hears first, and its sound, made while the phone rings: an opening, and the words about the caller.

    Nobody waits for it: what is not ready when the human is there is replaced by what is.
    """

    def __init__(self, model: llm.LLM | None, voice: tts.TTS | None, history: str, redact: Redact) -> None:
        self.opening = Sentence(prompts.read("transfer/opening.txt"))
        """Names nothing of the caller: it may be said to whoever picks up."""
        self._fallback = Sentence(_whole(fallback_summary(history)))
        self._written: Sentence | None = None
        self._preparing = asyncio.create_task(self._prepare(model, voice, history, redact))

    async def settle(self, limit: float) -> None:
        """Waits up to `limit` seconds; from then on the text stays what it is."""
        await asyncio.wait({self._preparing}, timeout=limit)
        await self.aclose()

    async def aclose(self) -> None:
        self._preparing.cancel()
        await asyncio.gather(self._preparing, return_exceptions=True)

    @property
    def details(self) -> Sentence:
        return self._written or self._fallback

    async def _prepare(self, model: llm.LLM | None, voice: tts.TTS | None, history: str, redact: Redact) -> None:
        """Never fails: what cannot be had is left out."""
        speaking = asyncio.create_task(self.opening.prepare(voice))
        try:
            self._written = Sentence(_whole(redact(await write_summary(model, history))))
            await asyncio.gather(speaking, self._written.prepare(voice))
        finally:
            speaking.cancel()


def _whole(summary: str) -> str:
    return prompts.read("transfer/briefing.txt", summary=summary)
