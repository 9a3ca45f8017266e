"""The words of a consult."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Said(NamedTuple):
    """One utterance."""

    who: Literal["human", "assistant"]
    text: str
