"""Reads `prompts/`: `instruction` returns texts for models, `sentence` those for people. None stands in code.

Instructions are English. Sentences have one page a language. `transfer.proofreading` compares both with what code asks for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "prompts"
LANGUAGE = "en"
"""The page of sentences where no other is asked for."""
NAME_OF_LANGUAGE = "language"
"""The key of a page under which its language's English name stands."""


def instruction(name: str, /, **values: object) -> str:
    """A text for a model: `prompts/instructions/<name>.txt`, or of `<file>.<key>` that key of `<file>.toml`.

    Raises FileNotFoundError for an unknown file, and KeyError for an unknown key or a missing value.
    """
    return template(name).format(**values)


def template(name: str, /) -> str:
    """An instruction that somebody else fills in, its braces as they are."""
    file, _, key = name.partition(".")
    if key:
        return _texts_of(FOLDER / "instructions" / f"{file}.toml")[key]
    return _text_of(FOLDER / "instructions" / f"{file}.txt")


def instruction_table(file: str, /) -> dict[str, Any]:
    """`prompts/instructions/<file>.toml`, for a table that holds more than texts."""
    return _table_of(FOLDER / "instructions" / f"{file}.toml")


def sentence(key: str, /, language: str = LANGUAGE, **values: object) -> str:
    """A sentence for a person: the key, such as "transfer.opening", of `prompts/sentences/<language>.toml`.

    Raises FileNotFoundError for a language without a page, and KeyError for an unknown key or a missing value.
    """
    return _texts_of(FOLDER / "sentences" / f"{language}.toml")[key].format(**values)


def name_of(language: str, /) -> str:
    """The language's English name, such as "German", for models."""
    return sentence(NAME_OF_LANGUAGE, language)


def decode(data: bytes) -> str:
    """The text of a UTF-8 file, without the byte order mark that Windows writes. Raises UnicodeDecodeError."""
    return data.decode("utf-8-sig")


def flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The table's values, each with its whole key: "transfer.opening"."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


@cache
def _text_of(path: Path) -> str:
    return decode(path.read_bytes()).strip()


@cache
def _table_of(path: Path) -> dict[str, Any]:
    return tomllib.loads(_text_of(path))


@cache
def _texts_of(path: Path) -> dict[str, str]:
    return {key: text.strip() for key, text in flat(_table_of(path)) if isinstance(text, str)}
