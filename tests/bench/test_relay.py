"""What the relay's measurements say of what they are given, and that they can be taken."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import bridged, crowd, relay, soak
from bench.beeps import BLOCK_FRAMES, TICK, Frames, delays, holes, talk
from bench.results import write_results
from bench.soak import Minute, missed
from lab.sip import g711

MINUTE = Minute(1, delay=0.12, beeps_lost=0, holes=[0, 0], memory=80.0, memory_own=40.0, cpu=0.03, machine=0.2)


def played(sound: np.ndarray, start: float, late: float = 0.0) -> Frames:
    """As a phone notes it whose clock is up to `late` seconds late, but not every time."""
    lateness = np.random.default_rng(2).uniform(0, late, len(sound) // g711.FRAME) * (
        np.arange(len(sound) // 160) % 5 > 0
    )
    return [
        (start + TICK * index + lateness[index], frame)
        for index, frame in enumerate(sound[: len(lateness) * g711.FRAME].reshape(-1, g711.FRAME))
    ]


def heard(said: np.ndarray, seconds: float, ahead: float = 0.0) -> np.ndarray:
    """`said` as it comes out of a telephone line, `seconds` later at an ear that began to listen `ahead` seconds earlier."""
    before = np.zeros(round((seconds + ahead) * g711.RATE), np.int16)
    noise = np.random.default_rng(3).normal(0, 100, len(before) + len(said))
    line = (np.concatenate([before, said]) * 0.5 + noise).astype(np.int16)
    return g711.decode(g711.encode(line))


@pytest.mark.parametrize("seconds", [0.02, 0.0973, 0.1501, 0.612])
def test_the_delay_of_each_beep_is_found_to_two_milliseconds(seconds: float) -> None:
    said = talk(10)
    mouth, ear = played(said, 1000.0, late=0.015), played(heard(said, seconds, ahead=0.507), 999.493, late=0.015)
    found = delays(mouth, ear)
    assert len(found) >= 7
    assert found == pytest.approx([seconds] * len(found), abs=0.002)


def test_a_clock_that_left_ticks_out_is_followed() -> None:
    said = talk(10)
    mouth, ear = played(said, 1000.0), played(heard(said, 0.1), 1000.0)
    stall = [(at + 0.2 * (index >= 200), frame) for index, (at, frame) in enumerate(ear)]
    found = delays(mouth, stall)
    assert found[0] == pytest.approx(0.1, abs=0.002)
    assert found[-1] == pytest.approx(0.3, abs=0.002)


def test_a_beep_that_is_not_heard_has_no_delay_and_leaves_holes() -> None:
    said = talk(10)
    mouth, ear = played(said, 1000.0), played(heard(said, 0.1), 1000.0)
    silent = np.zeros(g711.FRAME, np.int16)
    broken = [(at, silent if BLOCK_FRAMES <= index < 2 * BLOCK_FRAMES else f) for index, (at, f) in enumerate(ear)]
    found = delays(mouth, broken)
    assert [delay is None for delay in found[:4]] == [False, True, False, False]
    assert (holes(ear), holes(broken)) == (0, BLOCK_FRAMES)


def test_what_other_parts_have_measured_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out" / "bench.json"
    write_results({"tool_to_invite": {"ours": [0.1]}, "relay_cpu": {"packet": [0.5]}}, path)
    write_results({"relay_cpu": {"packet": [0.03]}}, path, relay_calls=[{"calls": 1}])
    write_results({"tool_to_invite": {"ours": [0.2]}}, path)
    assert json.loads(path.read_text()) == {
        "metrics": {"tool_to_invite": {"ours": [0.2]}, "relay_cpu": {"packet": [0.03]}},
        "relay_calls": [{"calls": 1}],
    }


@pytest.mark.parametrize(
    ("metric", "values", "word"),
    [
        ("relay_added_delay", [0.0, 0.0, 0.02], "reached"),
        ("relay_added_delay", [0.0, 0.02, 0.02], "MISSED"),
        ("relay_ready", [0.05, 0.08, 0.4], "reached"),
        ("relay_cpu", [0.041, 0.042, 0.03], "MISSED"),
        ("relay_memory", [80.0], ""),
        ("relay_cpu", [], ""),
    ],
)
def test_the_table_says_which_target_is_missed(metric: str, values: list[float], word: str) -> None:
    assert relay.verdict(metric, {metric: {"packet": values, "sdk": [9.0]}}).endswith(word)


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({"lab_cpu": 0.97}, "the lab"),
        ({"relay_cpu_most": 0.97}, "a relay process"),
        ({"others": 0.5, "machine": 0.9}, "others, who took 50%"),
        ({"machine": 0.95}, "the machine"),
        ({}, "none that this shows"),
    ],
)
def test_the_lab_s_limit_is_not_taken_for_the_relay_s(values: dict[str, float], limit: str) -> None:
    quiet = crowd.Row(20, 0.6, 0.03, 0.04, 0.0, 0.001, 0.05, 1000, 100, 9, 9, lab_cpu=0.5, machine=0.5, others=0.02)
    assert replace(quiet, **values).limit.startswith(limit)  # type: ignore[arg-type]


def call(**values: list[float]) -> list[Minute]:
    """Minutes of which only `values` differ."""
    count = len(next(iter(values.values())))
    return [
        replace(MINUTE, minute=number + 1, **{name: value[number] for name, value in values.items()})  # type: ignore[arg-type]
        for number in range(count)
    ]


def test_a_call_that_stays_as_it_was_reaches_every_target() -> None:
    assert missed(call(delay=[0.12, 0.12, 0.2, 0.12, 0.13], memory=[80.0, 84.9, 84.0, 83.0, 84.0])) == []


@pytest.mark.parametrize(
    ("minutes", "what"),
    [
        (call(delay=[0.12 + 0.002 * number for number in range(10)]), "the delay grew by 16 ms"),
        (call(delay=[0.12, 0.131]), "the delay grew by 11 ms"),
        (call(memory=[80.0 + number for number in range(10)]), "the memory grew by 9.0 MiB"),
        (call(delay=[0.12, None, 0.12]), "heard nothing in minute 2"),  # type: ignore[list-item]
        ([], "no minute"),
    ],
)
def test_a_call_that_grows_or_falls_silent_misses_a_target(minutes: list[Minute], what: str) -> None:
    (failure,) = missed(minutes)
    assert what in failure


def test_a_call_that_ends_before_its_time_misses_a_target() -> None:
    assert missed(call(delay=[0.12, 0.12]), "the process died") == ["the call ended: the process died"]


async def test_a_bridged_call_is_held_although_a_websocket_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "SETTLE", 0.5)
    minutes, ended = await soak.hold(3, 2.4)
    assert (ended, [minute.cut for minute in minutes]) == ("", [False, True, False])
    assert all(minute.delay is not None and minute.delay < 0.5 for minute in (minutes[0], minutes[2]))
    assert all(minute.memory > minute.memory_own > 0 and minute.cpu > 0 for minute in minutes)


async def test_a_row_of_calls_counts_the_packets_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "SETTLE", 0.5)
    async with bridged.open_lab() as lab:
        row = await crowd.play(lab, 2, 2.4)
    assert row.packets == pytest.approx(2 * 2 * 2.4 / TICK, rel=0.2)
    assert row.lost <= 0.05 * row.packets
    assert 0 < row.packet_delay < row.packet_delay_worst
    assert abs(row.added_delay) < 0.2
    assert 0 < row.relay_cpu_most < row.relay_cpu
    assert asyncio.all_tasks() == {asyncio.current_task()}
