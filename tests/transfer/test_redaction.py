"""What a caller says in confidence does not reach a colleague or a model."""

from __future__ import annotations

import pytest

from transfer.redaction import REMOVED, redact


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("My card is 4111 1111 1111 1111, it was charged twice.", "1111"),
        ("My card number is 4111-1111-1111-1111", "4111"),
        ("It is four one one one, one one one one, one one one one, one one one one.", "one one"),
        ("The password is correct horse battery staple.", "battery"),
        ("my password: hunter2", "hunter2"),
        ("The code is 482913.", "482913"),
        ("The verification code I got is four eight two nine one three", "nine"),
        ("My PIN is 4711, please hurry", "4711"),
        ("482913 is the code", "482913"),
        ("The security code is 123 and it expires soon", "123"),
    ],
)
def test_secrets_are_taken_out(said: str, secret: str) -> None:
    assert secret not in redact(said)
    assert REMOVED in redact(said)


@pytest.mark.parametrize(
    "said",
    [
        "I was charged twice for order 20411 in October.",
        "My number is 202 555 0141, call me back.",
        "I forgot my password and cannot log in.",
        "There are two of us, and one of my three orders is late.",
        "The postcode 97201 has changed.",
        "My zip code is 97201 and the error code is 503.",
        "I would like to pin down a date.",
    ],
)
def test_what_a_colleague_needs_stays(said: str) -> None:
    assert redact(said) == said


def test_the_rest_of_the_conversation_stays() -> None:
    assert redact("The code is 482913. I was charged twice.") == f"The code is {REMOVED}. I was charged twice."


def test_a_code_that_was_asked_for_is_taken_out_of_the_answer() -> None:
    asked = "Assistant: What is the verification code?\nCaller: It says 482 913\nCaller: My order is 20411."
    assert redact(asked) == asked.replace("482 913", REMOVED)
