"""The judge hears what is wrong: planted leaks, silences, missing words and leftovers do not pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab.play import judge
from lab.play.judge import Evidence, Finding, Heard
from lab.play.scenario import Expectation
from lab.sip import g711
from lab.sip.phones import PILOT_AMPLITUDE

SECONDS = 20.0


def sound(*parts: tuple[float, float, float, float]) -> np.ndarray:
    """Tones (Hz, amplitude, start, end) over the line: through G.711."""
    time = np.arange(int(SECONDS * g711.RATE)) / g711.RATE
    out = np.random.default_rng(1).normal(0, 3, len(time))
    for hertz, amplitude, start, end in parts:
        out += amplitude * np.sin(2 * np.pi * hertz * time) * ((time >= start) & (time < end))
    return g711.decode(g711.encode(np.clip(out, -32768, 32767).astype(np.int16)))


MUSIC = (440.0, 2000.0, 3.0, 12.0)
HUMAN_PILOT = (judge.PILOTS["human"], PILOT_AMPLITUDE, 12.2, SECONDS)
CALLER_PILOT = (judge.PILOTS["caller"], PILOT_AMPLITUDE, 12.3, SECONDS)


def good_call() -> Evidence:
    """Hold from 3 s, bridge at 12 s, both hear each other from 12.3 s."""
    return Evidence(
        ears={"caller": sound(MUSIC, HUMAN_PILOT), "human": sound((600, 3000, 6, 9), CALLER_PILOT)},
        heard={"caller": [Heard(1, 2, "Please hold.")], "human": [Heard(6, 9, "Shall I connect you?")]},
        hold=3.0,
        bridge=12.0,
        transfer_end=12.1,
        outcome="connected",
        end_seconds=0.3,
    )


def failures(evidence: Evidence, *expectations: Expectation, outcome: str = "connected") -> list[Finding]:
    return [finding for finding in judge.judge(evidence, outcome, list(expectations)) if not finding.ok]


def test_a_good_call_passes_and_the_merge_is_found() -> None:
    evidence = good_call()
    assert failures(evidence, Expectation("caller", "Please hold."), Expectation("human", "Connect you?")) == []
    assert judge.merge_moment(evidence) == pytest.approx(12.3, abs=0.06)


@pytest.mark.parametrize("person", ["caller", "human"])
def test_a_leak_of_a_quarter_of_a_second_is_found_and_placed(person: str) -> None:
    evidence = good_call()
    pilot = judge.PILOTS[judge.OTHER[person]]
    evidence.ears[person] = sound(MUSIC, (pilot, PILOT_AMPLITUDE, 8.0, 8.25), HUMAN_PILOT, CALLER_PILOT)
    found = [finding for finding in failures(evidence) if "law 1" in finding.what]
    assert len(found) == 1
    assert (person in found[0].what and "00:07.9" in found[0].detail) or "00:08" in found[0].detail


def test_in_a_call_that_never_connects_any_pilot_is_a_leak() -> None:
    evidence = replace(good_call(), outcome="declined", bridge=None)
    assert {"law 1, private (caller's ear)", "law 1, private (human's ear)"} <= {
        finding.what for finding in failures(evidence, outcome="declined")
    }


def test_loud_speech_is_no_leak() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 4000, int(SECONDS * g711.RATE)).astype(np.int16)
    evidence = replace(good_call(), outcome="declined", bridge=None, ears={"caller": noise, "human": noise})
    assert not [finding for finding in failures(evidence, outcome="declined") if "law 1" in finding.what]


def test_the_harmonics_of_a_voice_that_stay_at_a_pilot_are_no_leak() -> None:
    time = np.arange(int(SECONDS * g711.RATE)) / g711.RATE
    loud = (judge.PILOTS["human"], 300.0, 0.0, SECONDS)
    gliding = 2 * np.pi * np.cumsum(judge.PILOTS["human"] + 15 * np.sin(2 * np.pi * 2 * time)) / g711.RATE
    for voice in (sound(MUSIC, loud), sound(MUSIC) + (PILOT_AMPLITUDE * np.sin(gliding)).astype(np.int16)):
        evidence = replace(good_call(), outcome="declined", bridge=None, ears={"caller": voice})
        assert failures(evidence, outcome="declined") == []


def test_a_silence_of_more_than_two_seconds_on_hold_is_found_and_placed() -> None:
    evidence = good_call()
    evidence.ears["caller"] = sound((440, 2000, 3, 6), (440, 2000, 8.5, 12), HUMAN_PILOT)
    (found,) = failures(evidence)
    assert found.what.startswith("law 2") and "2.5 s at 00:06.0" in found.detail


def test_two_who_never_hear_each_other_do_not_pass() -> None:
    evidence = good_call()
    evidence.ears["human"] = sound((600, 3000, 6, 9))
    assert [finding.what for finding in failures(evidence)] == ["both hear each other"]


def test_missing_and_forbidden_words_are_found() -> None:
    evidence = good_call()
    assert failures(evidence, Expectation("human", "I was charged twice for my order"))
    assert failures(evidence, Expectation("human", "Shall I connect you?", never=True))
    assert not failures(evidence, Expectation("caller", "Shall I connect you?", never=True))


def test_what_is_left_over_or_leaves_late_does_not_pass() -> None:
    assert failures(replace(good_call(), left=["room consult"]))
    assert failures(replace(good_call(), end_seconds=2.5))


def test_another_outcome_than_the_expected_one_does_not_pass() -> None:
    assert [finding.what for finding in failures(replace(good_call(), outcome="busy"))][:1] == ["outcome"]


def test_the_pilots_are_gone_for_those_who_listen_and_speech_is_not() -> None:
    clean = judge.without_pilots(sound((440, 2000, 0, SECONDS), HUMAN_PILOT, CALLER_PILOT))
    assert not judge.pilot_present(clean, judge.PILOTS["human"]).any()
    assert np.abs(clean).max() > 1500


@pytest.mark.parametrize(
    ("sentence", "heard", "errors"),
    [
        ("I am sorry.", "well I'm sorry, really", 0.0),
        ("Shall I connect you?", "shall I correct you", 0.25),
        ("charged twice", "", 1.0),
        ("one two", "1 2", 0.0),
    ],
)
def test_words_are_compared_where_they_fit_best(sentence: str, heard: str, errors: float) -> None:
    assert judge.word_errors(sentence, heard) == pytest.approx(errors)
