"""Takes out of the caller's words the secrets that no colleague or model needs: cards, passwords, PINs, codes, identity numbers.

It works on what speech recognition writes, digits and number words alike, and keeps telephone numbers and the references
of orders and bookings. It errs on the side of taking out. The time it takes grows with the length of the text and no faster.
"""

from __future__ import annotations

from collections.abc import Callable

from transfer.redaction.english import ENGLISH
from transfer.redaction.language import Kind, Language
from transfer.redaction.reading import REMOVED, Phrases, Reader
from transfer.redaction.secrets import Secrets

__all__ = ["REMOVED", "Redact", "keep_all", "redact"]

Redact = Callable[[str], str]
"""Returns the text without the parts that must not be passed on."""


def _labels(language: Language) -> Phrases[Kind | None]:
    named: dict[str, Kind | None] = {
        phrase: kind for kind, phrases in language.labels.items() for phrase in phrases if phrase
    }
    return Phrases(named | {phrase: None for phrase in language.not_labels}, language.contraction)


_LABELS, _READER = _labels(ENGLISH), Reader(ENGLISH)


def redact(text: str) -> str:
    """The text with each secret replaced by `REMOVED`: lines "Caller: …" and "Assistant: …", or one sentence."""
    spans = Secrets(text, ENGLISH, _LABELS, _READER).spans()
    pieces, place = [], 0
    for start, end in spans:
        pieces += [text[place:start], REMOVED]
        place = end
    return "".join([*pieces, text[place:]])


def keep_all(text: str) -> str:
    """Takes nothing out."""
    return text
