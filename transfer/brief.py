"""The briefing: written and spoken into memory while the phone rings, so that nobody waits for a model at pick-up."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Sequence

from livekit.agents import llm, tts

from transfer import prompts
from transfer.redaction import Redact
from transfer.speech import Sentence

logger = logging.getLogger("transfer")

WRITING_LIMIT = 6.0
"""Seconds that the model has; after that the briefing is built without it."""
WORDS = 60
HISTORY_LIMIT = 12_000
"""Characters of the conversation that a model or the colleague's agent gets to see: about 3,000 tokens, or a quarter of an
hour of talk. The whole of a long call makes instructions of 70,000 tokens, which take seconds to read and cost as much."""
FIRST_WORDS = HISTORY_LIMIT // 4
"""Characters of that for the beginning, where callers say why they call; the newest turns get the rest."""
TURN_LIMIT = 1_500
"""Characters of one turn: a minute and a half of speech."""
TOOL_RESULT_LIMIT = 500
"""Characters of one tool result."""
UNREDACTED = 4
"""Multiple of each limit that is redacted: an earlier cut is then far from the text that is shown."""
EDGE = 200
"""Characters beside an early cut that are never shown: the cut may have left half a card number there."""
EDGE_TURNS = 8
"""Turns beside an early cut that are never shown, since a card may be dictated in several."""
CUT, GAP = "[…]", "[……]"
"""Marks in the text, while it is redacted, of parts that were cut off early: within a turn, and between two."""
TELEPHONE = re.compile(r"\+?\d{3,17}")
"""A caller ID that is a number: "anonymous" and "restricted" are none."""
CALLER, FOUND = "Caller", "Found by"


def conversation(chat_ctx: llm.ChatContext | None, redact: Redact) -> str:
    """The words of the caller and the agent and the results of the agent's tools, a line each, redacted and then bounded.

    At most about HISTORY_LIMIT characters: the first words, the newest, and between them how many turns were left out.
    """
    lines = [line for item in (chat_ctx.items if chat_ctx else ()) if (line := _line(item))]
    first = _fitting(lines, UNREDACTED * FIRST_WORDS)
    newest = _fitting(lines[first:][::-1], UNREDACTED * (HISTORY_LIMIT - FIRST_WORDS))
    skipped = len(lines) - first - newest
    begin, end = lines[:first], lines[len(lines) - newest :]
    redacted = redact("\n".join([*begin, GAP, *end] if skipped else lines)).split("\n")
    if GAP not in redacted:
        return "\n".join(_bounded([_cut(line) for line in redacted], [], skipped))
    gap = redacted.index(GAP)
    begin, end = redacted[: max(0, gap - EDGE_TURNS)], redacted[gap + 1 + EDGE_TURNS :]
    skipped += len(redacted) - 1 - len(begin) - len(end)
    return "\n".join(_bounded([_cut(line) for line in begin], [_cut(line) for line in end], skipped))


def _fitting(lines: Sequence[str], limit: int) -> int:
    """How many of the lines fit into so many characters; at least one, if there is any."""
    for count, length in enumerate(itertools.accumulate(len(line) + 1 for line in lines)):
        if length > limit:
            return max(1, count)
    return len(lines)


def _bounded(begin: list[str], end: list[str], skipped: int) -> list[str]:
    """The first and the newest lines that fit, with a mark where turns are missing."""
    lines = begin + end
    if not skipped and sum(len(line) + 1 for line in lines) <= HISTORY_LIMIT:
        return lines
    first = _fitting(begin if skipped else lines, FIRST_WORDS)
    newest = _fitting((end or lines[first:])[::-1], HISTORY_LIMIT - FIRST_WORDS)
    skipped += len(lines) - first - newest
    mark = prompts.instruction("left_out", turns=f"{skipped:,}")
    return [*lines[:first], mark, *lines[len(lines) - newest :]]


def _cut(line: str) -> str:
    """A line within its limit, without its middle: people say what they want at the beginning or at the end."""
    limit = TOOL_RESULT_LIMIT if line.startswith(FOUND) else TURN_LIMIT
    begin, cut, end = line.partition(CUT)
    if not cut and len(line) <= limit:
        return line
    if cut:
        begin, end = begin[: max(0, len(begin) - EDGE)], end[EDGE:]
    else:
        begin = end = line
    third = limit // 3
    return f"{begin[: limit - third].rstrip()} … {end[-third:].lstrip()}"


def _line(item: llm.ChatItem) -> str:
    if isinstance(item, llm.FunctionCallOutput):
        found = "" if item.is_error else _words(item.output, TOOL_RESULT_LIMIT)
        return f"{FOUND} {item.name or 'a tool'}: {found}" if found else ""
    if not isinstance(item, llm.ChatMessage) or not (said := item.text_content):
        return ""
    name = {"user": CALLER, "assistant": "Assistant"}.get(item.role)
    return f"{name}: {_words(said, TURN_LIMIT)}" if name else ""


def _words(text: str, limit: int) -> str:
    """The words on one line; of very many the first and the last, more than will be shown."""
    most = UNREDACTED * limit
    if len(text) > 2 * most:
        text = f"{text[:most]} {CUT} {text[-most:]}"
    return " ".join(text.split())


def what_is_known(history: str, reason: str, number: str = "") -> str:
    """The conversation for models: with the reason why the caller needs a person, as their agent understood it, and the
    caller's telephone number for those who ask."""
    lines = [history]
    if reason:
        lines.append(prompts.instruction("reason", reason=reason))
    if TELEPHONE.fullmatch(number):
        lines.append(prompts.instruction("caller_number", number=number))
    return "\n".join(filter(None, lines))


def fallback_summary(history: str, reason: str = "") -> str:
    """Why the caller needs a person, and their own last words of some length, when there is no model to summarise them."""
    said = [line.removeprefix(f"{CALLER}: ") for line in history.splitlines() if line.startswith(f"{CALLER}: ")]
    known = [prompts.sentence("transfer.briefing_reason", reason=reason)] if reason else []
    if said:
        longest = max(said[-3:], key=len)
        known.append(prompts.sentence("transfer.briefing_fallback", last_words=" ".join(longest.split()[:WORDS])))
    return " ".join(known) or prompts.sentence("transfer.briefing_unknown")


async def write_summary(model: llm.LLM | None, history: str, reason: str = "") -> str:
    """At most 60 words from the model, or the fallback when it is slow, fails, or there is none."""
    if model is None or not (history or reason):
        return fallback_summary(history, reason)
    request = llm.ChatContext.empty()
    known = what_is_known(history, reason)
    language = prompts.name_of(prompts.LANGUAGE)
    asked = prompts.instruction("briefing_request", conversation=known, language=language)
    request.add_message(role="system", content=asked)
    request.add_message(role="user", content=prompts.instruction("requests.briefing_request"))
    try:
        async with asyncio.timeout(WRITING_LIMIT):
            answer = await model.chat(chat_ctx=request).collect()
    except Exception as error:
        logger.warning("the briefing is written without the model: %s", type(error).__name__)
        return fallback_summary(history, reason)
    words = answer.text.split()
    return " ".join(words[:WORDS]) if words else fallback_summary(history, reason)


class Briefing:
    """What the human hears first, and its sound, made while the phone rings: an opening, and the words about the caller.

    Never waited for: at pick-up, parts that are not ready fall back to ready ones.
    """

    def __init__(
        self, model: llm.LLM | None, voice: tts.TTS | None, history: str, redact: Redact, reason: str = ""
    ) -> None:
        """`history` and `reason` are redacted already; the model's text about them is redacted again."""
        self.opening = Sentence(prompts.sentence("transfer.opening"))
        """Says nothing about the caller: any person or machine may hear it."""
        self._fallback = Sentence(_whole(fallback_summary(history, reason)))
        self._written: Sentence | None = None
        self._preparing = asyncio.create_task(self._prepare(model, voice, history, redact, reason))

    async def settle(self, limit: float) -> None:
        """Waits up to `limit` seconds; after that the text is final."""
        await asyncio.wait({self._preparing}, timeout=limit)
        await self.aclose()

    async def aclose(self) -> None:
        self._preparing.cancel()
        await asyncio.gather(self._preparing, return_exceptions=True)

    @property
    def details(self) -> Sentence:
        return self._written or self._fallback

    async def _prepare(
        self, model: llm.LLM | None, voice: tts.TTS | None, history: str, redact: Redact, reason: str
    ) -> None:
        """Never fails: unavailable parts are left out."""
        speaking = asyncio.create_task(self.opening.prepare(voice))
        try:
            self._written = Sentence(_whole(redact(await write_summary(model, history, reason))))
            await asyncio.gather(speaking, self._written.prepare(voice))
        finally:
            speaking.cancel()


def _whole(summary: str) -> str:
    return prompts.sentence("transfer.briefing", summary=summary)
