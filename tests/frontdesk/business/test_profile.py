"""frontdesk.toml is read strictly: a slip of the pen is found at start, with file, key and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from frontdesk.business.problems import ConfigurationError
from frontdesk.business.profile import read_profile

SHIPPED = Path(__file__).resolve().parents[3] / "frontdesk.toml"


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "frontdesk.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_profile(path)
    return caught.value.problems


def test_the_shipped_file_is_good_and_its_facts_reach_the_agent() -> None:
    profile = read_profile(SHIPPED)
    assert profile.name == "Northwind Trading"
    assert "friday 09:00 to 15:00" in profile.facts()
    assert profile.directory["billing"].number == "+12025550141"
    assert "+1" not in profile.directory_lines()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "Northwind Trading"', 'nam = "Northwind Trading"', "business.nam is unknown"),
        ('name = "Northwind Trading"', "", "business.name is missing"),
        ("America/Los_Angeles", "America/Los Angeles", "business.timezone is 'America/Los Angeles'"),
        ('"+12025550141"', '"202-555-0141"', "directory.billing.number is '202-555-0141'"),
        ('"+12025550141"', "12025550141", "directory.billing.number is 12025550141"),
        ('"09:00-15:00"', '"9-15"', "hours.friday is '9-15'"),
        ("ringing_timeout = 25", "ringing_timeout = 500", "directory.support.ringing_timeout is 500"),
        ("[directory.billing]", '[directory."Billing Desk"]', "is no good key"),
        ('after = "return"', 'after = "stay"', "transfer.after is 'stay': write one of end, return, leave"),
        ("[hours]", "[openinghours]", "openinghours is unknown"),
    ],
)
def test_a_slip_of_the_pen_is_one_line_with_file_key_and_remedy(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = SHIPPED.read_text()
    assert old in text
    found = problems(tmp_path, text.replace(old, new, 1))
    assert [line for line in found if named in line], found
    assert all(line.startswith("frontdesk.toml: ") and "write" in line for line in found)


@pytest.mark.parametrize(
    "number", ["sip:sarah@pbx.example.com", "sips:sarah@10.0.0.7:5061;transport=tls", "500", "1001"]
)
def test_extensions_and_sip_uris_are_numbers_too(tmp_path: Path, number: str) -> None:
    path = tmp_path / "frontdesk.toml"
    path.write_text(SHIPPED.read_text().replace('"+12025550141"', f'"{number}"'))
    assert read_profile(path).directory["billing"].number == number


@pytest.mark.parametrize(
    "number", ["sip:sarah", "sarah@", "sip:@host", "sip:sarah:secret@host", "sarah", "1", "1234567"]
)
def test_what_cannot_be_dialled_is_a_line(tmp_path: Path, number: str) -> None:
    [problem] = problems(tmp_path, SHIPPED.read_text().replace("+12025550141", number))
    assert problem.startswith(f"frontdesk.toml: directory.billing.number is '{number}': write it as")


def test_twilio_s_connector_dials_numbers_and_sends_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "frontdesk.toml"
    text = SHIPPED.read_text().replace('number = "+12025550141"', 'number = "500"')
    path.write_text(text.replace("ringing_timeout = 25", 'dtmf = "12#"'))
    assert read_profile(path)
    with pytest.raises(ConfigurationError) as caught:
        read_profile(path, dials_numbers_only=True)
    assert [line.split()[1] for line in caught.value.problems] == ["directory.billing.number", "directory.support.dtmf"]


def test_a_queue_behind_a_number_may_take_minutes(tmp_path: Path) -> None:
    path = tmp_path / "frontdesk.toml"
    path.write_text(SHIPPED.read_text().replace("ringing_timeout = 25", "person_timeout = 600"))
    directory = read_profile(path).directory
    assert (directory["support"].person_timeout, directory["billing"].person_timeout) == (600.0, None)


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "frontdesk.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SHIPPED.read_text().replace("\n", "\r\n").encode())
    assert read_profile(path).name == "Northwind Trading"


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-16", "is UTF-16: save it as UTF-8"),
        ("utf-16-le", "is UTF-16 without a byte order mark"),
        ("utf-32", "is UTF-32: save it as UTF-8"),
        ("cp1252", "is Windows-1252 (line 2): save it as UTF-8"),
    ],
)
def test_another_encoding_is_named_as_what_it_is(tmp_path: Path, encoding: str, named: str) -> None:
    path = tmp_path / "frontdesk.toml"
    path.write_bytes('[business]\nname = "Müller – Söhne"\n'.encode(encoding))
    with pytest.raises(ConfigurationError) as caught:
        read_profile(path)
    [problem] = caught.value.problems
    assert problem.startswith(f"frontdesk.toml: {named}")


def test_the_same_question_twice_is_a_problem_and_no_silent_loss(tmp_path: Path) -> None:
    again = '[[faq]]\nquestion = "do you ship  Abroad"\nanswer = "No."\n\n[directory.billing]'
    [problem] = problems(tmp_path, SHIPPED.read_text().replace("[directory.billing]", again, 1))
    assert problem.startswith("frontdesk.toml: faq 3.question is that of faq 1 again: write")


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, '[business]\ntimezone = "Nowhere"\n[hours]\nsomeday = "1"\n')) == 4


def test_a_file_that_is_no_toml_or_not_there_is_one_line(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "business = ")) == 1
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_profile(tmp_path / "none.toml")
