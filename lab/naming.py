"""Identifiers as LiveKit makes them, and how a telephone number is written in a log."""

from __future__ import annotations

import re
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_NUMBER = re.compile(r"\+?\d[\d ()-]{5,}\d")


def new_sid(prefix: str) -> str:
    """`prefix` (such as "PA_") and twelve random characters."""
    return prefix + random_text(12)


def random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def mask(text: str) -> str:
    """`text` with every telephone number in it cut to its first three and last two characters."""
    return _NUMBER.sub(lambda match: f"{match[0][:3]}…{match[0][-2:]}", text)
