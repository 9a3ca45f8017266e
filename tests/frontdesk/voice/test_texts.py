"""What code asks for and what stands under prompts/ is the same: every key, every value, every file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from frontdesk.voice.texts import INSTRUCTIONS, SENTENCES, text_problems
from transfer import prompts
from transfer.proofreading import Values

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [*sorted((ROOT / "transfer").rglob("*.py")), *sorted((ROOT / "frontdesk").rglob("*.py")), ROOT / "agent.py"]
LOADER = ROOT / "transfer/prompts.py"
TABLES: Mapping[str, str] = {"offers": ""}
KNOWN = {"instruction": INSTRUCTIONS, "template": INSTRUCTIONS, "sentence": SENTENCES, "instruction_table": TABLES}
KEY = re.compile(r"(transfer|frontdesk)\.\w+")


@dataclass(frozen=True)
class Asked:
    """One call of the loader in code."""

    function: str
    key: str
    """With a * at its end where only the call knows the rest."""
    values: frozenset[str]
    place: str

    @property
    def known(self) -> list[str]:
        """The known keys that the call may mean."""
        keys = KNOWN[self.function]
        if self.key.endswith("*"):
            return [key for key in keys if key.startswith(self.key[:-1])]
        return [self.key] if self.key in keys else []


def asked_for() -> Iterator[Asked]:
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            function = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if source == LOADER or not isinstance(node, ast.Call) or function not in KNOWN:
                continue
            place = f"{source.relative_to(ROOT)}:{node.lineno}"
            values = frozenset(str(keyword.arg) for keyword in node.keywords)
            keys = keys_of(node.args[0]) or picked_from_tables(tree)
            assert keys, f"{place}: nobody can see what it asks for: write the key, or a table of keys"
            for key in keys:
                yield Asked(function, key, values - {"language"} if function == "sentence" else values, place)


def keys_of(argument: ast.expr) -> list[str]:
    match argument:
        case ast.Constant(value=str(key)):
            return [key]
        case ast.IfExp(body=body, orelse=orelse):
            return [*keys_of(body), *keys_of(orelse)]
        case ast.JoinedStr(values=[ast.Constant(value=str(begin)), *_]):
            return [f"{begin}*"]
    return []


def picked_from_tables(tree: ast.Module) -> list[str]:
    """The keys that stand as values in the module's tables."""
    values = [value for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values]
    texts = {value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}
    return sorted(text for text in texts if KEY.fullmatch(text))


ASKED = list(asked_for())


def test_the_shipped_texts_are_good() -> None:
    assert text_problems() == []


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked.place}-{asked.key}")
def test_code_asks_for_what_is_known_and_fills_in_what_the_text_wants(asked: Asked) -> None:
    assert asked.known, f"{asked.place}: {asked.key} is unknown"
    if asked.function != "template":
        known = {Values.parse(KNOWN[asked.function][key]).known for key in asked.known}
        assert known == {asked.values}, asked.place


def test_every_known_key_is_asked_for() -> None:
    found = {key for asked in ASKED for key in asked.known} | {prompts.NAME_OF_LANGUAGE}
    assert {*INSTRUCTIONS, *SENTENCES} - found == set()


def test_every_instruction_file_is_read() -> None:
    files = {path.name for path in (prompts.FOLDER / "instructions").iterdir()}
    names = [name.partition(".") for name in INSTRUCTIONS]
    known = {f"{file}.toml" if key else f"{file}.txt" for file, _, key in names}
    assert files == known | {f"{file}.toml" for file in TABLES}
