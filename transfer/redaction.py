"""Takes out of the caller's words what no colleague and no model needs to hear: card numbers, passwords, one-time codes.

It works on what speech recognition writes, digits and number words alike. It errs on the side of taking out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Redact = Callable[[str], str]
"""A text without what may not be told on."""

REMOVED = "(removed)"

_DIGIT_WORD = r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
_DIGIT = rf"(?:\d|\b{_DIGIT_WORD}\b)"
_GAP = r"[\s,.\-]*"
_CARD = re.compile(rf"{_DIGIT}(?:{_GAP}{_DIGIT}){{12,18}}", re.IGNORECASE)
"""13 to 19 digits, in groups or spoken one by one (ISO/IEC 7812)."""

_SECRET_NAME = (
    r"(?:pass\s?words?|pass\s?codes?|pass\s?phrases?|pin(?:\s(?:number|code))?"
    r"|(?:security|verification|one[- ]time|access|confirmation|login|two[- ]factor)\s(?:codes?|numbers?|pins?|pass\s?words?)"
    r"|cvv|cvc|cvv2|otp|(?<!zip )(?<!area )(?<!postal )(?<!promo )(?<!discount )(?<!error )(?<!dress )code)"
)
_SAID_AS = (
    r"(?:\s*(?:number|that i got|i got|from the text|you sent me))?\s*"
    r"(?::|=|\bis\b|\bwas\b|\bwould be\b|,)\s*(?:also\s|actually\s|now\s)?"
)
_SECRET = re.compile(rf"\b({_SECRET_NAME}{_SAID_AS})([^.;!?\n]+)", re.IGNORECASE)
_CODE_THEN_NAME = re.compile(
    rf"({_DIGIT}(?:{_GAP}{_DIGIT}){{2,9}})(\s+(?:is|was)\s+(?:my|the|our)\s+{_SECRET_NAME}\b)", re.IGNORECASE
)

_ASKED_FOR = re.compile(
    rf"(\b{_SECRET_NAME}\b[^\n]*\?[^\n]*\n[^\n]*?)({_DIGIT}(?:{_GAP}{_DIGIT}){{2,}})", re.IGNORECASE
)
"""The digits in the line after a question for a secret."""


def redact(text: str) -> str:
    """Takes out every card number, what follows "password is", "code is" and the like up to the end of the clause, and
    the digits with which somebody answers a question for such a thing, a line each."""
    text = _CARD.sub(REMOVED, text)
    text = _ASKED_FOR.sub(rf"\1{REMOVED}", text)
    text = _CODE_THEN_NAME.sub(rf"{REMOVED}\2", text)
    return _SECRET.sub(rf"\1{REMOVED}", text)


def keep_all(text: str) -> str:
    """For those who do not want anything taken out."""
    return text
