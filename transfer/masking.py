"""Telephone numbers and credentials as they may stand in a log.

In doubt a number is masked: ten to fifteen digits without a label may be a telephone's. The time it takes grows with
the length of the text and no faster: every part of the expressions below is possessive or bounded.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum, auto
from typing import NamedTuple

from transfer.redaction.cards import is_card


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SECRET = "(secret)"

LONGEST_NUMBER = 17
"""Digits: fifteen of an international number (ITU-T E.164), and 00 before them."""
LOCAL, NATIONAL, INTERNATIONAL = 7, 10, 15
"""Digits of a number without its area code, of the shortest with it, and of the longest."""
SHORTEST_TRUNK = 8
"""Digits of a national number with the 0 before it."""
MOST_GROUPS = 7
"""Groups of digits in a written number; a French one with its country code has six."""
LABEL = 48
"""Characters before a number in which the words that say what it is are looked for."""

_SPACE = " \u00a0\u2000-\u200a\u202f\u3000"
_HYPHEN = "\\-\u2010-\u2015\u2212\ufe63\uff0d"

# Words and numbers with many digits that are no number to dial. Each is bounded, and begins where no other word or number goes on.
_KEPT = rf"""
    (?<![0-9A-Za-z]) [0-9a-fA-F]{{8}} (?: -[0-9a-fA-F]{{4}} ){{3}} -[0-9a-fA-F]{{12}} (?![0-9A-Za-z])    # a UUID
  | (?<![0-9A-Za-z]) (?!SIP_|TEL_) [A-Z]{{2,3}} _ [0-9A-Za-z]{{12}} (?![0-9A-Za-z])     # LiveKit's ids: RM_, PA_, AJ_
  | (?<![0-9A-Za-z]) [A-Z]{{2}} [0-9a-f]{{32}} (?![0-9A-Za-z])                           # Twilio's ids
  | (?<![0-9A-Za-z]) 0[xX] [0-9A-Fa-f]++
  | (?<![\d+.{_HYPHEN}]) (?: (?:19|20)\d\d (?P<y>[-/.]) (?:0?[1-9]|1[0-2]) (?P=y) (?:0?[1-9]|[12]\d|3[01])        # a date
        | (?:0?[1-9]|[12]\d|3[01]) (?P<d>[-/.]) (?:0?[1-9]|[12]\d|3[01]) (?P=d) (?:19|20)\d\d ) (?!\d|[-/.]\d)
    (?: (?:T\d{{4}}|[T\ ]\d\d:\d\d) (?: :?\d\d (?:[.,]\d{{1,9}})? )? (?: Z | \ ?[+-]\d\d:?\d\d )? )?     # and its time
  | (?<![\d+.]) (?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d) (?: \.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d) ){{3}} (?!\.?\d)
    (?: :\d{{1,5}} (?: -\d{{1,5}} )? )?                                                  # an IPv4 address, with ports
  | (?<![\d:]) \d{{1,2}}:\d\d (?: :\d\d )? (?: [.,]\d{{1,9}} )? (?!\d)                    # a time
"""
# A word with digits; a number with signs but without spaces. The loops are possessive: no character is tried twice.
_ATOM = re.compile(
    rf"""
    (?P<kept> {_KEPT} )
  | (?P<word> \d*+ [A-Za-z] [0-9A-Za-z]*+ )
  | (?P<number> (?: \+ | %2[Bb] )? \(? \d++ (?: (?: [.()/·{_HYPHEN}] | %2[089DEFdef] ){{1,3}}+ \d++ )*+ \)? )
    """,
    re.VERBOSE | re.ASCII,
)
# Signs between two parts of one written number.
_JOINT = re.compile(rf"[{_SPACE}]{{1,2}}|[{_SPACE}]?[/{_HYPHEN}][{_SPACE}]|\)[{_SPACE}]|[{_SPACE}]\(")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_DIGITS = re.compile(r"\d+", re.ASCII)
_LETTERS_AND_DIGITS = re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}")
# The words and signs before a number, told apart; camel case has several words.
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^A-Za-z]+")
_BETWEEN_LABEL_AND_NUMBER = frozenset(" \t\"'=:#([{<_-./\\*№?&")
_UNIT = re.compile(
    rf"(?:[{_SPACE}]?(?:bytes?|octets?|[kKMG]i?B|ms|ns|us|µs|millis|nanos|micros|secs?|seconds?|milliseconds?|microseconds?"
    r"|nanoseconds?|samples?|frames?|packets?|tokens?|characters?|chars|[kM]?Hz|[kM]?bps|rows|lines|records|events)|[sB%])(?![0-9A-Za-z])"
)
_COMPACT_TIME = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d[0-5]\d")

# A signed token (RFC 7519), which begins with `{"` in Base64. Never tried twice: text that was read is not given back.
_SIGNED = re.compile(r"(?<![a-z])eyJ[\w-]{8,}+(?:\.[\w-]++){0,4}+", re.ASCII)
_AUTHORIZATION = re.compile(r"\b(bearer|basic|token)([ :\"']{1,3})([\w.~+/=-]{12,}+)", re.IGNORECASE | re.ASCII)
_PARAMETER = re.compile(
    r"((?:token|secret|password|passwd|api_?key|signature)(?:[\"']?=[\"']?|[\"']: ?[\"']))([^\s&\"'<>;,)\]}]{8,}+)",
    re.IGNORECASE,
)
_API_KEY = re.compile(r"\bsk-[\w-]{16,}+", re.ASCII)

# Words before a number: neither, no telephone's, and a telephone's.
_FILLERS = _words("no nr num number numbers id ids is was the a value at equals")
_OTHER_LABELS = _words(
    "order orders invoice invoices ticket tickets case booking bookings reservation reference ref tracking claim policy sku "
    "ssrc ssrcs thread threads ident tid native pid ppid process bytes byte size length len offset limit timestamp timestamps ts "
    "time times created updated expires expiry exp iat nbf issued modified mtime ctime atime started ended finished daemon seq "
    "sequence count total duration elapsed took uptime latency ns ms us sec secs seconds millis nanos version port ports range "
    "udp tcp candidate line lineno commit build job request req trace span hash sha md crc checksum seed memory rss heap frame "
    "frames sample samples packet packets priority foundation monotonic deadline clock epoch nonce sent received read wrote "
    "written revision rtp ntp since"
)
_TELEPHONE_LABELS = _words(
    "phone telephone tel mobile cell call caller callee called calling callback dial dialed dialled dialing dialling sip sips "
    "fax msisdn ani dnis whatsapp sms rings ringing rang phones"
)


class _Label(Enum):
    NONE = auto()
    OTHER = auto()
    TELEPHONE = auto()


class _Number(NamedTuple):
    start: int
    end: int


def mask(text: str, keep: Collection[str] = ()) -> str:
    """`text` with every telephone number cut to its first three and last two characters, and without credentials.

    `keep`: digits that are known to be something else.
    """
    text = _without_credentials(text)
    pieces, place = [], 0
    for start, end in _telephones(text, keep):
        number = text[start:end]
        pieces += [text[place:start], f"{number[:3]}…{number[-2:]}"]
        place = end
    return "".join([*pieces, text[place:]])


def _without_credentials(text: str) -> str:
    if "=" in text or ":" in text:
        text = _PARAMETER.sub(rf"\1{SECRET}", text)
    text = _SIGNED.sub(SECRET, text)
    text = _API_KEY.sub(SECRET, text)
    return _AUTHORIZATION.sub(_without_authorization, text)


def _without_authorization(found: re.Match[str]) -> str:
    """ "Basic authentication" is no credential: one has digits, or is very long."""
    is_credential = len(found[3]) >= 24 or any(character.isdigit() for character in found[3])
    return f"{found[1]}{found[2]}{SECRET}" if is_credential else found[0]


def _telephones(text: str, keep: Collection[str]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    run: list[_Number] = []
    """Numbers with nothing but a space or a hyphen between: perhaps the groups of one."""
    labelled_until = -1
    """End of the last number that had a label; a list has one for all of its numbers."""

    def close() -> None:
        nonlocal labelled_until
        if run:
            labelled_until = _judge(text, run, keep, labelled_until, found)
            run.clear()

    for atom in _ATOM.finditer(text):
        if atom.lastgroup == "number":
            start, end = atom.span()
            if atom[0][-1] == ")" and "(" not in atom[0]:
                end -= 1
            if run and not (start - run[-1].end <= 3 and _JOINT.fullmatch(text, run[-1].end, start)):
                close()
            run.append(_Number(start, end))
            continue
        close()
        if atom.lastgroup == "word" and len(atom[0]) > NATIONAL:
            found += _in_word(atom)
    close()
    return found


def _in_word(word: re.Match[str]) -> list[tuple[int, int]]:
    """Telephone numbers that letters adjoin; hexadecimal digits and "1234567890ms" are none."""
    if _LETTERS_AND_DIGITS.fullmatch(word[0]):
        return []
    numbers = []
    for digits in _DIGITS.finditer(word[0]):
        quantity = digits.start() == 0 and _UNIT.fullmatch(word[0], digits.end())
        if NATIONAL <= len(digits[0]) <= LONGEST_NUMBER and not quantity:
            numbers.append((word.start() + digits.start(), word.start() + digits.end()))
    return numbers


def _judge(
    text: str, run: list[_Number], keep: Collection[str], labelled_until: int, found: list[tuple[int, int]]
) -> int:
    """Adds the telephone numbers of a run to `found`; returns the end of the last number that had another label."""
    place = 0
    while place < len(run):
        start, end = run[place]
        written = text[start:end]
        label = _label(text, start)
        if label is _Label.NONE and labelled_until > 0 and text[labelled_until:start].strip() == ",":
            label = _Label.OTHER
        if not written.startswith(("+", "%")):
            if label is _Label.OTHER:
                labelled_until = end
            if label is _Label.OTHER or written in keep or _UNIT.match(text, end) or _COMPACT_TIME.fullmatch(written):
                place += 1
                continue
        last = _last_group(text, run, place, label)
        if last is not None:
            found.append((start, run[last].end))
            place = last
        place += 1
    return labelled_until


def _last_group(text: str, run: list[_Number], place: int, label: _Label) -> int | None:
    """The last of the groups that make up a telephone number from `place` on."""
    alone = text[run[place].start : run[place].end]
    if alone.isdecimal() and NATIONAL <= len(alone) <= INTERNATIONAL and alone[0] != "0":
        return place
    for last in range(min(len(run), place + LONGEST_NUMBER) - 1, place - 1, -1):
        if run[last].end - run[place].start <= 3 * LONGEST_NUMBER and _is_telephone(
            text[run[place].start : run[last].end], label
        ):
            return last
    return None


def _is_telephone(written: str, label: _Label) -> bool:
    plus = written.startswith(("+", "%2B", "%2b"))
    signs = _ENCODED.sub(" ", written.removeprefix("%2B").removeprefix("%2b"))
    groups = _DIGITS.findall(signs)
    if groups[1:] == ["0"] and "." in signs:
        groups, signs = groups[:1], groups[0]  # went through a spreadsheet
    digits = "".join(groups)
    length = len(digits)
    if length > LONGEST_NUMBER:
        return length <= 19 and len(groups) == 1 and is_card(digits, named=False)
    if length < LOCAL:
        return False
    if plus:
        return True
    if _is_decimal(signs, groups):
        return False
    if digits.startswith("00"):
        return length >= NATIONAL
    if len(groups) == 1:
        if length > INTERNATIONAL:
            return is_card(digits, named=False)
        return length >= NATIONAL or label is _Label.TELEPHONE or (digits[0] == "0" and length > SHORTEST_TRUNK)
    if length > INTERNATIONAL or _is_range(signs, groups):
        return False
    if label is _Label.TELEPHONE or (digits[0] == "0" and length >= SHORTEST_TRUNK):
        return True
    sizes = [len(group) for group in groups]
    if length < NATIONAL:
        return ("(" in signs and sizes[0] > 1) or (
            not _has_space(signs) and "." not in signs and sizes in ([3, 4], [3, 3, 3])
        )
    if max(sizes) == 1:
        return True
    if max(sizes) <= 2 and _has_space(signs):
        return length > NATIONAL  # "10 20 30 40 50" is a list
    return len(groups) <= MOST_GROUPS and max(sizes) < NATIONAL


def _has_space(written: str) -> bool:
    return any(character.isspace() for character in written)


def _is_decimal(written: str, groups: list[str]) -> bool:
    """A number with a point, or a version."""
    if "." not in written or any(sign in written for sign in "()/") or _has_space(written):
        return False
    if len(groups) == 2:
        return groups[0][0] != "0" or len(groups[0]) == 1
    return any(group == "0" for group in groups)


def _is_range(written: str, groups: list[str]) -> bool:
    """Ports, from and to."""
    if len(groups) != 2 or len(groups[0]) != len(groups[1]) or _has_space(written) or "-" not in written:
        return False
    return groups[0][0] != "0" and int(groups[0]) < int(groups[1]) < 65536


def _label(text: str, start: int) -> _Label:
    """The kind of a number, by the words before it."""
    before = text[max(0, start - LABEL) : start]
    for piece in reversed(_PIECE.findall(before[before.rfind("\n") + 1 :])):
        if not piece[0].isalpha():
            if not _BETWEEN_LABEL_AND_NUMBER.issuperset(piece):
                return _Label.NONE
            continue
        word = piece.lower()
        if word in _TELEPHONE_LABELS:
            return _Label.TELEPHONE
        if word in _OTHER_LABELS:
            return _Label.OTHER
        if word not in _FILLERS:
            return _Label.NONE
    return _Label.NONE
