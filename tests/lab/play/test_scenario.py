"""Scenario files are read strictly, and all that ship are good."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.play.scenario import FOLDER, ScenarioError, load, names, read

GOOD = (FOLDER / "accept.toml").read_text()


def test_the_calls_that_everybody_needs_are_there() -> None:
    wanted = {"accept", "decline", "busy", "no-answer", "voicemail", "hangup-on-hold", "question", "no-transfer"}
    wanted |= {"phone-menu", "call-screening", "silence"}
    assert wanted <= set(names())
    for name in names():
        scenario = load(name)
        assert scenario.title and scenario.steps and scenario.expectations


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "The colleague takes the call"', "", "title is missing"),
        ('outcome = "connected"', 'outcome = "fine"', "outcome is 'fine'"),
        ('on_call = "answer"', 'on_call = "sleep"', "human.on_call is 'sleep'"),
        ('wait_for = "picked_up"', 'wait_for = "sunset"', "step 2.wait_for is 'sunset'"),
        ('who = "human", wait_for = "picked_up"', 'who = "dog", wait_for = "picked_up"', "step 2.who is 'dog'"),
        ("after = 0.5, say", "after = 0.5, shout", "step 2.shout is unknown"),
        ("heard = [", "hears = [", "hears is unknown"),
    ],
)
def test_a_slip_is_one_line_with_file_and_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ScenarioError, match=f"mine.toml: {said}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_scenario_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ScenarioError, match="accept, busy, call-screening"):
        load("lunch")
