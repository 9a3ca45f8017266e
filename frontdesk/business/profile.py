"""frontdesk.toml: read strictly, so that a slip of the pen is found at start and not in a call."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from frontdesk.business.numbers import E164, can_be_dialled
from frontdesk.business.problems import ConfigurationError
from frontdesk.business.textfile import NotUtf8, read_text

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-4]):[0-5]\d")
KEY = re.compile(r"[a-z][a-z0-9_]*")
DEFAULT_RINGING_TIMEOUT = 20.0
"""Seconds."""
AfterTransfer = Literal["end", "return", "leave"]
"""The next step when a colleague hangs up and the caller stays; in the transfer's own words."""


@dataclass(frozen=True)
class Destination:
    """A colleague that a caller can be put through to."""

    key: str
    """The only name that the model uses for it; name and department show the model whom callers mean."""
    name: str
    department: str
    number: str
    """E.164, an extension behind the trunk, or a SIP URI."""
    ringing_timeout: float
    """Seconds."""
    dtmf: str
    person_timeout: float | None
    """Seconds from pick-up until a person speaks, for a number with a queue and its music; None: the consult's deadline."""


@dataclass(frozen=True)
class Profile:
    """The business as the owner describes it."""

    name: str
    address: str
    timezone: ZoneInfo | None
    hours: dict[str, str]
    """By day; a day that is missing is closed."""
    faq: dict[str, str]
    """Answers by question."""
    directory: dict[str, Destination]
    after_transfer: AfterTransfer
    voicemail_message: str
    """The message for a colleague's voicemail; empty: none."""

    def facts(self) -> str:
        """The facts that the model may give a caller, a line each."""
        lines = [f"Name: {self.name}"]
        if self.address:
            lines.append(f"Address: {self.address}")
        if self.hours:
            zone = f" ({self.timezone.key})" if self.timezone else ""
            open_days = ", ".join(f"{day} {self.hours[day].replace('-', ' to ')}" for day in DAYS if day in self.hours)
            lines.append(f"Opening hours{zone}: {open_days}; closed on all other days.")
        return "\n".join([*lines, *(f"{question} {answer}" for question, answer in self.faq.items())])

    def directory_lines(self) -> str:
        return "\n".join(f"- {key}: {entry.name}, {entry.department}" for key, entry in self.directory.items())


class _Section:
    """One table of the file; knows its place in it and collects problems."""

    def __init__(self, file: str, place: str, table: Any, problems: list[str]) -> None:
        self._file, self._place, self.problems = file, place, problems
        self.table: dict[str, Any] = table if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            self.say("", f"must be a table: write [{place}]")

    def say(self, key: str, what: str) -> None:
        name = ".".join(part for part in (self._place, key) if part)
        self.problems.append(f"{self._file}: {name} {what}")

    def only(self, *known: str) -> None:
        for key in self.table:
            if key not in known:
                self.say(key, f"is unknown: write one of {', '.join(known)}, or take it out")

    def sub(self, key: str) -> _Section:
        place = ".".join(part for part in (self._place, key) if part)
        return _Section(self._file, place, self.table.get(key, {}), self.problems)

    def text(self, key: str, *, required: bool = False) -> str:
        value = self.table.get(key, "")
        if not isinstance(value, str):
            self.say(key, f"is {value!r}: write a text in quotes")
            return ""
        if required and not value.strip():
            self.say(key, "is missing: write a text in quotes")
        return value.strip()

    def seconds(self, key: str, least: float, most: float) -> float | None:
        """None where the key is missing."""
        value = self.table.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            self.say(key, f"is {value!r}: write seconds from {least:g} to {most:g}")
            return None
        return float(value)


def read_profile(path: Path, *, dials_numbers_only: bool = False) -> Profile:
    """Raises ConfigurationError with one line for each problem in the file.

    `dials_numbers_only`: the way out to the telephone network (Twilio's connector) knows no extensions, URIs and keys.
    """
    try:
        table = tomllib.loads(read_text(path))
    except OSError as error:
        raise ConfigurationError(
            [f"{path}: cannot be read ({error.strerror}): write it, or set FRONTDESK_TOML"]
        ) from None
    except NotUtf8 as error:
        raise ConfigurationError([f"{path.name}: {error}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path.name}: is not TOML: {error}"]) from None
    root = _Section(path.name, "", table, [])
    root.only("business", "hours", "faq", "directory", "transfer")
    business = root.sub("business")
    business.only("name", "address", "timezone")
    profile = Profile(
        name=business.text("name", required=True),
        address=business.text("address"),
        timezone=_timezone(business),
        hours=_hours(root.sub("hours")),
        faq=_faq(root),
        directory=_directory(root.sub("directory"), dials_numbers_only),
        after_transfer=_after_transfer(root.sub("transfer")),
        voicemail_message=_voicemail_message(root.sub("transfer")),
    )
    if root.problems:
        raise ConfigurationError(root.problems)
    return profile


def _timezone(business: _Section) -> ZoneInfo | None:
    name = business.text("timezone")
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        business.say("timezone", f"is {name!r}, which is no time zone: write a name such as America/Los_Angeles")
        return None


def _after_transfer(section: _Section) -> AfterTransfer:
    section.only("after", "voicemail_message")
    value = section.table.get("after", "return")
    if value not in get_args(AfterTransfer):
        section.say("after", f"is {value!r}: write one of {', '.join(get_args(AfterTransfer))}")
        return "return"
    after: AfterTransfer = value
    return after


def _voicemail_message(section: _Section) -> str:
    return section.text("voicemail_message") if "voicemail_message" in section.table else ""


def _hours(section: _Section) -> dict[str, str]:
    section.only(*DAYS)
    hours = {day: section.text(day) for day in DAYS if day in section.table}
    for day, value in hours.items():
        if value and not HOURS.fullmatch(value):
            section.say(day, f'is {value!r}: write opening and closing time such as "09:00-17:00"')
    return hours


def _faq(root: _Section) -> dict[str, str]:
    entries = root.table.get("faq", [])
    if not isinstance(entries, list):
        root.say("faq", "must be a list: write [[faq]] above each question")
        return {}
    answers: dict[str, str] = {}
    first: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        section = _Section(root._file, f"faq {number}", entry, root.problems)
        section.only("question", "answer")
        question, answer = section.text("question", required=True), section.text("answer", required=True)
        same = first.setdefault(" ".join(question.casefold().split()).rstrip("?!. "), number)
        if question and same != number:
            section.say("question", f"is that of faq {same} again: write both answers into one, or take one out")
        answers[question] = answer
    return answers


def _directory(section: _Section, dials_numbers_only: bool) -> dict[str, Destination]:
    if not section.table:
        section.say("", "is empty: write at least one destination such as [directory.billing]")
    return {key: _destination(key, section, dials_numbers_only) for key in section.table}


def _destination(key: str, directory: _Section, dials_numbers_only: bool) -> Destination:
    section = directory.sub(key)
    section.only("name", "department", "number", "ringing_timeout", "dtmf", "person_timeout")
    if not KEY.fullmatch(key):
        section.say("", "is no good key: write lower-case letters, digits and _ only")
    number = section.text("number", required=True)
    if number:
        _check_number(number, section, dials_numbers_only)
    dtmf = section.text("dtmf")
    if not re.fullmatch(r"[0-9*#A-Dw]*", dtmf):
        section.say("dtmf", f'is {dtmf!r}: write keys 0-9 * # and w for half a second, such as "ww12#"')
    elif dtmf and dials_numbers_only:
        section.say("dtmf", "cannot be sent over Twilio's connector: take it out, or set a SIP trunk")
    return Destination(
        key,
        section.text("name", required=True),
        section.text("department", required=True),
        number,
        section.seconds("ringing_timeout", 5, 80) or DEFAULT_RINGING_TIMEOUT,
        dtmf,
        section.seconds("person_timeout", 5, 3600),
    )


def _check_number(number: str, section: _Section, dials_numbers_only: bool) -> None:
    if E164.fullmatch(number):
        return
    if dials_numbers_only:
        section.say("number", f'is {number!r}, and Twilio\'s connector dials numbers only: write it as "+12025550141"')
        return
    if not can_be_dialled(number):
        section.say(
            "number",
            f'is {number!r}: write it as "+12025550141", an extension behind your trunk such as "500", or a SIP URI such as '
            '"sip:sarah@pbx.example.com"',
        )
