"""What a caller says in confidence does not reach a colleague or a model."""

from __future__ import annotations

import gc
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from transfer.redaction import REMOVED, keep_all, redact

HELD_OUT_SHARE = 0.95
"""Share of the held-out lines that are wholly right; their author and the patterns' author did not see each other's work."""
RATIO = 3.0
"""Twice the text takes less than this many times as long: linear, with room for a busy machine."""
LONG = 100_000
"""Characters of a crafted turn: more than two hours of speech."""
SECONDS = 2.0
"""Processor time that such a turn may take, several times what it does take."""


def table(name: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))["line"]
    return lines


def mistakes(line: dict[str, Any]) -> list[str]:
    left = redact(line["said"])
    found = [f"still there: {secret!r}" for secret in line.get("removed", []) if secret in left]
    found += [f"taken out: {words!r}" for words in line.get("kept", []) if words not in left]
    return [f"{line['said']!r} became {left!r}", *found] if found else []


@pytest.mark.parametrize("line", table("redaction_table.toml"), ids=lambda line: line["said"][:60])
def test_redaction_takes_out_secrets_and_nothing_else(line: dict[str, Any]) -> None:
    assert not mistakes(line), "\n".join(mistakes(line))
    if line.get("removed"):
        assert REMOVED in redact(line["said"])


def test_redaction_is_right_about_lines_it_was_not_written_for() -> None:
    lines = table("redaction_held_out.toml")
    wrong = [found for line in lines if (found := mistakes(line))]
    for found in wrong:
        print("\n  ".join(found))
    assert 1 - len(wrong) / len(lines) >= HELD_OUT_SHARE, f"{len(wrong)} of {len(lines)} lines are wrong"


def test_redaction_leaves_the_rest_of_the_conversation() -> None:
    assert redact("The code is 482913. I was charged twice.") == f"The code is {REMOVED}. I was charged twice."


def test_redaction_takes_only_the_code_out_of_an_answer() -> None:
    asked = "Assistant: What is the verification code?\nCaller: It says 482 913\nCaller: My order is 20411."
    assert redact(asked) == asked.replace("482 913", REMOVED)


def test_redaction_changes_nothing_the_second_time() -> None:
    for line in table("redaction_table.toml"):
        once = redact(line["said"])
        assert redact(once) == once


def test_redaction_can_be_switched_off() -> None:
    assert keep_all("My PIN is 4711") == "My PIN is 4711"


CRAFTED = [
    "code ",
    "my password is ",
    "the code is for the code of ",
    "one ",
    "1 ",
    "4 1 ",
    "4111 ",
    "forty one ",
    "double ",
    "double one ",
    "one hundred ",
    "is ",
    "uh um ",
    "card 4111 1111 no sorry ",
    "my pin is 4711 ",
    "c v ",
    "???\n",
    "code?\n",
    "password?\nCaller: ",
    "Caller: one\nAssistant: yes\n",
    "Assistant: What is your PIN?\nCaller: one moment\n",
    "A.",
    "my password is “",
    "password-",
    "my password is x1-",
    "4111 11, ",
    "Caller: 4111 1111\nAssistant: Thank you very much indeed\n",
    "+",
    ", ",
    "it's ",
    "1",
    "a",
]


def seconds(text: str) -> float:
    """Processor time of the quicker of two, without the garbage collector: what it does depends on the tests before."""
    took = []
    gc.disable()
    try:
        for _ in range(2):
            begun = time.process_time()
            redact(text)
            took.append(time.process_time() - begun)
    finally:
        gc.enable()
    return min(took)


@pytest.mark.parametrize("piece", CRAFTED)
def test_redaction_takes_twice_as_long_for_twice_the_text(piece: str) -> None:
    whole = piece * (LONG // len(piece))
    half = seconds(whole[: LONG // 2])
    both = seconds(whole)
    assert both < SECONDS
    assert both < max(RATIO * half, 0.02)  # seconds; below that the clock decides


def test_redaction_takes_no_longer_for_one_value_of_any_length() -> None:
    for begin, piece in (
        ("my password is ", "1 "),
        ("my password is ", "a "),
        ("the code is ", "A "),
        ("my card ", "forty one "),
    ):
        assert seconds(begin + piece * (LONG // len(piece))) < SECONDS
