"""The raw values of the environment and of `.env` files. Reading them here fails and prints nothing: `settings` checks."""

from __future__ import annotations

import io
import os
from collections.abc import MutableMapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from frontdesk.business.textfile import NotUtf8, read_text

FILES = (".env.local", ".env")
"""LiveKit's own tools write the first, which therefore wins; the environment wins over both."""
BLANKS = " \t\r\n\v\f\u00a0\ufeff\u200b"
"""Invisible characters around a value: Windows line ends, pasted blanks without width."""
QUOTES = "\"'`“”‘’«»"


def load_env_files(folders: list[Path], environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Adds the files' values to the environment, whose own values win; returns the problems of the files.

    A variable that is set to nothing counts as unset: a compose file passes on empty ones.
    """
    problems: list[str] = []
    seen: set[Path] = set()
    for folder in folders:
        for name in FILES:
            path = (folder / name).resolve()
            if path in seen or not path.is_file():
                continue
            seen.add(path)
            for key, value in _read(path, name, problems).items():
                if value and not environment.get(key, "").strip(BLANKS):
                    environment[key] = value
    return problems


def _read(path: Path, name: str, problems: list[str]) -> dict[str, str]:
    try:
        text = read_text(path)
    except NotUtf8 as error:
        problems.append(f"{name}: {error}")
        return {}
    except OSError as error:
        problems.append(f"{name}: cannot be read ({error.strerror}): change its rights, or take it away")
        return {}
    if "\0" in text:
        return {}
    kept = []
    # The library logs lines that it cannot parse; here they are reported like all problems of the settings.
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            problems.append(f"{name}: line {binding.original.line} is no setting: write NAME=value")
        else:
            kept.append(binding.original.string)
    try:
        values = dotenv_values(stream=io.StringIO("".join(kept)))
    except ValueError as error:
        problems.append(f"{name}: cannot be read ({error})")
        return {}
    return {key: value for key, value in values.items() if value is not None and "\0" not in value}


def raw(name: str) -> str:
    """A value for use before any check: without the blanks around it."""
    return os.environ.get(name, "").strip(BLANKS)
