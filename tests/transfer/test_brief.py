"""The briefing is ready when the phone is picked up, with or without a model."""

from __future__ import annotations

import asyncio
import time
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


LONG_CALL = talk(
    ("assistant", "How can I help?"),
    ("user", "I was charged twice for my order in October."),
    *(
        (
            "assistant" if turn % 2 else "user",
            f"Turn {turn}: and then there is another thing that I would like to ask you.",
        )
        for turn in range(2000)
    ),
    ("user", "I want to speak to a person now."),
)


def test_long_call_is_told_by_its_first_words_and_its_newest() -> None:
    history = brief.conversation(LONG_CALL, redact)
    lines = history.splitlines()
    assert lines[1] == "Caller: I was charged twice for my order in October."
    assert lines[-1] == "Caller: I want to speak to a person now."
    (mark,) = [line for line in lines if "left out" in line]
    assert len(history) <= brief.HISTORY_LIMIT + len(mark) + 1
    assert len(history) > 0.8 * brief.HISTORY_LIMIT
    assert mark == f"… {2003 - len(lines) + 1:,} turns left out …"
    assert int(lines[-2].split()[2].rstrip(":")) == 1999


def test_long_call_is_written_down_within_a_moment() -> None:
    begun = time.process_time()
    brief.conversation(LONG_CALL, redact)
    assert time.process_time() - begun < 0.5  # seconds; it takes a tenth of that


def test_short_call_is_told_whole() -> None:
    lines = [("user", f"This is turn {turn}.") for turn in range(100)]
    assert len(brief.conversation(talk(*lines), redact).splitlines()) == 100


@pytest.mark.parametrize("length", [2_000, 20_000, 400_000])
def test_long_turn_loses_its_middle(length: int) -> None:
    words = "I was charged twice. " + "and so on " * (length // 10) + "Please refund me."
    history = brief.conversation(talk(("user", words), ("user", "Hello?")), redact)
    long, short = history.splitlines()
    assert len(long) <= brief.TURN_LIMIT + 10
    assert long.startswith("Caller: I was charged twice.") and long.endswith("Please refund me.")
    assert " … " in long and short == "Caller: Hello?"


def test_tool_result_is_cut_shorter_than_what_people_say() -> None:
    context = talk(("user", "Where is my order?"))
    context.insert([llm.FunctionCallOutput(name="look_up", call_id="1", output="shipped " * 1000, is_error=False)])
    assert len(brief.conversation(context, redact).splitlines()[1]) <= brief.TOOL_RESULT_LIMIT + 10


@pytest.mark.parametrize("before", range(brief.TOOL_RESULT_LIMIT - 40, brief.TOOL_RESULT_LIMIT + 40, 7))
@pytest.mark.parametrize("after", [0, 3000, 300_000])
def test_cut_leaves_no_half_of_a_card(before: int, after: int) -> None:
    output = "x " * (before // 2) + "card 4111 1111 1111 1111 " + "y " * after
    context = talk(("user", "x " * (before // 2) + "my card is 4111 1111 1111 1111 " + "y " * after))
    context.insert([llm.FunctionCallOutput(name="look_up", call_id="1", output=output, is_error=False)])
    assert "11" not in brief.conversation(context, redact)


@pytest.mark.parametrize("shift", range(0, 60, 7))
def test_early_cut_leaves_no_half_of_a_card(shift: int) -> None:
    """Where a turn is cut before it is redacted, and where turns are left out before."""
    edge = brief.UNREDACTED * brief.TURN_LIMIT
    turn = "z " * ((edge - shift) // 2) + "4111 1111 1111 1111 " + "y " * (2 * edge)
    assert "11" not in brief.conversation(talk(("user", turn)), redact)
    dictated = [("user", "4111 1111"), ("assistant", "Yes?"), ("user", "1111 1111"), ("assistant", "Okay.")]
    filler = [("user", "z" * (50 + shift))] * 4
    assert "11" not in brief.conversation(talk(*(dictated + filler) * 500), redact)


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


async def test_the_reason_is_in_the_briefing_also_when_no_model_writes_one() -> None:
    reason = "charged twice for an order"
    assert "It is about this: charged twice for an order." in brief.fallback_summary(HISTORY, reason)
    assert brief.fallback_summary("", reason) == "It is about this: charged twice for an order."
    assert reason in await brief.write_summary(StalledModel(), "", reason)
    briefing = brief.Briefing(None, None, HISTORY, redact, reason)
    await briefing.settle(1.0)
    assert reason in briefing.details.text


def test_models_get_to_see_the_reason_and_the_caller_s_number() -> None:
    known = brief.what_is_known(HISTORY, "a bill", "+12025550111").splitlines()
    assert known[-2:] == [
        "Why the caller needs a person, as the assistant understood it: a bill",
        "The caller's telephone number, for your colleague if they ask: +12025550111",
    ]


@pytest.mark.parametrize("number", ["", "anonymous", "restricted", "sip:me@host"])
def test_a_number_that_is_withheld_is_not_spoken_of(number: str) -> None:
    assert brief.what_is_known(HISTORY, "", number) == HISTORY
