"""The texts are compared with what code asks for, once: nobody hears a brace in the middle of a call."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from frontdesk.texts import TEXTS, text_problems
from transfer import prompts

ROOT = Path(__file__).resolve().parents[2]
ALL = {**prompts.TEXTS, **TEXTS}
SOURCES = [*(ROOT / "transfer").rglob("*.py"), *(ROOT / "frontdesk").rglob("*.py"), ROOT / "agent.py"]
READ = re.compile(r"""read\(\s*['"]((?:transfer|frontdesk)/[a-z_]+\.txt)['"]""")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(prompts.FOLDER, tmp_path / "prompts")
    monkeypatch.setattr(prompts, "FOLDER", tmp_path / "prompts")
    return tmp_path / "prompts"


def test_the_shipped_texts_are_good() -> None:
    assert text_problems() == []


def test_every_text_that_code_reads_is_known_and_every_file_is_read() -> None:
    read = {name for source in SOURCES for name in READ.findall(source.read_text())}
    assert read <= set(ALL)
    files = {str(path.relative_to(prompts.FOLDER)) for path in prompts.FOLDER.rglob("*.t*")}
    assert files == set(ALL)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("frontdesk/greeting.txt", "Hello from {buisness}.", "nobody fills in {buisness}: write {business}"),
        ("frontdesk/apology.txt", "I am {sorry}.", "nobody fills in {sorry}: write no braces at all"),
        ("transfer/briefing.txt", "Shall I connect you?", "has no {summary}: put it where that belongs"),
        ("transfer/screen.txt", "Who says {words?", "has braces that do not fit"),
        ("transfer/opening.txt", "  \n", "is empty: write what is to be said"),
        ("transfer/failures.toml", 'busy = "The line is {busy}."', "busy: nobody fills in {busy}: write {detail}"),
        ("transfer/failures.toml", "busy = ", "is not TOML"),
    ],
)
def test_a_text_that_would_be_spoken_wrong_is_one_line(folder: Path, name: str, text: str, problem: str) -> None:
    (folder / name).write_text(text)
    found = prompts.problems(ALL)
    assert len(found) == 1
    assert found[0].startswith(f"prompts/{name}: ") and problem in found[0]


def test_a_text_may_do_without_the_name_of_the_business(folder: Path) -> None:
    (folder / "frontdesk/greeting.txt").write_text("Hello.")
    assert prompts.problems(ALL) == []


def test_a_file_that_is_gone_or_in_another_encoding_is_one_line(folder: Path) -> None:
    (folder / "frontdesk/greeting.txt").unlink()
    (folder / "frontdesk/apology.txt").write_bytes("Entschuldigung – später".encode("cp1252"))
    assert prompts.problems(ALL) == [
        "prompts/frontdesk/apology.txt: is not UTF-8: save it as UTF-8",
        "prompts/frontdesk/greeting.txt: cannot be read (No such file or directory): put it back",
    ]
