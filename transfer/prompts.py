"""Reads the texts under `prompts/`: what a model or a person hears stands there and not in code.

`problems` compares the files with what code asks for, once, at start: a text that lacks a value, or wants one that nobody
has, would otherwise be spoken with its braces in the middle of a call.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "prompts"

TEXTS: Mapping[str, frozenset[str]] = {
    f"transfer/{name}": frozenset(values.split())
    for name, values in {
        "bridge_failed.txt": "",
        "briefing.txt": "summary",
        "briefing_fallback.txt": "last_words",
        "briefing_reason.txt": "reason",
        "briefing_request.txt": "conversation",
        "briefing_unknown.txt": "",
        "caller_gone.txt": "",
        "caller_number.txt": "number",
        "consult.txt": "persona _conversation_history extra",
        "deadline.txt": "",
        "deadline_warning.txt": "",
        "declined.txt": "",
        "failures.toml": "detail",
        "hold_update.txt": "",
        "hold_update_briefing.txt": "",
        "left_out.txt": "turns",
        "on_hold.txt": "",
        "opening.txt": "",
        "persona.txt": "",
        "reason.txt": "reason",
        "screen.txt": "words",
        "screening_answer.txt": "",
        "taken.txt": "",
    }.items()
}
"""The texts of the transfer, each with the values that are filled into it."""
OPTIONAL = frozenset({"detail", "business", "name"})
"""Values that a text may do without."""


@cache
def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").strip()


def read(name: str, /, **values: object) -> str:
    """The text of `prompts/<name>` with `{values}` filled in.

    Raises FileNotFoundError for an unknown name and KeyError for a value that the text wants and nobody gave.
    """
    return _text(name).format(**values) if values else _text(name)


@cache
def failure_texts() -> dict[str, str]:
    """What the model is told, by reason."""
    return tomllib.loads(_text("transfer/failures.toml"))


def problems(texts: Mapping[str, frozenset[str]] = TEXTS) -> list[str]:
    """What is wrong with these files, a line each: which file, what, and what to write instead."""
    return [problem for name, values in texts.items() for problem in _problems_of(name, values)]


def _problems_of(name: str, values: frozenset[str]) -> list[str]:
    place = f"prompts/{name}"
    try:
        text = (FOLDER / name).read_text(encoding="utf-8")
    except OSError as error:
        return [f"{place}: cannot be read ({error.strerror}): put it back"]
    except UnicodeDecodeError:
        return [f"{place}: is not UTF-8: save it as UTF-8"]
    if name.endswith(".toml"):
        return _problems_of_table(place, text, values)
    return _problems_of_text(place, text, values)


def _problems_of_table(place: str, text: str, values: frozenset[str]) -> list[str]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [f"{place}: is not TOML: {error}"]
    texts = {key: value for key, value in table.items() if isinstance(value, str)}
    return [problem for key, value in texts.items() for problem in _problems_of_text(f"{place}: {key}", value, values)]


def _problems_of_text(place: str, text: str, values: frozenset[str]) -> list[str]:
    if not text.strip():
        return [f"{place}: is empty: write what is to be said"]
    try:
        named = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except ValueError as error:
        return [f"{place}: has braces that do not fit ({error}): write {{{{ and }}}} for braces that are spoken"]
    known = ", ".join(f"{{{value}}}" for value in sorted(values)) or "no braces at all"
    found = [f"{place}: nobody fills in {{{field}}}: write {known}" for field in sorted(named - values)]
    missing = sorted(values - named - OPTIONAL)
    return found + [f"{place}: has no {{{value}}}: put it where that belongs" for value in missing]
