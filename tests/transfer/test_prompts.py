"""What models are told and what people hear is read from two places, and filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer import prompts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    (tmp_path / "instructions").mkdir()
    (tmp_path / "sentences").mkdir()
    return tmp_path


def test_an_instruction_is_filled_in() -> None:
    assert prompts.instruction("caller_number", number="+1202") == (
        "The caller's telephone number, for your colleague if they ask: +1202"
    )


def test_an_instruction_of_a_table_is_found_by_its_key() -> None:
    assert prompts.instruction("failures.declined", detail="in a meeting") == (
        "human agent declined to connect: in a meeting."
    )


def test_a_sentence_is_spoken_from_the_page_of_its_language(folder: Path) -> None:
    (folder / "sentences/en.toml").write_text('[transfer]\nopening = "Hello {name}, {{hello}}."')
    (folder / "sentences/de.toml").write_text('[transfer]\nopening = "Guten Tag, {name}."')
    assert prompts.sentence("transfer.opening", name="Sarah") == "Hello Sarah, {hello}."
    assert prompts.sentence("transfer.opening", language="de", name="Sarah") == "Guten Tag, Sarah."


def test_a_template_keeps_its_braces_for_who_fills_it_in() -> None:
    assert "{persona}" in prompts.template("consult")


def test_models_are_told_a_language_by_its_english_name() -> None:
    assert prompts.name_of("en") == "English"


def test_the_mark_that_windows_writes_is_no_part_of_a_text(folder: Path) -> None:
    (folder / "instructions/persona.txt").write_text("You speak.", encoding="utf-8-sig")
    (folder / "sentences/en.toml").write_text('opening = "Hello."', encoding="utf-8-sig")
    assert prompts.instruction("persona") == "You speak."
    assert prompts.sentence("opening") == "Hello."


def test_a_text_or_value_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        prompts.instruction("nothing")
    with pytest.raises(FileNotFoundError):
        prompts.sentence("transfer.opening", language="xx")
    with pytest.raises(KeyError):
        prompts.sentence("transfer.nothing")
    with pytest.raises(KeyError):
        prompts.instruction("screen")
