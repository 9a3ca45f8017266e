"""Decides which numbers and words of a conversation are secrets: cards by their check digit, the rest by what names them.

The words before a number label it, and the last label counts: "my PIN is 4711 and my order 20411". A label holds for the
next turns too, so that an answer is known by its question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transfer.redaction.cards import LONGEST, NAMED_LENGTH, Search
from transfer.redaction.language import Kind, Language
from transfer.redaction.reading import (
    REMOVED,
    Element,
    Line,
    Phrases,
    Reader,
    Run,
    Token,
    ends_sentence,
    tokens_and_lines,
)

CALLER, ASSISTANT = "Caller", "Assistant"

LABEL_TOKENS = 40
"""Tokens within one turn after which a label is forgotten."""
LABEL_TURNS = 6
"""Turns for which a label holds: people look for their card, and agents say that there is no hurry."""
QUALIFIERS = 14
"""Tokens between a name and its value: "the code that you have just sent to my phone is"."""
CORRECTION_TOKENS = 10
"""Tokens between a value and another try at it."""
ECHO_TURNS = 4
"""Turns in which a short secret that is said again is taken for the same; a long one is in the whole text."""
LONG_SECRET = 6
"""Digits of a secret that nobody says by chance."""
SHORTEST_SECRET = 3
LONGEST_TELEPHONE = 15
"""Digits of an international number (ITU-T E.164), without the 00 before it."""
QUOTED = 200
"""Characters of a value between quotes."""
ANSWER_TOKENS = 40
"""Tokens of an answer that may be a pass phrase."""

_SECRET_KINDS = frozenset({Kind.CVV, Kind.PIN, Kind.CODE, Kind.IDENTITY})
# Digits (least, most) of a label's number: right after it, in an answer, and somewhere behind it.
_DIRECT = {Kind.CVV: (3, 8), Kind.PIN: (3, 16), Kind.CODE: (3, 16), Kind.IDENTITY: (3, 12)}
_ANSWERED = {Kind.CVV: (3, 4), Kind.PIN: (3, 8), Kind.CODE: (3, 10), Kind.IDENTITY: (4, 9)}
_LOOSE = {Kind.CVV: (3, 4), Kind.PIN: (4, 8), Kind.CODE: (4, 9), Kind.IDENTITY: (9, 9)}

# Three, two and four digits with signs between: a social security number, also where nobody names it.
_SOCIAL_SECURITY = re.compile(r"(?!000|666|9)\d{3}([- ])(?!00)\d\d\1(?!0000)\d{4}")
# A British national insurance number; each part has its place, so nothing is tried twice.
_NATIONAL_INSURANCE = re.compile(r"(?<![^\W_])[A-CEGHJ-PR-TW-Z][A-NP-Z] ?\d\d ?\d\d ?\d\d ?[A-D](?![^\W_])")
_YEAR = re.compile(r"(?:19|20)\d\d")
# What is written of two neighbouring digits of a price, a time or a date.
_DECIMAL = re.compile(r"\d[:./]\d")


@dataclass(slots=True)
class Label:
    kind: Kind
    first: int
    end: int
    """Numbers of its first token and of the one after it."""
    line: int
    aside_end: int = 0
    """End of another label that only tells more about this one: "the PIN for my card"."""
    aside_kind: Kind | None = None
    asked: bool = False
    """The turn asks for it."""
    taken: int = 0
    """The token after the last value found for it."""


class Secrets:
    """One text; `spans` are the parts to be taken out of it."""

    def __init__(self, text: str, language: Language, labels: Phrases[Kind | None], reader: Reader) -> None:
        self._text = text
        self._language = language
        self._phrases = labels
        self._tokens, self._lines = tokens_and_lines(text)
        self._labels: dict[int, Label] = {}
        for line in self._lines:
            self._find_labels(line)
        ends = {first: label.end for first, label in self._labels.items()}
        self._runs = reader.runs(self._tokens, self._lines, ends)
        self._run_at: dict[int, Run] = {}
        self._run_of: dict[int, Run] = {}
        for run in self._runs:
            self._run_at[run.first] = run
            for element in run.elements:
                for index in range(element.first, element.last + 1):
                    self._run_of[index] = run
        self._search = Search()
        self._gone_until = 0
        """The token after the last words that were taken out."""
        self._spans: list[tuple[int, int]] = []
        """First token and the token after the last, within one line."""
        self._label: Label | None = None
        self._before: Label | None = None
        """The label before a mere "number"."""
        self._card_runs: list[Run] = []
        """The parts of one card said so far."""
        self._parts: dict[str, tuple[Run, int]] = {}
        """The last number of each speaker, and its line."""
        self._removed: set[int] = set()
        self._kept: set[int] = set()
        """Identities of the runs that are gone, and of those whose label protects them."""
        self._asked_password: int | None = None
        """The line in which the assistant asked for a password."""
        self._password_taken: int | None = None
        """The line in which a password was found last."""
        self._said: dict[str, int] = {}
        """Secret digits, and the line in which they were said last."""
        self._said_words: set[str] = set()

    def spans(self) -> list[tuple[int, int]]:
        """Characters (from, to), in order, none overlapping."""
        for number, line in enumerate(self._lines):
            self._read(number, line)
        self._echoes()
        found = sorted((self._tokens[first].start, self._tokens[end - 1].end) for first, end in self._spans)
        found += [match.span() for match in _NATIONAL_INSURANCE.finditer(self._text)]
        return self._merged(sorted(found))

    def _merged(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        merged: list[tuple[int, int]] = []
        for start, end in spans:
            if merged and (start <= merged[-1][1] or not self._text[merged[-1][1] : start].strip(" ,.-–")):
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    # -- labels

    def _find_labels(self, line: Line) -> None:
        tokens, index = self._tokens, line.first
        while index < line.end:
            found = self._phrases.at(tokens, index, line.end)
            code = self._code(line, index) if tokens[index].word in self._language.code else None
            capitals = self._language.capital_labels.get(tokens[index].text)
            if found is None and (kind := code or capitals):
                found = index + 1, kind
            if found is None:
                index += 1
                continue
            end, named = found
            if named is not None:
                self._labels[index] = Label(named, index, end, tokens[index].line)
            index = end

    def _code(self, line: Line, index: int) -> Kind:
        """ "The code" is a secret unless the words beside it say which code it is."""
        words = [token.word for token in self._tokens[max(line.first, index - 2) : index]]
        after = [token.word for token in self._tokens[index + 1 : min(line.end, index + 4)]]
        ordinary = self._language.ordinary_codes
        if words and words[-1] in self._language.secret_codes:
            return Kind.CODE
        if any(word in ordinary for word in words):
            return Kind.KEPT
        if after and after[0] in self._language.prepositions:
            named = [word for word in after[1:] if word not in self._language.determiners]
            if named and named[0] in ordinary:
                return Kind.KEPT
        return Kind.CODE

    # -- the way through the text

    def _read(self, number: int, line: Line) -> None:
        if line.first == line.end:
            return
        if self._answers_with_words(number, line):
            return
        index = line.first
        while index < line.end:
            if label := self._labels.get(index):
                self._meet(label, line)
                index = max(label.end, self._gone_until)  # no word is looked at twice
                continue
            if run := self._run_at.get(index):
                self._judge(run, number)
            index += 1
        if self._label and self._label.line == number:
            self._label.asked = self._asks(line)
        if self._password_taken == number:
            self._other_passwords(line)

    def _meet(self, label: Label, line: Line) -> None:
        """A label takes the place of the one before it, or tells more about that."""
        before = self._current(label.line, label.first)
        if label.kind is Kind.PASSWORD:
            self._password(label, line)
            self._label = None
            return
        self._named_afterwards(label, line)
        if before and before.kind is not Kind.NUMBER and self._is_aside(before, label):
            before.aside_end, before.aside_kind = label.end, label.kind
            return
        if label.kind is Kind.NUMBER:
            self._before = before
            if before and label.first - before.end <= 2 and before.line == label.line:
                before.end = label.end  # "my policy, number …"
                return
        elif label.kind is not Kind.CARD and label.kind not in _SECRET_KINDS:
            self._card_runs = []
        self._label = label
        if label.kind in _SECRET_KINDS:
            self._spelled(label, line)

    def _current(self, line: int, index: int) -> Label | None:
        label = self._label
        if label is None:
            return None
        since = index - max(label.end, label.aside_end, label.taken)
        if line - label.line > LABEL_TURNS or (label.line == line and since > LABEL_TOKENS):
            return None
        return label

    def _is_aside(self, label: Label, other: Label) -> bool:
        if label.line != other.line:
            return False
        end = max(label.end, label.aside_end)
        between = [token.word for token in self._tokens[end : other.first]]
        return (
            0 < len(between) <= 5
            and between[0] in self._language.prepositions
            and all(token.is_word for token in self._tokens[end : other.first])
            and not any(word in self._language.copulas for word in between)
        )

    # -- numbers

    def _judge(self, run: Run, number: int) -> None:
        if id(run) in self._removed:
            return
        label = self._current(number, run.first)
        label_kind = label.kind if label else None
        direct = label is not None and self._is_direct(label, run, number)
        if label and direct and label.aside_kind and self._adjoins(label.aside_end, run):
            label_kind = label.aside_kind
        if label and label_kind is Kind.NUMBER:
            label_kind = self._numbered(label, run)
        if not (direct and label_kind in (Kind.KEPT, Kind.PHONE)) and self._goes_on(run, number):
            return
        digits = run.digits
        if label and label_kind is Kind.KEPT and (direct or (label.asked and self._names_number(label))):
            self._kept.add(id(run))
            return
        if (
            label_kind is Kind.PHONE
            and (direct or self._is_phone(run))
            and (self._is_phone(run) or len(digits) <= LONGEST_TELEPHONE)
        ):
            self._kept.add(id(run))
            return
        if self._take_cards(run, named=label_kind is Kind.CARD):
            if label and label.kind is Kind.CARD:
                label.taken, label.line = run.last + 1, number
            return
        if self._is_social_security(run):
            self._take(run)
        elif label_kind is Kind.CARD:
            self._collect(run, label, number, direct)
        elif label and label_kind in _SECRET_KINDS:
            self._secret(run, label, label_kind, number, direct)

    def _goes_on(self, run: Run, number: int) -> bool:
        """Takes out a card that one speaker says in two parts, with more than a sign of listening between."""
        speaker = self._lines[number].speaker
        before, line = self._parts.get(speaker, (None, -LABEL_TURNS))
        self._parts[speaker] = run, number
        if before is None or number - line > LABEL_TURNS or id(before) in self._kept or self._is_phone(before):
            return False
        if (
            not NAMED_LENGTH < len(before.digits) + len(run.digits) <= LONGEST
            or min(len(before.digits), len(run.digits)) < 4
        ):
            return False
        elements = [element.readings for element in before.elements + run.elements]
        if len(elements) - 1 not in self._search.find(elements, 0, named=False):
            return False
        self._take(before)
        self._take(run)
        return True

    def _numbered(self, label: Label, run: Run) -> Kind | None:
        """The kind of a mere "number": a telephone's when it is long enough, or the kind spoken of before."""
        before = self._before
        if before is None or run.first - before.end > 2 * LABEL_TOKENS:
            return None
        length = len(run.digits)
        if before.kind is Kind.CARD and length >= NAMED_LENGTH - 2:
            return Kind.CARD
        if before.kind is Kind.IDENTITY and length == 9:
            return Kind.IDENTITY
        return None if length >= 7 else before.kind

    def _adjoins(self, end: int, run: Run) -> bool:
        words = [token.word for token in self._tokens[end : run.first]]
        return len(words) <= 3 and not any(word in self._language.copulas for word in words)

    def _is_direct(self, label: Label, run: Run, number: int) -> bool:
        """Whether nothing stands between a label and its number but "is" and its like, perhaps with more about the label."""
        if label.line != number or self._tokens[run.first].line != number:
            return False
        end = max(label.end, label.aside_end if label.aside_end <= run.first else 0)
        if run.first - end > QUALIFIERS:
            return False
        gap = self._tokens[end : run.first]
        language = self._language
        for back in range(len(gap) - 1, -1, -1):
            token = gap[back]
            if token.word in language.copulas or token.word in ":=#":
                return self._continues(gap[:back])
            if token.is_word and token.word not in language.connectors and token.word not in language.hedges:
                return False
        return True

    def _continues(self, gap: Sequence[Token]) -> bool:
        """Whether a sentence goes on, or the next is about the same: "the code? That would be"."""
        for token in reversed(gap):
            if ends_sentence(self._text, token):
                return True
            if token.is_word and token.word not in self._language.connectors:
                break
        return not any(ends_sentence(self._text, token) for token in gap)

    def _is_phone(self, run: Run) -> bool:
        digits = run.digits
        if run.plus:
            return len(digits) >= 7
        if digits.startswith("00"):
            return 10 <= len(digits) <= 17
        return digits.startswith("0") and 9 <= len(digits) <= 14

    def _is_social_security(self, run: Run) -> bool:
        if len(run.elements) != 3 or run.plus or len(run.digits) != 9:
            return False
        written = self._text[self._tokens[run.first].start : self._tokens[run.last].end]
        return _SOCIAL_SECURITY.fullmatch(written) is not None

    def _is_quantity(self, run: Run) -> bool:
        """A price, a count, a date or a time."""
        if run.price or run.counts:
            return True
        before = self._tokens[run.first - 1] if run.first else None
        language = self._language
        if before and before.line == self._tokens[run.first].line:
            if before.word in language.months:
                return True
            if before.word in language.year_words and _YEAR.fullmatch(run.digits):
                return True
        after = self._tokens[run.last + 1] if run.last + 1 < len(self._tokens) else None
        if after and after.line == self._tokens[run.last].line and after.word in language.months:
            return True
        written = self._text[self._tokens[run.first].start : self._tokens[run.last].end]
        return len(written) < 24 and _DECIMAL.search(written) is not None

    # -- cards

    def _take_cards(self, run: Run, *, named: bool) -> bool:
        """Takes out the cards of a run, with the expiry date and the three digits after them."""
        if len(run.digits) < NAMED_LENGTH or (self._is_phone(run) and not named):
            return False
        elements = [element.readings for element in run.elements]
        found, first = False, 0
        while first < len(elements):
            end = self._card_end(run, elements, first, named)
            if end is None:
                first += 1
                continue
            if any(element.retracted for element in run.elements):
                self._take(run)  # a number said wrong is a card's but for one digit
                return True
            found = True
            tail = self._tail(run, end)
            self._take(run, first, tail)
            first = tail + 1
        return found

    def _card_end(self, run: Run, elements: Sequence[tuple[str, ...]], first: int, named: bool) -> int | None:
        if not named and not self._is_edge(run, first):
            return None
        for end in self._search.find(elements, first, named=named):
            if named or end + 1 == len(elements) or self._is_edge(run, end + 1) or len(elements[end][0]) > 2:
                return end
        return None

    @staticmethod
    def _is_edge(run: Run, place: int) -> bool:
        """Whether a number may begin there: after a pause, or with a whole group of digits."""
        return place == 0 or run.elements[place].paused or len(run.elements[place].readings[0]) > 2

    @staticmethod
    def _tail(run: Run, end: int) -> int:
        """The element with the last of what is said after a card: month and year, and the digits on the back."""
        sizes = [len(element.readings[0]) for element in run.elements[end + 1 : end + 4]]
        for parts in ([2, 2, 3], [2, 2, 4], [1, 2, 3], [4, 3], [4, 4], [3], [2, 2]):
            if sizes[: len(parts)] == parts and len(run.elements) == end + 1 + len(parts):
                return end + len(parts)
        return end

    def _collect(self, run: Run, label: Label | None, number: int, direct: bool) -> None:
        """Puts together a card that is said in several turns, with groups repeated and corrected."""
        if self._is_phone(run) or self._is_quantity(run) or len(run.digits) < 2:
            return
        self._card_runs.append(run)
        if label:
            label.taken, label.line = run.last + 1, number
        total = sum(len(collected.digits) for collected in self._card_runs)
        if total >= NAMED_LENGTH or (direct and label and self._names_number(label) and total > 4):
            for collected in self._card_runs:
                self._take(collected)
            self._card_runs = self._card_runs[-1:]

    def _names_number(self, label: Label) -> bool:
        word = self._tokens[label.end - 1].word.removesuffix(self._language.contraction)
        return word in self._language.counted | self._language.references

    # -- PINs, codes and the like

    def _secret(self, run: Run, label: Label, kind: Kind, number: int, direct: bool) -> None:
        length = len(run.digits)
        if label.taken:
            between = self._tokens[label.taken : run.first]
            again = len(between) <= CORRECTION_TOKENS and all(
                not token.is_word or token.word in self._language.corrections for token in between
            )
            least, most = _DIRECT[kind] if again else (99, 0)
        elif direct:
            least, most = _DIRECT[kind]
        elif label.asked and label.line != number:
            least, most = _ANSWERED[kind]
        else:
            least, most = _LOOSE[kind]
        if not least <= length <= most or run.plus:
            return
        if not (direct and self._follows_closely(label, run)) and self._is_quantity(run):
            return
        self._take(run)
        label.taken, label.line, label.asked = run.last + 1, self._tokens[run.last].line, False

    def _follows_closely(self, label: Label, run: Run) -> bool:
        return run.first - label.end <= 3

    def _named_afterwards(self, label: Label, line: Line) -> None:
        """ "4711 is my PIN", "one two three, that's the security code"."""
        if label.kind not in _SECRET_KINDS:
            return
        language, tokens = self._language, self._tokens
        index, steps = label.first - 1, 0
        while index >= line.first and steps < 4 and tokens[index].word in language.determiners | language.secret_codes:
            index, steps = index - 1, steps + 1
        if index < line.first or tokens[index].word not in language.copulas | language.as_words:
            return
        while index >= line.first and steps < 9 and index not in self._run_of:
            token = tokens[index]
            if token.is_word and token.word not in language.connectors | language.as_words:
                return
            index, steps = index - 1, steps + 1
        run = self._run_of.get(index) if index >= line.first else None
        if run and SHORTEST_SECRET <= len(run.digits) <= 16 and id(run) not in self._kept and not run.counts:
            self._take(run)
            label.taken = label.end

    def _spelled(self, label: Label, line: Line) -> None:
        """A code with letters after its name, or one in words."""
        begin = self._value(label.end, line, label.kind)
        if begin is None:
            return
        first, copula = begin
        end, letters = self._code_end(first, line)
        if end > first:
            if letters:
                self._remove(first, end)
                label.taken = end
            return
        if label.kind is Kind.CODE and copula and self._is_value(first, line, words_may_follow=False):
            self._remove(first, self._clause_end(first, line))

    def _value(self, index: int, line: Line, kind: Kind) -> tuple[int, bool] | None:
        """Where the value after a name begins, and whether a copula stands before it."""
        language, tokens = self._language, self._tokens
        contracted = tokens[index - 1].word.endswith(language.contraction)
        if contracted:
            return self._skip_hedges(index, line), True
        stop = min(line.end, index + QUALIFIERS)
        for place in range(index, stop):
            token = tokens[place]
            if token.word in language.copulas or token.word in ":=":
                return self._skip_hedges(place + 1, line), True
            if kind is Kind.PASSWORD and token.word in language.to_words and self._was_set(index, line):
                return self._skip_hedges(place + 1, line), True
            label = self._labels.get(place)
            if ends_sentence(self._text, token) or (label and not self._after_preposition(place, index)):
                break
            if token.word == "," and kind is Kind.PASSWORD and self._changes_subject(place + 1, line):
                break
            if label is None and (place in self._run_of or token.is_mixed):
                break
        following = index
        while following < stop and tokens[following].word in {",", "#"} | language.hedges:
            following += 1
        if following < stop and (following in self._run_of or self._is_code_like(following, line)):
            return following, False
        if following < stop and kind is Kind.PASSWORD and self._written_end(following, line) > following + 1:
            return following, False
        return None

    def _written_end(self, index: int, line: Line) -> int:
        """The token after what is written together with a token: "Spring-44-x" has digits in it."""
        end = index + 1
        limit = min(line.end, index + QUALIFIERS)
        while end < limit and " " not in self._text[self._tokens[end - 1].end : self._tokens[end].start]:
            end += 1
        return end if any(token.is_digits or token.is_mixed for token in self._tokens[index:end]) else index

    def _changes_subject(self, index: int, line: Line) -> bool:
        word = self._tokens[index].word if index < line.end else ""
        return word in self._language.clause_starts and word not in {"it", "it's", "that's", "which"}

    def _after_preposition(self, place: int, begin: int) -> bool:
        words = [token.word for token in self._tokens[max(begin, place - 4) : place]]
        return any(word in self._language.prepositions for word in words)

    def _was_set(self, index: int, line: Line) -> bool:
        words = [token.word for token in self._tokens[max(line.first, index - 6) : index]]
        return any(word in self._language.set_verbs for word in words)

    def _skip_hedges(self, index: int, line: Line) -> int:
        """The token after signs, fillers and "still" or "I think"."""
        language = self._language
        while index < line.end:
            token = self._tokens[index]
            skip = token.word in language.hedges or token.word in {"it's", "that's"} or not token.is_word
            if not skip or token.word == REMOVED:
                break
            index += 1
        return index

    def _is_value(self, index: int, line: Line, *, words_may_follow: bool = True) -> bool:
        """Whether words are the secret itself, and not its description; a code does not begin with "the"."""
        if index >= line.end or self._tokens[index].word == REMOVED:
            return False
        word = self._tokens[index].word
        alone = index + 1 >= line.end or not self._tokens[index + 1].is_word
        language = self._language
        if word in language.states or word.endswith("n't") or (word == "correct" and alone):
            return False
        if word in language.determiners and words_may_follow:
            following = self._tokens[index + 1].word if not alone else ""
            return bool(following) and following not in language.states | language.not_values
        return index in self._run_of or word not in language.determiners | language.clause_starts

    def _code_end(self, index: int, line: Line) -> tuple[int, bool]:
        """The token after a code, and whether letters are part of it."""
        end, letters, place = index, False, index
        while place < line.end and place - end <= 3:
            if place in self._labels or ends_sentence(self._text, self._tokens[place]):
                break
            if place in self._run_of:
                end = place + 1
            elif self._is_code_like(place, line):
                end, letters = place + 1, True
            elif self._tokens[place].word not in {",", ".", "and", "then", "dash", "hyphen", "space", "uh", "um"}:
                break
            place += 1
        return end, letters

    def _is_code_like(self, index: int, line: Line) -> bool:
        token = self._tokens[index]
        if token.is_mixed or token.word in self._language.spelling:
            return True
        if not token.text.isalpha():
            return False
        if len(token.text) == 1:
            return token.word not in "ai" or (
                index + 1 < line.end and len(self._tokens[index + 1].text) == 1 and self._tokens[index + 1].is_word
            )
        return 2 <= len(token.text) <= 8 and token.text.isupper()

    # -- passwords

    def _password(self, label: Label, line: Line) -> None:
        before = [token.word for token in self._tokens[max(line.first, label.first - 5) : label.first]]
        self._password_before(label, line)
        begin = self._value(label.end, line, Kind.PASSWORD)
        if (
            begin is None
            and label.end + 1 < line.end
            and self._tokens[label.end].word == "?"
            and line.speaker != ASSISTANT
        ):
            begin = label.end + 1, self._tokens[label.end + 1].word not in self._language.refusals
        lost = any(word in self._language.lost_verbs for word in before)
        if begin is not None:
            first, copula = begin
            if first >= line.end:
                self._asked_password = label.line  # "my password is", and the words in the next turn
            elif copula and self._is_value(first, line) and not (lost and self._is_plain(first)):
                self._remove(first, self._clause_end(first, line))
                self._password_taken = label.line
            elif not copula and not lost:
                self._remove(first, max(self._code_end(first, line)[0], self._written_end(first, line), first + 1))
        if line.speaker != CALLER and self._requests(label, line):
            self._asked_password = label.line

    def _other_passwords(self, line: Line) -> None:
        """ "The old one was rover1998 and the new one is rover1999": what looks like one too, and has no other name."""
        label: Label | None = None
        for index in range(line.first, line.end):
            label = self._labels.get(index, label)
            token = self._tokens[index]
            if token.is_mixed and label and label.kind is Kind.PASSWORD and len(token.word) >= LONG_SECRET:
                self._remove(index, index + 1)

    def _is_plain(self, index: int) -> bool:
        token = self._tokens[index]
        return token.word.isalpha()

    def _password_before(self, label: Label, line: Line) -> None:
        """ "hunter2 is my password", "I use hunter2 as my password"."""
        language, tokens = self._language, self._tokens
        index = label.first - 1
        while index >= line.first and label.first - index <= 3 and tokens[index].word in language.determiners:
            index -= 1
        if index <= line.first or tokens[index].word not in language.copulas | language.as_words:
            return
        linked_by_as = tokens[index].word in language.as_words
        contracted = tokens[index].word == "that's"
        end = index
        while end > line.first and not tokens[end - 1].is_word:
            end -= 1
        first = end
        while first > line.first and end - first < 8 and tokens[first - 1].is_word:
            first -= 1
        verb = next((place for place in range(first, end) if tokens[place].word in language.set_verbs), None)
        if verb is not None:
            first = verb + 1
        elif linked_by_as:
            return
        while first < end and tokens[first].word in language.answer_starts | {"i", "and", "that"}:
            first += 1
        if first >= end or end - first > 6:
            return
        words = [token.word for token in tokens[first:end]]
        if any(word in language.questions for word in words) and not any(t.is_mixed for t in tokens[first:end]):
            return
        if contracted and not any(token.is_mixed for token in tokens[first:end]) and end - first > 4:
            return
        self._remove(first, end)

    def _clause_end(self, first: int, line: Line) -> int:
        """The token after the last of a value in words."""
        language, tokens = self._language, self._tokens
        quote = self._text[tokens[first].start - 1 : tokens[first].start]
        if quote in "\"“'" and quote:
            limit = min(tokens[line.end - 1].end + 1, tokens[first].start + QUOTED)
            close = self._text.find("”" if quote == "“" else quote, tokens[first].start, limit)
            if close > 0:
                place = first
                while place < line.end and tokens[place].start < close:
                    place += 1
                return place
        for place in range(first, line.end):
            token = tokens[place]
            if ends_sentence(self._text, token) or token.word == REMOVED:
                return max(place, first + 1) if token.word != REMOVED else place
            following = tokens[place + 1].word if place + 1 < line.end else ""
            ended = (
                (token.word == "," and self._begins_clause(place + 1, line, following))
                or (
                    place > first
                    and token.word in language.conjunctions
                    and self._begins_clause(place + 1, line, following)
                )
                or (place > first and token.word in language.courtesies and place + 1 >= line.end)
                or (place > first and place in self._labels and self._names_number(self._labels[place]))
            )
            if ended:
                return max(place, first + 1)
        return line.end

    def _begins_clause(self, index: int, line: Line, word: str) -> bool:
        language = self._language
        if word in language.clause_starts or word in language.courtesies or index in self._labels:
            return True
        after = self._tokens[index + 1].word if index + 1 < line.end else ""
        return word in language.conjunctions and (after in language.clause_starts or index + 1 in self._labels)

    def _asks(self, line: Line) -> bool:
        words = self._tokens[line.first : line.end]
        return any(token.word == "?" or token.word in self._language.request_words for token in words)

    def _requests(self, label: Label, line: Line) -> bool:
        """Whether a turn wants to hear a password, and not to know whether it was forgotten."""
        before = [token.word for token in self._tokens[max(line.first, label.first - 8) : label.first]]
        after = [token.word for token in self._tokens[label.end : min(line.end, label.end + 3)]]
        language = self._language
        if any(
            word in language.lost_verbs or word in {"never", "not", "no"} or word.endswith("n't") for word in before
        ):
            return False
        if any(
            word in language.states | language.lost_verbs and word not in {"for", "on", "please", "ready"}
            for word in after[:1]
        ):
            return False
        return bool(set(before) & language.request_words) or "please" in after or "?" in after[:1]

    def _answers_with_words(self, number: int, line: Line) -> bool:
        """Takes out the whole answer to a question for a password."""
        asked = self._asked_password
        if asked is None or number == asked:
            return False
        if number - asked > LABEL_TURNS:
            self._asked_password = None
            return False
        if line.speaker == ASSISTANT or (line.speaker and line.speaker != CALLER):
            if any(index in self._labels for index in range(line.first, line.end)) and self._asks(line):
                self._asked_password = None  # the assistant asks for something else
            return False
        if any(index in self._labels for index in range(line.first, min(line.end, line.first + ANSWER_TOKENS))):
            return False
        first = line.first
        language = self._language
        while first < line.end and (
            not self._tokens[first].is_word or self._tokens[first].word in language.answer_starts
        ):
            first += 1
        if first >= line.end or line.end - first > ANSWER_TOKENS or self._tokens[first].word in language.refusals:
            refused = first < line.end and self._answer_after(first, line)
            if not refused:
                return False
            first = refused
        self._remove(first, self._clause_end(first, line))
        self._asked_password = None
        return True

    def _answer_after(self, first: int, line: Line) -> int:
        """The value in "I think it's rainbow", or 0."""
        for place in range(first, min(line.end, first + 8)):
            if self._tokens[place].word in {"it's", "use"} or (
                self._tokens[place].word == "is" and self._tokens[place - 1].word == "it"
            ):
                begin = self._skip_hedges(place + 1, line)
                return begin if self._is_value(begin, line) else 0
        return 0

    # -- taking out

    def _remove(self, first: int, end: int) -> None:
        """Takes out words of one line, and with them all of the numbers that they are part of."""
        if first >= end:
            return
        self._spans.append((first, end))
        self._gone_until = max(end, self._gone_until)
        for index in range(first, end):
            if run := self._run_of.get(index):
                self._take(run)
            elif self._tokens[index].is_mixed:
                self._said_words.add(self._tokens[index].word)

    def _take(self, run: Run, first: int = 0, last: int | None = None) -> None:
        """Takes out the elements of a run from `first` to `last`, in each of its turns."""
        if id(run) in self._removed:
            return
        elements = run.elements[first : (len(run.elements) if last is None else last + 1)]
        if len(elements) == len(run.elements):
            self._removed.add(id(run))
        for begin, end in self._turns(Run(elements)):
            self._spans.append((elements[begin].first, elements[end].last + 1))
            self._say(elements[begin : end + 1])
        self._say(elements)

    def _say(self, elements: Sequence[Element]) -> None:
        digits = "".join(element.readings[0] for element in elements)
        if SHORTEST_SECRET <= len(digits) <= 2 * LONGEST:
            self._said[digits] = self._tokens[elements[-1].last].line

    def _echoes(self) -> None:
        """Takes out a secret that is said again without its name, such as by the assistant."""
        for run in self._runs:
            if id(run) in self._removed or id(run) in self._kept or run.counts:
                continue
            for first, last in [(0, len(run.elements) - 1), *self._turns(run)]:
                digits = "".join(element.readings[0] for element in run.elements[first : last + 1])
                if digits in self._said:
                    line = self._tokens[run.elements[first].first].line
                    if len(digits) >= LONG_SECRET or abs(line - self._said[digits]) <= ECHO_TURNS:
                        self._take(run, first, last)
        if self._said_words:
            for index, token in enumerate(self._tokens):
                if token.word in self._said_words:
                    self._spans.append((index, index + 1))

    def _turns(self, run: Run) -> list[tuple[int, int]]:
        """First and last element in each of the turns that a run goes through."""
        lines = [self._tokens[element.first].line for element in run.elements]
        begins = [place for place, line in enumerate(lines) if place == 0 or line != lines[place - 1]]
        return list(zip(begins, [begin - 1 for begin in begins[1:]] + [len(lines) - 1], strict=True))
