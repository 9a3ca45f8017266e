"""The rules of the lab's model, both parts of the product."""

from __future__ import annotations

from typing import Any

import pytest

from lab.ai.brain import Answer, Brain

DESK = (
    "What you know:\nAddress: 12 Harbour Street\nOpening hours (UTC): monday 09:00 to 17:00; closed on all other days."
)
CONSULT = "x\n<conversation>\nCaller: I was charged twice.\nAssistant: I see.\n</conversation>"
BRAIN = Brain()


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"properties": properties}}}


DESK_TOOLS = [tool("transfer_to_human", destination={"enum": ["billing", "sales", "support"]}, reason={})]
CONSULT_TOOLS = [tool("connect_to_caller"), tool("decline_transfer", reason={}), tool("voicemail_detected")]


def ask(text: str, system: str, tools: list[dict[str, Any]], role: str = "user") -> Answer:
    messages = [{"role": "system", "content": system}, {"role": "assistant", "content": "Hello."}]
    return BRAIN.answer({"messages": [*messages, {"role": role, "content": text}], "tools": tools})


@pytest.mark.parametrize(
    ("said", "destination"),
    [
        ("Hello, I have a question about my bill, can I speak to a person please?", "billing"),
        ("Can I speak to sales?", "sales"),
        ("My machine is broken, I want to talk to someone.", "support"),
        ("I would like to speak to a human.", "billing"),
    ],
)
def test_who_asks_for_a_person_is_transferred_to_the_right_one(said: str, destination: str) -> None:
    answer = ask(said, DESK, DESK_TOOLS)
    assert (answer.tool, answer.arguments["destination"]) == ("transfer_to_human", destination)


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("When are you open?", "monday 09:00 to 17:00"),
        ("Where are you?", "12 Harbour Street"),
        ("Thank you, goodbye.", "You are welcome. Goodbye."),
        ("I like trains.", "Would you like to speak to a person?"),
    ],
)
def test_questions_are_answered_from_the_facts(said: str, answered: str) -> None:
    assert answered in ask(said, DESK, DESK_TOOLS).text


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("The colleague's line is busy. Tell the caller", "line is busy"),
        ("The colleague did not answer.", "nobody answers"),
        ("The call reached a voicemail, not a person. Tell the caller that nobody could be reached", "nobody answers"),
        ("human agent declined to connect: in a meeting.", "cannot take your call"),
        ("The transfer failed.", "could not connect you"),
    ],
)
def test_a_failed_transfer_is_told_fittingly(result: str, said: str) -> None:
    answer = ask(result, DESK, DESK_TOOLS, role="tool")
    assert said in answer.text
    assert "anything else I can do" in answer.text


@pytest.mark.parametrize(
    ("said", "called"),
    [
        ("Yes, please connect me.", "connect_to_caller"),
        ("Okay, put him through.", "connect_to_caller"),
        ("I am busy, I cannot take it.", "decline_transfer"),
        ("No, not now.", "decline_transfer"),
        ("You have reached the voicemail of Sarah.", "voicemail_detected"),
    ],
)
def test_the_colleague_s_answer_becomes_the_right_tool(said: str, called: str) -> None:
    assert ask(said, CONSULT, CONSULT_TOOLS).tool == called


def test_the_colleague_s_question_is_answered_from_the_conversation() -> None:
    assert "I was charged twice." in ask("What is it about?", CONSULT, CONSULT_TOOLS).text


def test_a_refusal_carries_its_reason() -> None:
    assert ask("I am busy, I cannot take it.", CONSULT, CONSULT_TOOLS).arguments == {
        "reason": "I am busy, I cannot take it"
    }


def test_the_briefing_is_made_of_the_caller_s_words() -> None:
    assert (
        ask("Write the briefing.", "Write the briefing\n" + CONSULT, []).text == "A caller says: I was charged twice."
    )


def test_a_tool_s_result_is_answered_though_the_assistant_spoke_beside_the_call() -> None:
    talk = [
        {"role": "tool", "content": "The colleague's line is busy."},
        {"role": "assistant", "content": "Please hold."},
    ]
    assert "line is busy" in BRAIN.answer({"messages": talk, "tools": DESK_TOOLS}).text
