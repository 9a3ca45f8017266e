"""The briefing is ready when the phone is picked up, with or without a model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.agents import llm

from transfer import brief
from transfer.masking import mask
from transfer.redaction import REMOVED, redact


def talk(*lines: tuple[str, str]) -> llm.ChatContext:
    context = llm.ChatContext.empty()
    context.add_message(role="system", content="secret instructions")
    for role, text in lines:
        context.add_message(role=role, content=text)  # type: ignore[arg-type]
    return context


CALL = talk(
    ("assistant", "How can I help?"),
    ("user", "I was charged twice for my order in October."),
    ("assistant", "I see."),
    ("user", "A person please."),
)


HISTORY = brief.conversation(CALL, redact)


async def settled(model: llm.LLM | None, chat_ctx: llm.ChatContext | None) -> brief.Briefing:
    briefing = brief.Briefing(model, None, brief.conversation(chat_ctx, redact), redact)
    await briefing.settle(5)
    return briefing


class BrokenModel(llm.LLM):
    def chat(self, **_: Any) -> Any:
        raise ConnectionError("the model is down")


def test_the_conversation_is_what_the_two_said_and_nothing_else() -> None:
    assert brief.conversation(CALL, redact).splitlines()[:2] == [
        "Assistant: How can I help?",
        "Caller: I was charged twice for my order in October.",
    ]
    assert "secret" not in brief.conversation(CALL, redact)
    assert brief.conversation(None, redact) == ""


def test_what_the_tools_found_is_part_of_the_conversation() -> None:
    context = talk(("user", "Where is my order?"))
    context.insert(
        [
            llm.FunctionCallOutput(name="look_up", call_id="1", output="shipped on Monday", is_error=False),
            llm.FunctionCallOutput(name="transfer", call_id="2", output="busy", is_error=True),
        ]
    )
    assert brief.conversation(context, redact).splitlines()[1:] == ["Found by look_up: shipped on Monday"]


class RepeatingModel(llm.LLM):
    """Says again what it was told, and what it was not."""

    def chat(self, *, chat_ctx: llm.ChatContext, **_: Any) -> Any:
        class Stream:
            async def collect(self) -> Any:
                asked = " ".join(m.text_content or "" for m in chat_ctx.messages())
                return llm.CollectedResponse(text=asked.split("<conversation>")[1] + " The code is 999999.")

        return Stream()


async def test_secrets_reach_neither_the_model_nor_the_human() -> None:
    history = brief.conversation(talk(("user", "The code is 482913. I cannot log in.")), redact)
    summary = await brief.write_summary(RepeatingModel(), history)
    assert "482913" not in summary
    briefing = brief.Briefing(RepeatingModel(), None, history, redact)
    await briefing.settle(5)
    assert "cannot log in" in briefing.details.text
    assert "999999" not in briefing.details.text and REMOVED in briefing.details.text


async def test_without_a_model_the_caller_s_own_words_are_told() -> None:
    briefing = await settled(None, CALL)
    assert "I was charged twice for my order in October." in briefing.details.text
    assert briefing.details.text.endswith("Shall I connect you?")
    assert not briefing.details.spoken


async def test_a_model_that_fails_costs_nothing_but_its_words() -> None:
    assert "charged twice" in (await settled(BrokenModel(), CALL)).details.text


class StalledModel(llm.LLM):
    def chat(self, **_: Any) -> Any:
        class Stream:
            async def collect(self) -> Any:
                await asyncio.Event().wait()

        return Stream()


async def test_a_human_who_has_said_hello_does_not_wait_for_a_slow_model() -> None:
    briefing = brief.Briefing(StalledModel(), None, HISTORY, redact)
    await briefing.settle(0.05)
    assert "charged twice" in briefing.details.text
    assert not briefing.details.spoken


async def test_a_model_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "WRITING_LIMIT", 0.05)
    assert "charged twice" in await brief.write_summary(StalledModel(), HISTORY)


async def test_a_caller_who_said_nothing_is_announced_all_the_same() -> None:
    assert "asked to speak to a person" in (await settled(None, None)).details.text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call-_+12025550111_abc", "call-_+12…11_abc"),
        ("sip:+12025550141@10.0.0.1", "sip:+12…41@10.0.0.1"),
        ("call me at (202) 555-0111 please", "call me at (202) 555-0111 please"),
        ("version 1.8.9", "version 1.8.9"),
    ],
)
def test_numbers_are_masked(text: str, masked: str) -> None:
    if "(202)" in text:
        assert "555-0111" not in mask(text)
    else:
        assert mask(text) == masked
