"""Texts are compared with what code asks for, once: nobody hears a brace in the middle of a call."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from frontdesk.voice.texts import INSTRUCTIONS, SENTENCES
from transfer import prompts, proofreading

ENGLISH = (prompts.FOLDER / "sentences/en.toml").read_text(encoding="utf-8")
GERMAN = ENGLISH.replace('language = "English"', 'language = "German"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(prompts.FOLDER, tmp_path / "prompts")
    return tmp_path / "prompts"


def problems(folder: Path) -> list[str]:
    return proofreading.problems(INSTRUCTIONS, SENTENCES, folder)


def with_text(page: str, key: str, text: str) -> str:
    """The page with another text under a key; `text` as TOML writes it, or nothing to take the line out."""
    line = f"{key} = {text}" if text else ""
    changed, count = re.subn(rf"^{key} = .*$", line, page, flags=re.MULTILINE)
    assert count == 1
    return changed


def test_the_shipped_texts_are_good() -> None:
    assert problems(prompts.FOLDER) == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("screen.txt", "Who says {word}? {words}", " has {word}, which nobody fills in: write {words}"),
        ("persona.txt", "You are {name}.", " has {name}, which nobody fills in: write no braces at all"),
        ("screen.txt", "Who is it?", " has no {words}: put it where that belongs"),
        ("screen.txt", "Who says {words?", " has braces that do not fit"),
        ("screen.txt", "Who says {words:d}?", " cannot be filled in"),
        ("persona.txt", "  \n", " is empty: write what is to be said"),
        ("failures.toml", "busy = ", ": is not TOML ("),
    ],
)
def test_an_instruction_that_would_be_told_wrong_is_one_line(folder: Path, name: str, text: str, problem: str) -> None:
    (folder / "instructions" / name).write_text(text)
    found = problems(folder)
    assert len(found) == 1
    assert found[0].startswith(f"prompts/instructions/{name}{problem}")


def test_a_key_of_an_instruction_table_is_checked_like_a_file(folder: Path) -> None:
    path = folder / "instructions/failures.toml"
    path.write_text(with_text(with_text(path.read_text(), "busy", '"{line} is busy."'), "taken", "") + 'late = "Late."')
    assert problems(folder) == [
        "prompts/instructions/failures.toml: taken is missing: write what is said there",
        "prompts/instructions/failures.toml: busy has {line}, which nobody fills in: write {detail}",
        "prompts/instructions/failures.toml: late is unknown: take it out",
    ]


def test_a_file_that_is_gone_or_in_another_encoding_is_one_line(folder: Path) -> None:
    (folder / "instructions/on_hold.txt").unlink()
    (folder / "instructions/persona.txt").write_bytes("You\nspeak – later".encode("cp1252"))
    (folder / "instructions/reason.txt").write_bytes("{reason}".encode("utf-16-le"))
    assert problems(folder) == [
        "prompts/instructions/on_hold.txt: cannot be read (No such file or directory): put it back",
        "prompts/instructions/persona.txt: is not UTF-8 (line 2): save it as UTF-8",
        "prompts/instructions/reason.txt: is UTF-16, or no text: save it as UTF-8",
    ]


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        (
            "greeting",
            '"Hello from {buisness}."',
            "frontdesk.greeting has {buisness}, which nobody fills in: write {business}",
        ),
        ("apology", '"I am {sorry}."', "frontdesk.apology has {sorry}, which nobody fills in: write no braces at all"),
        ("briefing", '"Shall I connect you?"', "transfer.briefing has no {summary}: put it where that belongs"),
        ("opening", '"  "', "transfer.opening is empty: write what is to be said"),
        ("opening", "3", "transfer.opening is 3: write a text in quotes"),
        ("opening", "", "transfer.opening is missing: write what is said there"),
        ("language", "", "language is missing: write what is said there"),
        ("language", '"English"\nvoice = "Ann"', "voice is unknown: take it out"),
    ],
)
def test_an_english_sentence_that_would_be_spoken_wrong_is_one_line(
    folder: Path, key: str, text: str, problem: str
) -> None:
    (folder / "sentences/de.toml").write_text(GERMAN)
    (folder / "sentences/en.toml").write_text(with_text(ENGLISH, key, text))
    assert problems(folder) == [f"prompts/sentences/en.toml: {problem}"]


def test_a_greeting_may_do_without_the_name_of_the_business(folder: Path) -> None:
    (folder / "sentences/en.toml").write_text(with_text(ENGLISH, "greeting", '"Hello."'))
    assert problems(folder) == []


def test_a_second_page_that_fits_english_is_good(folder: Path) -> None:
    (folder / "sentences/de.toml").write_text(GERMAN)
    assert problems(folder) == []


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (with_text(GERMAN, "opening", ""), ": transfer.opening is missing: write what is said there"),
        (GERMAN + 'openning = "Ja"', ": transfer.openning is unknown: take it out"),
        (
            with_text(GERMAN, "before_transfer", '"Ich rufe {Name} an."'),
            ": frontdesk.before_transfer has {Name}, which nobody fills in: write {name}",
        ),
        (
            with_text(GERMAN, "greeting", '"Guten Tag."'),
            ": frontdesk.greeting has no {business}: put it where that belongs",
        ),
        (with_text(GERMAN, "opening", '"Guten Tag'), ": is not TOML ("),
        (GERMAN.replace("[transfer]", "[transfer]\n[transfer]"), ": is not TOML ("),
        (ENGLISH, ": language is 'English', as in en.toml: write this page's language"),
    ],
)
def test_what_is_wrong_with_a_second_page_is_named(folder: Path, page: str, problem: str) -> None:
    (folder / "sentences/xx.toml").write_text(page)
    found = problems(folder)
    assert f"prompts/sentences/xx.toml{problem}" in found[0]
    assert len(found) == len({line.split(" is ")[0] for line in found}) == (2 if "Name" in problem else 1)


def test_a_page_in_another_encoding_is_one_line(folder: Path) -> None:
    (folder / "sentences/de.toml").write_bytes(with_text(GERMAN, "opening", '"Schönen Tag."').encode("cp1252"))
    line = GERMAN[: GERMAN.index("opening =")].count("\n") + 1
    assert problems(folder) == [f"prompts/sentences/de.toml: is not UTF-8 (line {line}): save it as UTF-8"]


def test_a_page_that_drops_what_english_drops_is_good(folder: Path) -> None:
    for name, page in (("en", ENGLISH), ("de", GERMAN)):
        (folder / f"sentences/{name}.toml").write_text(with_text(page, "greeting", '"Hello."'))
    assert problems(folder) == []


def test_without_the_english_page_the_others_are_still_checked(folder: Path) -> None:
    (folder / "sentences/en.toml").unlink()
    (folder / "sentences/de.toml").write_text(with_text(GERMAN, "opening", ""))
    assert problems(folder) == [
        "prompts/sentences/en.toml: cannot be read (No such file or directory): put it back",
        "prompts/sentences/de.toml: transfer.opening is missing: write what is said there",
    ]


def test_the_transfer_knows_its_own_texts_alone_and_leaves_other_tables_to_others(folder: Path) -> None:
    known = {*proofreading.INSTRUCTIONS, *proofreading.SENTENCES}
    assert not [name for name in known if "frontdesk" in name or name == "receptionist"]
    assert proofreading.problems(folder=folder) == []


def test_a_table_that_english_alone_knows_is_compared_too(folder: Path) -> None:
    (folder / "sentences/en.toml").write_text(ENGLISH + '[fax]\nbusy = "The fax of {name} is busy."\n')
    (folder / "sentences/de.toml").write_text(GERMAN + '[fax]\nbusy = "Besetzt."\nlate = "Zu spät."\n')
    (folder / "sentences/fr.toml").write_text(GERMAN.replace("German", "French"))
    assert problems(folder) == [
        "prompts/sentences/de.toml: fax.busy has no {name}: put it where that belongs",
        "prompts/sentences/de.toml: fax.late is unknown: take it out",
        "prompts/sentences/fr.toml: fax.busy is missing: write what is said there",
    ]
