"""Reads the numbers out of what was said: digits and number words are put together before anything is decided about them.

One pass over the words and no regular expression with a choice in it: a crafted turn takes no longer than any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from transfer.redaction.language import Language

REMOVED = "(removed)"

# A whole line's speaker, as the conversation is written. `[^:\n]` is bounded: a line without a colon is given up at once.
_SPEAKER = re.compile(r"(Caller|Assistant|Found by [^:\n]{1,80}): ?")
# A placeholder, an abbreviation with dots, a word or number, a sign. Hyphens, brackets and quotes are no tokens: they
# neither join nor part what is said. Each alternative begins with a character of its own, so that none is tried twice.
_TOKEN = re.compile(
    r"\(removed\)|(?:[^\W\d_]\.){2,6}(?![^\W_])|[^\W_]+(?:['’][^\W\d_]{1,3}(?![^\W_]))?|[.,;:!?#=+$€£%@/…]"
)
_SENTENCE_SIGNS = frozenset(".!?;")
_PRICE_SIGNS = frozenset("$€£")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th|am|pm|h|s|k|m|x)$")
MOST_ACKNOWLEDGED = 10
"""Words of a turn that is a sign of listening; a longer one interrupts."""
MOST_TURNS_BETWEEN = 3
"""Turns of others between two parts of one number."""


@dataclass(slots=True)
class Token:
    text: str
    word: str
    """In lower case, without dots; of an apostrophe one form."""
    start: int
    end: int
    line: int

    @property
    def is_digits(self) -> bool:
        return self.word.isdecimal()

    @property
    def is_word(self) -> bool:
        return self.word[0].isalnum()

    @property
    def is_mixed(self) -> bool:
        """Letters and digits, as in a code; "12th" and "10am" are none."""
        word = self.word
        return word.isalnum() and not word.isalpha() and not word.isdecimal() and not _ORDINAL.match(word)


@dataclass(slots=True)
class Line:
    speaker: str
    """Empty in text without speakers."""
    first: int
    """Number of the line's first token."""
    end: int
    """Number of the token after its last."""


@dataclass(slots=True)
class Element:
    """One spoken number: a group of digits, "forty one", "double four", "four hundred eleven"."""

    readings: tuple[str, ...]
    first: int
    last: int
    """Numbers of its first and last token."""
    paused: bool
    """Something stands before it: a filler, a comma, another turn."""
    retracted: bool = False
    """The words before it say that something was wrong: "no, sorry"."""


@dataclass(slots=True)
class Run:
    """Numbers of one speaker with nothing but fillers between: the speaker says one number, or one after the other."""

    elements: list[Element] = field(default_factory=list)
    plus: bool = False
    """An international number: "+" or "plus" stands before it."""
    price: bool = False
    """A sign of money stands beside it."""
    counts: bool = False
    """What is counted follows it: "12 people"."""

    @property
    def first(self) -> int:
        return self.elements[0].first

    @property
    def last(self) -> int:
        return self.elements[-1].last

    @property
    def digits(self) -> str:
        """In the most usual reading."""
        return "".join(element.readings[0] for element in self.elements)


T = TypeVar("T")


class Phrases(Generic[T]):
    """Finds the longest of many phrases that begins at a word; its last word may have an ending ("my password's")."""

    def __init__(self, phrases: Mapping[str, T], ending: str = "") -> None:
        self._ending = ending
        self._by_first: dict[str, list[tuple[tuple[str, ...], T]]] = {}
        for phrase, value in phrases.items():
            words = tuple(phrase.split())
            self._by_first.setdefault(words[0], []).append((words, value))
        for found in self._by_first.values():
            found.sort(key=lambda entry: -len(entry[0]))

    def at(self, tokens: Sequence[Token], index: int, end: int) -> tuple[int, T] | None:
        """Number of the token after the phrase, and its value."""
        word = tokens[index].word
        for words, value in self._by_first.get(word) or self._by_first.get(word.removesuffix(self._ending), []):
            after = index + len(words)
            if (
                after <= end
                and tokens[after - 1].word.removesuffix(self._ending) == words[-1]
                and all(tokens[index + place].word == words[place] for place in range(len(words) - 1))
            ):
                return after, value
        return None


def tokens_and_lines(text: str) -> tuple[list[Token], list[Line]]:
    tokens: list[Token] = []
    lines: list[Line] = []
    begin = 0
    for number, line in enumerate(text.split("\n")):
        speaker = _SPEAKER.match(line)
        first = len(tokens)
        for found in _TOKEN.finditer(text, begin + (speaker.end() if speaker else 0), begin + len(line)):
            written = found[0]
            word = written.lower().replace("’", "'")
            if "." in word and len(word) > 1:
                word = word.replace(".", "")
            tokens.append(Token(written, word, found.start(), found.end(), number))
        lines.append(Line(speaker[1] if speaker else "", first, len(tokens)))
        begin += len(line) + 1
    return tokens, lines


def ends_sentence(text: str, token: Token) -> bool:
    """Whether a sign ends a sentence; one within a password or an ellipsis does not."""
    if token.word not in _SENTENCE_SIGNS:
        return False
    after = text[token.end : token.end + 1]
    return (not after or after.isspace() or after in "\"'”)") and text[token.start - 1 : token.start] != "."


class Reader:
    """The numbers of a text, by the words of a language."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._fillers: Phrases[bool] = Phrases({phrase: True for phrase in language.fillers})
        self._filler_words = frozenset(word for phrase in language.fillers for word in phrase.split())

    def number(self, tokens: Sequence[Token], index: int, end: int) -> tuple[tuple[str, ...], int] | None:
        """The readings of the number at a token, the most usual first, and the token after it."""
        token = tokens[index]
        if token.is_digits:
            return (token.word,), index + 1
        times = self._language.repeats.get(token.word)
        if times:
            return self._repeated(tokens, index + 1, end, times)
        return self._spoken(tokens, index, end)

    def _repeated(
        self, tokens: Sequence[Token], index: int, end: int, times: int
    ) -> tuple[tuple[str, ...], int] | None:
        if index >= end:
            return None
        word = tokens[index].word
        digit = self._language.units.get(word, word)
        if not digit.isdecimal():
            return None
        return ((digit * times, digit[0] * times + digit[1:]) if len(digit) == 2 else (digit * times,)), index + 1

    def _below_hundred(self, tokens: Sequence[Token], index: int, end: int) -> tuple[tuple[str, ...], int] | None:
        language = self._language
        if index >= end:
            return None
        word = tokens[index].word
        if (unit := language.units.get(word)) is not None:
            return (unit,), index + 1
        if (teen := language.teens.get(word)) is not None:
            return (str(teen),), index + 1
        if (ten := language.tens.get(word)) is None:
            return None
        following = language.units.get(tokens[index + 1].word) if index + 1 < end else None
        if following and following != "0":
            return (str(ten + int(following)), f"{ten}{following}"), index + 2
        return (str(ten),), index + 1

    def _spoken(self, tokens: Sequence[Token], index: int, end: int) -> tuple[tuple[str, ...], int] | None:
        """A number word, with hundreds and thousands."""
        found = self._below_hundred(tokens, index, end)
        if found is None:
            return None
        readings, index = found
        for word, zeros in ((self._language.hundred, "00"), (self._language.thousand, "000")):
            if index < end and tokens[index].word == word and readings[0] != "0":
                readings, index = self._scaled(readings[0], zeros, tokens, index + 1, end)
        return readings, index

    def _scaled(
        self, count: str, zeros: str, tokens: Sequence[Token], index: int, end: int
    ) -> tuple[tuple[str, ...], int]:
        """ "Forty-one hundred eleven" is 4111, and perhaps 4100 11; a thousand may have hundreds after it."""
        whole = int(count + zeros)
        after = index + 1 if index < end and tokens[index].word == "and" else index
        rest = self._below_hundred(tokens, after, end)
        if rest is None or rest[0][0] == "0":
            return (str(whole),), index
        readings, after = rest
        if zeros == "000" and after < end and tokens[after].word == self._language.hundred:
            readings, after = self._scaled(readings[0], "00", tokens, after + 1, end)
        added = int(readings[0])
        return (str(whole + added), f"{whole}{readings[0]}"), after

    def filler(self, tokens: Sequence[Token], index: int, end: int) -> int | None:
        """The token after the filler or sign at a token."""
        if not tokens[index].is_word:
            return index + 1 if tokens[index].word not in _PRICE_SIGNS and tokens[index].word != REMOVED else None
        found = self._fillers.at(tokens, index, end)
        return found[0] if found else None

    def acknowledges(self, tokens: Sequence[Token], line: Line) -> bool:
        """Whether a turn is a sign of listening, perhaps with the digits said again."""
        if line.end - line.first > 2 * MOST_ACKNOWLEDGED:
            return False
        words = [token for token in tokens[line.first : line.end] if token.is_word]
        known = self._language.acknowledgements | self._filler_words
        return len(words) <= MOST_ACKNOWLEDGED and all(
            token.is_digits
            or token.word in known
            or token.word in self._language.units
            or token.word in self._language.teens
            or token.word in self._language.tens
            or token.word in self._language.repeats
            for token in words
        )

    def runs(self, tokens: Sequence[Token], lines: Iterable[Line], labelled: Mapping[int, int]) -> list[Run]:
        """The numbers in the order of their first digits. `labelled`: first and end of the words that are no numbers."""
        return _RunCollector(self, self._language, tokens, labelled).collect(lines)


class _RunCollector:
    def __init__(
        self, reader: Reader, language: Language, tokens: Sequence[Token], labelled: Mapping[int, int]
    ) -> None:
        self._reader = reader
        self._language = language
        self._tokens = tokens
        self._labelled = labelled
        self._runs: list[Run] = []
        self._open: dict[str, Run] = {}
        """The number that each speaker may go on with."""
        self._turns: dict[str, int] = {}
        """Turns of others since each speaker's last."""
        self._paused = False
        self._retracted = False
        self._plus = False
        self._price = False

    def collect(self, lines: Iterable[Line]) -> list[Run]:
        for line in lines:
            if line.first == line.end:
                continue
            others = [speaker for speaker in self._open if speaker != line.speaker]
            if others and not self._reader.acknowledges(self._tokens, line):
                self._open = {line.speaker: self._open[line.speaker]} if line.speaker in self._open else {}
            for speaker in others:
                self._turns[speaker] = self._turns.get(speaker, 0) + 1
                if self._turns[speaker] > MOST_TURNS_BETWEEN:
                    self._open.pop(speaker, None)
            self._turns[line.speaker] = 0
            self._read(line)
        self._runs.sort(key=lambda run: run.first)
        return self._runs

    def _read(self, line: Line) -> None:
        tokens, index = self._tokens, line.first
        self._paused, self._retracted, self._plus, self._price = True, False, False, False
        while index < line.end:
            if (end := self._labelled.get(index)) is not None:
                self._close(line.speaker)
                index = end
                continue
            number = None if self._interjected(line, index) else self._reader.number(tokens, index, line.end)
            after = self._reader.filler(tokens, index, line.end)
            # "One moment" is a filler, although it begins with a number.
            if number and not (after and after - index > 1):
                readings, after = number
                if after < line.end and tokens[after].word in self._language.counted:
                    self._close(line.speaker)  # "three digits"
                else:
                    self._add(line.speaker, Element(readings, index, after - 1, self._paused, self._retracted))
                self._paused = self._retracted = False
            elif after:
                self._plus = tokens[index].word == "+" or (self._plus and not tokens[index].is_word)
                self._paused = True
                retracting = (token.word in self._language.retractions for token in tokens[index:after])
                self._retracted = self._retracted or any(retracting)
            else:
                self._word(line.speaker, index)
                after = index + 1
            index = after

    def _interjected(self, line: Line, index: int) -> bool:
        """Whether "oh" is no nought: it counts beside other digits alone, and not before a comma."""
        tokens = self._tokens
        if tokens[index].word not in self._language.nought_words:
            return False
        if self._price or (line.speaker in self._open and not self._paused):
            return False
        following = index + 1
        if following >= line.end or not tokens[following].is_word:
            return line.speaker not in self._open or following >= line.end
        return self._reader.number(tokens, following, line.end) is None

    def _add(self, speaker: str, element: Element) -> None:
        run = self._open.get(speaker)
        if run is None or (self._plus and run.elements):
            run = self._open[speaker] = Run(plus=self._plus, price=self._price)
            self._runs.append(run)
        run.elements.append(element)
        self._plus = self._price = False

    def _word(self, speaker: str, index: int) -> None:
        """A word that is no part of a number."""
        token = self._tokens[index]
        run = self._open.get(speaker)
        if run and run.last == index - 1 and token.text not in ".,":
            if token.word in _PRICE_SIGNS or token.word == "%":
                run.price = True
            elif token.is_word and token.word not in self._language.function_words:
                self._count(run)
        self._close(speaker)
        self._plus = token.word == self._language.plus
        self._price = token.word in _PRICE_SIGNS

    def _count(self, run: Run) -> None:
        """What is counted follows the last number: it is no part of those before."""
        if len(run.elements) > 1 and run.elements[-1].paused:
            counting = Run([run.elements.pop()], counts=True)
            self._runs.append(counting)
        else:
            run.counts = True

    def _close(self, speaker: str) -> None:
        self._open.pop(speaker, None)
        self._plus = self._price = False
