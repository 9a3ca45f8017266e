"""How long people wait: ours and the stock task, interleaved, with the same simulated delays of the models.

All moments are taken from the phones' sound and signalling; only the tool call is reported by the worker, with the same
clock for both tasks.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from bench import agent
from bench.desk import HUMAN, Call, Desk, open_desk
from bench.results import BENCH, write_results
from lab.ai import AiSettings
from lab.lab import ROOT
from lab.play.judge import OTHER, PILOTS, pilot_present, runs
from lab.server import REAL_PACE
from lab.sip import Answer, Phone, g711
from lab.waiting import LIMIT, until

DELAYS = AiSettings(first_token=0.4, first_audio=0.2, final_transcript=0.3)
METRICS = (
    "tool_to_invite",
    "tool_to_hold_audio",
    "hello_to_briefing",
    "accept_voice_to_audio",
    "accept_key_to_audio",
    "merge_silence",
    "cpu_per_call",
    "memory_per_call",
    "accept_key_to_audio_relay",
)
TARGETS = {"tool_to_invite": 0.1, "hello_to_briefing": 0.25, "accept_voice_to_audio": 0.8}
"""Of the stock task's median (DESIGN.md)."""
UNITS = {"cpu_per_call": "s of a core", "memory_per_call": "MiB"}
HOP = g711.RATE // 50
LOUD = 100.0
"""Root mean square of 20 ms, 16 bit, above which it is sound; the pilot tones lie below it."""
PILOT_RUN = 5
"""20 ms steps for which a pilot must be heard to count."""

Samples = dict[str, list[float]]
Accept = Literal["voice", "key", "key, relay"]
"""How the human takes the call; "key, relay": by key, and a relay joins their room to the caller's instead of a move."""
ACCEPTED: dict[Accept, str] = {
    "voice": "accept_voice_to_audio",
    "key": "accept_key_to_audio",
    "key, relay": "accept_key_to_audio_relay",
}
"""The metric for how long the two then wait."""


def loudness(phone: Phone, start: float, end: float) -> np.ndarray:
    """Of every 20 ms that the phone received, without the pilot tones: they carry no speech and no music."""
    samples = phone.ear.pcm(start, end).astype(np.float64)
    frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    return np.sqrt((frames**2).mean(axis=1)) if len(frames) else np.zeros(0)


def first_sound(phone: Phone, start: float) -> float | None:
    """Seconds from `start` to the first sound of at least 60 ms."""
    found = runs(loudness(phone, start, time.monotonic()) > LOUD, 3)
    return found[0][0] if found else None


def first_heard(call: Call, name: str, start: float) -> float | None:
    """Seconds from `start` until one person's ear gets the other's pilot."""
    phone = call.caller if name == "caller" else call.human
    ear = phone.ear.pcm(start, time.monotonic())
    found = runs(pilot_present(ear, PILOTS[OTHER[name]]), PILOT_RUN)
    return found[0][0] if found else None


def longest_silence(call: Call, start: float, end: float) -> float:
    """Longest stretch in which the caller hears neither hold audio, nor speech, nor the other's line; seconds."""
    heard = loudness(call.caller, start, end) > LOUD
    line = pilot_present(call.caller.ear.pcm(start, end), PILOTS["human"])
    length = min(len(heard), len(line))
    quiet = runs(~(heard[:length] | line[:length]), 1)
    return max((b - a for a, b in quiet), default=0.0)


def longest_miss(call: Call, name: str, start: float, end: float) -> float:
    """Longest stretch in which one person does not hear the other's line; seconds."""
    phone = call.caller if name == "caller" else call.human
    missing = ~pilot_present(phone.ear.pcm(start, end), PILOTS[OTHER[name]])
    return max((b - a for a, b in runs(missing, 1)), default=0.0)


def processes(desk: Desk) -> list[psutil.Process]:
    worker = psutil.Process(desk.worker.pid)
    return [worker, *worker.children(recursive=True)]


def cpu_seconds(desk: Desk) -> float:
    total = 0.0
    for process in processes(desk):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(desk: Desk) -> float:
    """MiB of the largest process below the worker: the one with the call."""
    sizes = []
    for process in processes(desk):
        try:
            sizes.append(process.memory_info().rss / 2**20)
        except psutil.NoSuchProcess:
            continue
    return max(sizes)


async def measured(condition: Callable[[], float | None], what: str) -> float:
    value = await until(lambda: None if (found := condition()) is None else (found,), what)
    assert value
    return value[0]


async def transfer(desk: Desk, task: str, accept: Accept) -> dict[str, float]:
    """One call that is transferred; seconds by metric."""
    own: dict[str, Any] = {"bridge": "relay"} if accept == "key, relay" else {}
    desk.order(task, sip_call_to=HUMAN, **own)
    call = desk.call(Answer(after=1.0))
    cpu = cpu_seconds(desk)
    await call.ask_for_a_person(agent.GREETING)
    found: dict[str, float] = {}
    invited = await call.human.wait_for("invited", LIMIT)
    called = float((desk.folder / "called").read_text())
    found["tool_to_invite"] = invited.at - called
    found["tool_to_hold_audio"] = await measured(lambda: first_sound(call.caller, called), "hold audio")
    answered = await call.human.wait_for("answered", LIMIT)
    said = call.say(call.human, "Hello, this is Sarah.")
    assert said > answered.at
    await asyncio.sleep(said - time.monotonic())
    found["hello_to_briefing"] = await measured(lambda: first_sound(call.human, said), "the briefing")
    await call.hears(call.human, "Shall I connect you?")
    metric = ACCEPTED[accept]
    if accept == "voice":
        accepted = call.say(call.human, "Yes, please connect me.")
    else:
        accepted = time.monotonic()
        await call.human.press("1")
    await until(call.hear_each_other, "both hear each other", every=0.05)
    found[metric] = max(
        [await measured(lambda who=who: first_heard(call, who, accepted), who) for who in ("caller", "human")]  # type: ignore[misc]
    )
    await desk.report()
    found["merge_silence"] = longest_silence(call, accepted, time.monotonic())
    found["memory_per_call"] = memory(desk)
    await desk.end_calls()
    found["cpu_per_call"] = cpu_seconds(desk) - cpu
    return found


def summary(ours: Samples, stock: Samples) -> dict[str, dict[str, object]]:
    """In the order of METRICS; a metric that the stock task cannot have holds only `ours`."""
    metrics: dict[str, dict[str, object]] = {}
    for name in METRICS:
        metrics[name] = {"ours": [round(value, 4) for value in ours.get(name, [])]}
        if stock.get(name):
            metrics[name]["stock"] = [round(value, 4) for value in stock[name]]
            low = statistics.median(stock[name])
            metrics[name]["ratio"] = round(statistics.median(ours[name]) / low, 3) if low else None
    return metrics


def show(ours: Samples, stock: Samples) -> None:
    print(f"\n{'':24}{'ours: median  worst':>22}{'stock: median  worst':>24}{'ratio':>8}  target")
    for name, values in summary(ours, stock).items():
        columns = []
        for samples in (ours.get(name, []), stock.get(name, [])):
            columns.append(f"{statistics.median(samples):9.2f}{max(samples):9.2f}" if samples else f"{'-':>9}{'-':>9}")
        ratio, target = values.get("ratio"), TARGETS.get(name)
        verdict = ""
        if target is not None and isinstance(ratio, float):
            verdict = f"<= {target} {'reached' if ratio <= target else 'MISSED'}"
        print(f"{name:24}{columns[0]:>22}{columns[1]:>24}{ratio if ratio is not None else '':>8}  {verdict}")
    print("seconds; " + ", ".join(f"{name}: {unit}" for name, unit in UNITS.items()))


async def run(transfers: int) -> None:
    """Plays everything, prints the table and writes `out/bench.json`."""
    ours: Samples = {}
    stock: Samples = {}
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder), Path(agent.__file__), DELAYS, pace=REAL_PACE) as desk:
            kinds: list[tuple[str, Accept, Samples]] = [
                ("stock", "voice", stock),
                ("ours", "voice", ours),
                ("ours", "key", ours),
                ("ours", "key, relay", ours),
            ]
            for number in range(transfers):
                for task, accept, samples in kinds:
                    found = await transfer(desk, task, accept)
                    for name, value in found.items():
                        if accept == "voice" or name == ACCEPTED[accept]:
                            samples.setdefault(name, []).append(value)
                    print(f"{number + 1}/{transfers} {task} by {accept}", file=sys.stderr, flush=True)
    write_results(summary(ours, stock))
    show(ours, stock)
    print(f"every sample: {BENCH.relative_to(ROOT)}")
