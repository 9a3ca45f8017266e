"""The cost of the relay between two rooms: how much later one phone hears the other, the wait until it is ready, CPU, memory.

A call in one room, one through each engine, in turn, on the same lab with the same telephones. There is no agent and no
model in it. The relay's process has been launched before, as the transfer does it while the colleague's phone rings.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time

from bench import crowd
from bench.beeps import holes, median_heard
from bench.bridged import SETTLE, Delays, PhoneCall, RelayLab, Way, cpu_seconds, open_lab, phone_call, telephones
from bench.results import BENCH, write_results
from lab.lab import ROOT
from lab.play.machine import LoadMeter
from transfer.relay.order import EngineName

SECONDS = 10.0
"""Seconds of each call that are listened to: eight beeps in each direction."""
ENGINES: tuple[EngineName, ...] = ("packet", "sdk")
ORDERS: tuple[tuple[Way, ...], ...] = (
    ("direct", "packet", "sdk"),
    ("packet", "sdk", "direct"),
    ("sdk", "direct", "packet"),
)
"""Round by round: a change on the machine then strikes all alike."""
UNITS = {
    "relay_added_delay": "s",
    "relay_packet_delay": "s",
    "relay_ready": "s",
    "relay_cpu": "of a core",
    "relay_memory": "MiB",
    "relay_memory_own": "MiB",
    "relay_holes": "frames",
}
"""`relay_added_delay` is the delay that phones hear, in whole frames of 20 ms; `relay_packet_delay` that of packets through
the relay, measurable only where they come out unchanged; `relay_memory_own` the memory that no other process shares;
`relay_holes` frames of a call in which a phone heard nothing."""
TARGETS = {"relay_added_delay": 0.010, "relay_ready": 0.100, "relay_cpu": 0.04}
"""Of the packet engine's median, at most."""
MIB = 2**20

Samples = dict[str, dict[str, list[float]]]
"""By metric, and by engine; of the holes also "direct"."""


def note(samples: Samples, metric: str, way: str, *values: float) -> None:
    samples.setdefault(metric, {}).setdefault(way, []).extend(round(value, 5) for value in values)


async def listen(lab: RelayLab, call: PhoneCall, way: Way, samples: Samples) -> Delays:
    """Both talk without a pause; the delays of their beeps."""
    call.talk(SETTLE + SECONDS + 2)
    await asyncio.sleep(SETTLE)
    transits = crowd.watch(lab, call.rooms) if way == "packet" else []
    for transit in transits:
        transit.counting = True
    process = call.bridge.process if call.bridge else None
    cpu, start = cpu_seconds(process) if process else 0.0, time.monotonic()
    await asyncio.sleep(SECONDS)
    end = time.monotonic()
    if process and call.bridge:
        note(samples, "relay_ready", way, call.bridge.ready)
        note(samples, "relay_cpu", way, (cpu_seconds(process) - cpu) / (end - start))
        memory = process.memory_full_info()
        note(samples, "relay_memory", way, memory.rss / MIB)
        note(samples, "relay_memory_own", way, memory.uss / MIB)
    for transit in transits:
        note(samples, "relay_packet_delay", way, statistics.median(transit.seconds))
    note(samples, "relay_holes", way, *(holes(ear) for ear in call.ears(start, end)))
    return await call.delays(start, end)


async def play_round(lab: RelayLab, number: int, rounds: int, samples: Samples) -> None:
    """A direct call and one through each engine."""
    found: dict[Way, Delays] = {}
    async with telephones(number / rounds / 2) as exchanges:
        for way in ORDERS[number % len(ORDERS)]:
            async with phone_call(lab, exchanges, way) as call:
                found[way] = await listen(lab, call, way, samples)
    for engine in ENGINES:
        for relayed, direct in zip(found[engine], found["direct"], strict=True):
            later, sooner = median_heard(relayed), median_heard(direct)
            if later is None or sooner is None:
                print(f"round {number + 1}: one of the two did not hear the other ({engine})", file=sys.stderr)
            else:
                note(samples, "relay_added_delay", engine, later - sooner)


def show(samples: Samples) -> None:
    """Median, mean and worst; the mean is the better answer where single values come in whole frames."""
    print(f"\n{'':20}{'packet: median     mean    worst':>34}{'sdk: median     mean    worst':>34}  target")
    for name, unit in UNITS.items():
        columns, digits = [], 1 if unit in ("MiB", "frames") else 4
        for engine in ENGINES:
            values = samples.get(name, {}).get(engine, [])
            numbers = [statistics.median(values), statistics.mean(values), max(values)] if values else []
            columns.append("".join(f"{number:9.{digits}f}" for number in numbers) or "-")
        print(f"{name:20}{columns[0]:>34}{columns[1]:>34}  {verdict(name, samples)}")
    direct = samples.get("relay_holes", {}).get("direct", [])
    print(", ".join(f"{name}: {unit}" for name, unit in UNITS.items()))
    print(f"holes of the direct calls: {sum(direct):g} in {len(direct)} ears")


def verdict(metric: str, samples: Samples) -> str:
    values, target = samples.get(metric, {}).get("packet"), TARGETS.get(metric)
    if target is None or not values:
        return ""
    return f"<= {target:g} {'reached' if round(statistics.median(values), 3) <= target else 'MISSED'}"


async def measure(rounds: int) -> Samples:
    samples: Samples = {}
    async with open_lab() as lab:
        for number in range(rounds):
            await play_round(lab, number, rounds, samples)
            print(f"relay {number + 1}/{rounds}", file=sys.stderr, flush=True)
    return samples


async def run(rounds: int, rows: tuple[int, ...] = crowd.ROWS) -> None:
    """Plays everything, prints the tables and adds to `out/bench.json`."""
    gc.collect()
    gc.freeze()  # a collection of all that is loaded would stop the telephones for a tenth of a second
    meter = LoadMeter()
    meter.start()
    samples = await measure(rounds)
    load = await asyncio.to_thread(meter.stop)
    show(samples)
    print(f"the machine meanwhile: {load}")
    write_results(samples)
    write_results({}, relay_calls=await crowd.run(rows))
    print(f"every sample: {BENCH.relative_to(ROOT)}")
