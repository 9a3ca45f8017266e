"""Payment card numbers: the issuer's prefix and length (ISO/IEC 7812), and the check digit (Luhn)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

LONGEST = 19
"""Digits of the longest card number (ISO/IEC 7812)."""
NAMED_LENGTH = 12
"""Digits from which a number named a card's is one, perhaps with a slip in it; the shortest Maestro has as many."""

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_PREFIX = 6
_FIRST_DIGITS = "234568"
"""Of all issuers below: most numbers begin otherwise and are given up at once."""

_SIXTEEN = range(16, 17)

# First digits (from, to, both of the same length), and how many digits the whole number has.
_ISSUERS: tuple[tuple[str, str, range], ...] = (
    ("4", "4", _SIXTEEN),  # Visa
    ("51", "55", _SIXTEEN),  # Mastercard
    ("2221", "2720", _SIXTEEN),
    ("34", "34", range(15, 16)),  # American Express
    ("37", "37", range(15, 16)),
    ("6011", "6011", range(16, 20)),  # Discover
    ("644", "659", range(16, 20)),
    ("622126", "622925", range(16, 20)),
    ("300", "305", range(14, 15)),  # Diners Club
    ("309", "309", range(14, 15)),
    ("36", "36", range(14, 15)),
    ("38", "39", range(14, 15)),
    ("3528", "3589", range(16, 20)),  # JCB
    ("62", "62", range(16, 20)),  # UnionPay
    ("81", "82", range(16, 20)),
    ("2200", "2204", range(16, 20)),  # Mir
    ("60", "60", _SIXTEEN),  # RuPay
    ("508", "508", _SIXTEEN),
    ("506099", "506198", range(16, 20, 3)),  # Verve
    ("650002", "650027", range(16, 20, 3)),
)
# So short, or of such vague prefixes, that a telephone number is one by chance: only after the word "card".
_VAGUE_ISSUERS: tuple[tuple[str, str, range], ...] = (
    ("4", "4", range(13, 20, 3)),  # Visa, old and long ones
    ("50", "50", range(12, 20)),  # Maestro
    ("56", "69", range(12, 20)),
)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before."""
    ours = sum(int(digit) for digit in digits[-1::-2])
    return (ours + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


@lru_cache(maxsize=4096)
def _lengths(prefix: str, named: bool) -> frozenset[int]:
    issuers = _ISSUERS + _VAGUE_ISSUERS if named else _ISSUERS
    found = [lengths for low, high, lengths in issuers if low <= prefix[: len(low)] <= high]
    return frozenset(length for lengths in found for length in lengths)


def is_card(digits: str, *, named: bool) -> bool:
    """Whether a card can have this number; `named`: the word "card" stands before it."""
    return len(digits) in _lengths(digits[:_PREFIX], named) and luhn(digits)


class Search:
    """Finds cards among numbers that can be read in several ways, with a bound on how many readings it tries in all."""

    def __init__(self, readings: int = 20_000) -> None:
        self._left = readings
        """Readings that may still be tried; after that each number is read in the most usual way alone."""

    def find(self, elements: Sequence[tuple[str, ...]], first: int, *, named: bool) -> list[int]:
        """Last elements of the cards that begin with the element `first`, the longest card first.

        `elements` are the readings of each number, the most usual first.
        """
        if not any(reading[0] in _FIRST_DIGITS for reading in elements[first]):
            return []
        window = elements[first : first + LONGEST]
        if self._left <= 0 or all(len(readings) == 1 for readings in window):
            return self._find_plain([readings[0] for readings in window], first, named)
        ends = []
        begun = [""]
        for end, readings in enumerate(window, first):
            begun = [
                digits + reading for digits in begun for reading in readings if len(digits) + len(reading) <= LONGEST
            ]
            self._left -= len(begun)
            if not begun:
                break
            if any(len(digits) >= NAMED_LENGTH and is_card(digits, named=named) for digits in begun):
                ends.append(end)
        return ends[::-1]

    @staticmethod
    def _find_plain(window: Sequence[str], first: int, named: bool) -> list[int]:
        digits = "".join(window)
        lengths = _lengths(digits[:_PREFIX], named)
        if not lengths:
            return []
        ends, length = [], 0
        for end, number in enumerate(window, first):
            length += len(number)
            if length > LONGEST:
                break
            if length in lengths and luhn(digits[:length]):
                ends.append(end)
        return ends[::-1]
