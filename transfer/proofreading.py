"""Compares `prompts/` with the texts that code asks for, once, at start: each fault is a line that names file, key and remedy.

A text that lacks a value, or wants one that nobody has, would otherwise be spoken with its braces in the middle of a call.
"""

from __future__ import annotations

import contextlib
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer import prompts
from transfer.outcome import TransferReason

INSTRUCTIONS: Mapping[str, str] = {
    "briefing_request": "conversation language",
    "caller_number": "number",
    "consult": "persona language _conversation_history extra",
    **{f"failures.{reason}": "detail?" for reason in TransferReason},
    "left_out": "turns",
    "on_hold": "",
    "persona": "",
    "reason": "reason",
    "requests.briefing_request": "",
    "requests.screen": "",
    "screen": "words",
}
"""Texts for models in a transfer, each with the values that are filled in; those with ? may be left out."""
SENTENCES: Mapping[str, str] = {
    prompts.NAME_OF_LANGUAGE: "",
    **{
        f"transfer.{key}": values
        for key, values in {
            "briefing": "summary",
            "briefing_fallback": "last_words",
            "briefing_reason": "reason",
            "briefing_unknown": "",
            "deadline_warning": "",
            "goodbye_bridge_failed": "",
            "goodbye_caller_gone": "",
            "goodbye_deadline": "",
            "goodbye_declined": "",
            "goodbye_taken": "",
            "hold_update": "",
            "hold_update_briefing": "",
            "opening": "",
            "screening_answer": "",
        }.items()
    },
}
"""Sentences for people in a transfer, in the same way."""


@dataclass(frozen=True)
class Values:
    """Values that are filled into a text."""

    known: frozenset[str]
    needed: frozenset[str]

    @classmethod
    def parse(cls, names: str) -> Values:
        split = names.split()
        known = frozenset(name.rstrip("?") for name in split)
        return cls(known, known & frozenset(split))


def problems(
    instructions: Mapping[str, str] = INSTRUCTIONS,
    sentences: Mapping[str, str] = SENTENCES,
    folder: Path = prompts.FOLDER,
) -> list[str]:
    """The faults of the texts in this folder, a line each."""
    return [
        *_problems_of_instructions(folder / "instructions", instructions),
        *_problems_of_pages(folder / "sentences", sentences),
    ]


def read_text(path: Path) -> tuple[str, list[str]]:
    """The text, and a line when it cannot be read."""
    try:
        text = prompts.decode(data := path.read_bytes())
    except OSError as error:
        return "", [f"{_name(path)}: cannot be read ({error.strerror}): put it back"]
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return "", [f"{_name(path)}: is not UTF-8 (line {line}): save it as UTF-8"]
    if "\0" in text:
        return "", [f"{_name(path)}: is UTF-16, or no text: save it as UTF-8"]
    return text, []


def read_table(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The table, and a line when it cannot be read."""
    text, found = read_text(path)
    try:
        return tomllib.loads(text), found
    except tomllib.TOMLDecodeError as error:
        return {}, [f'{_name(path)}: is not TOML ({error}): write it as key = "text"']


def _name(path: Path) -> str:
    return "/".join(("prompts", *path.parts[-2:]))


def _problems_of_instructions(folder: Path, instructions: Mapping[str, str]) -> list[str]:
    tables: dict[str, dict[str, Values]] = {}
    found = []
    for name, values in sorted(instructions.items()):
        file, _, key = name.partition(".")
        if key:
            tables.setdefault(file, {})[key] = Values.parse(values)
            continue
        path = folder / f"{file}.txt"
        text, unreadable = read_text(path)
        found += unreadable or _problems_of_text(_name(path), text, Values.parse(values))
    for file, keys in tables.items():
        path = folder / f"{file}.toml"
        table, unreadable = read_table(path)
        found += unreadable or _problems_of_texts(_name(path), dict(prompts.flat(table)), keys)
    return found


def _problems_of_pages(folder: Path, sentences: Mapping[str, str]) -> list[str]:
    """English is compared with what code asks for, every other page with English where that is good."""
    asked = {key: Values.parse(values) for key, values in sentences.items()}
    tables = {_table(key) for key in asked}
    first = folder / f"{prompts.LANGUAGE}.toml"
    table, found = read_table(first)
    english = dict(prompts.flat(table))
    found = found or _problems_of_texts(
        _name(first), {key: text for key, text in english.items() if _table(key) in tables}, asked
    )
    written = {key: text for key, text in english.items() if key in asked or _table(key) not in tables}
    expected = {**asked, **dict(_as_written(written, asked))}
    names = {english.get(prompts.NAME_OF_LANGUAGE): first.name}
    for path in sorted(set(folder.glob("*.toml")) - {first}):
        table, unreadable = read_table(path)
        page = dict(prompts.flat(table))
        found += unreadable or _problems_of_texts(_name(path), page, expected)
        language = page.get(prompts.NAME_OF_LANGUAGE)
        if isinstance(language, str) and (other := names.setdefault(language, path.name)) != path.name:
            found.append(f"{_name(path)}: language is {language!r}, as in {other}: write this page's language")
    return found


def _table(key: str) -> str:
    """The table that the key stands in; one that nobody asks for is somebody else's."""
    return key.rpartition(".")[0]


def _as_written(texts: Mapping[str, object], asked: Mapping[str, Values]) -> Iterator[tuple[str, Values]]:
    """The values of the good texts: other languages fill in the same."""
    for key, text in texts.items():
        if isinstance(text, str) and not (key in asked and _problems_of_text("", text, asked[key])):
            with contextlib.suppress(ValueError):
                yield key, Values(known := _fields(text), known)


def _problems_of_texts(place: str, texts: Mapping[str, object], keys: Mapping[str, Values]) -> list[str]:
    found = [f"{place}: {key} is missing: write what is said there" for key in keys if key not in texts]
    for key, text in texts.items():
        if key not in keys:
            found.append(f"{place}: {key} is unknown: take it out")
        else:
            found += _problems_of_text(f"{place}: {key}", text, keys[key])
    return found


def _problems_of_text(place: str, text: object, values: Values) -> list[str]:
    if not isinstance(text, str):
        return [f"{place} is {text!r}: write a text in quotes"]
    if not text.strip():
        return [f"{place} is empty: write what is to be said"]
    try:
        named = _fields(text)
    except ValueError as error:
        return [f"{place} has braces that do not fit ({error}): write {{{{ and }}}} for braces that are spoken"]
    known = ", ".join(f"{{{value}}}" for value in sorted(values.known)) or "no braces at all"
    found = [f"{place} has {{{field}}}, which nobody fills in: write {known}" for field in sorted(named - values.known)]
    found += [f"{place} has no {{{value}}}: put it where that belongs" for value in sorted(values.needed - named)]
    if not found:
        try:
            text.format(**dict.fromkeys(values.known, ""))
        except (ValueError, LookupError) as error:
            return [f"{place} cannot be filled in ({error}): write {known}"]
    return found


def _fields(text: str) -> frozenset[str]:
    return frozenset(field for _, field, _, _ in string.Formatter().parse(text) if field is not None)
