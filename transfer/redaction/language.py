"""Redaction's knowledge of one language: words alone, no algorithm. Another language is another table such as english.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """The kind of a number, by the words before it."""

    CARD = auto()
    """The number of a payment card."""
    CVV = auto()
    """The three or four digits of a card that show its possession."""
    PIN = auto()
    CODE = auto()
    """A code for one login, or for a door."""
    IDENTITY = auto()
    """A national identity number: social security, national insurance, social insurance."""
    PASSWORD = auto()
    """Words, not digits, up to the end of the clause."""
    PHONE = auto()
    NUMBER = auto()
    """Any number: a telephone number when it is long enough, or else the kind named before."""
    KEPT = auto()
    """A reference for a colleague: an order, a booking, a customer. It may look like a card's number."""
    OTHER = auto()
    """A price, a date, an address: never so long that it looks like a card's number."""


@dataclass(frozen=True)
class Language:
    """Words are in lower case without hyphens; a phrase is words with single spaces between."""

    units: Mapping[str, str]
    """Words of one digit."""
    nought_words: frozenset[str]
    """Words of a nought that are other words too; they count beside other digits alone."""
    teens: Mapping[str, int]
    tens: Mapping[str, int]
    repeats: Mapping[str, int]
    """Words that say the next digit several times."""
    hundred: str
    thousand: str
    plus: str
    """First word of a telephone number with its country code."""
    fillers: frozenset[str]
    """Phrases between the digits of one number."""
    acknowledgements: frozenset[str]
    """Words of a listener's turn that does not interrupt a number."""
    labels: Mapping[Kind, frozenset[str]]
    """Phrases that say what the number after them is."""
    not_labels: frozenset[str]
    """Phrases that look like labels."""
    capital_labels: Mapping[str, Kind]
    """Abbreviations that are labels in capitals alone."""
    code: frozenset[str]
    """Words whose meaning the word before decides."""
    secret_codes: frozenset[str]
    """Words before `code` that make it a secret in every case."""
    ordinary_codes: frozenset[str]
    """Words before `code`, or after "code for the", that make it one to be kept."""
    counted: frozenset[str]
    """Words after a number that say how many digits something has."""
    references: frozenset[str]
    """Last words of a label that asks for something to be read out."""
    copulas: frozenset[str]
    """Words between a name and its value."""
    contraction: str
    """Ending of a name that contains the copula."""
    connectors: frozenset[str]
    """Words between a label and its number that change nothing."""
    prepositions: frozenset[str]
    determiners: frozenset[str]
    function_words: frozenset[str]
    """Words that can follow a number without being what is counted."""
    year_words: frozenset[str]
    """Words before a year."""
    months: frozenset[str]
    spelling: frozenset[str]
    """Words that stand for letters."""
    states: frozenset[str]
    """First words of a secret's description, instead of its value."""
    not_values: frozenset[str]
    """Words after "the" that are no secret: "the password is the problem"."""
    hedges: frozenset[str]
    """Words between the copula and the value or state."""
    clause_starts: frozenset[str]
    """Words with which another clause begins after a comma or a conjunction."""
    conjunctions: frozenset[str]
    courtesies: frozenset[str]
    """Words that end a value without being part of it."""
    corrections: frozenset[str]
    """Words between a value and another try at it."""
    retractions: frozenset[str]
    """Words in a filler that say that a part of the number was wrong."""
    set_verbs: frozenset[str]
    """Verbs of "I use X as my password" and "I set my password to X"."""
    as_words: frozenset[str]
    to_words: frozenset[str]
    lost_verbs: frozenset[str]
    """Verbs with a secret as object that say that its value does not follow."""
    request_words: frozenset[str]
    """Words with which a turn asks for what it names."""
    refusals: frozenset[str]
    """First words of an answer that does not give the value asked for."""
    answer_starts: frozenset[str]
    """Words before the value in an answer."""
    questions: frozenset[str]
    """Words that cannot be a value before "is my password"."""
