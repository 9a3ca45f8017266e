"""frontdesk.toml is read strictly: a slip of the pen is found at start, with file, key and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from frontdesk.problems import ConfigurationError
from frontdesk.profile import read_profile

SHIPPED = Path(__file__).resolve().parents[2] / "frontdesk.toml"


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


def test_a_sip_uri_is_a_number_too(tmp_path: Path) -> None:
    path = tmp_path / "frontdesk.toml"
    path.write_text(SHIPPED.read_text().replace('"+12025550141"', '"sip:sarah@pbx.example.com"'))
    assert read_profile(path).directory["billing"].number == "sip:sarah@pbx.example.com"


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, '[business]\ntimezone = "Nowhere"\n[hours]\nsomeday = "1"\n')) == 4


def test_a_file_that_is_no_toml_or_not_there_is_one_line(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "business = ")) == 1
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_profile(tmp_path / "none.toml")
