"""Reads the texts under `prompts/`: whatever a model or a person hears stands there and not in code."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "prompts"


@cache
def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8").strip()


def read(name: str, **values: object) -> str:
    """The text of `prompts/<name>` with `{values}` filled in.

    Raises FileNotFoundError for an unknown name and KeyError for a value that the text wants and nobody gave.
    """
    return _text(name).format(**values) if values else _text(name)


@cache
def failure_texts() -> dict[str, str]:
    """What the model is told, by reason."""
    return tomllib.loads(_text("transfer/failures.toml"))
