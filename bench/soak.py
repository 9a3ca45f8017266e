"""python -m bench.soak [--minutes N]: one bridged call for long, with sound both ways all the time.

Nothing may grow: neither the delay nor the memory of the relay's process. In the middle of it one leg loses its websocket and
has to join anew; after ten minutes it needs a new token for that.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass

import psutil

from bench.beeps import holes, median_heard
from bench.bridged import SETTLE, SIDES, PhoneCall, RelayLab, cpu_seconds, open_lab, phone_call, telephones
from lab.lab import ROOT
from lab.play.machine import LoadMeter

OUT = ROOT / "out" / "soak.json"
MINUTES = 10
MINUTE = 60.0
DELAY_GROWTH = 0.010
"""Most seconds by which the delay of the last fifth of the call may exceed that of the first."""
MEMORY_GROWTH = 5.0
"""MiB that the process may gain after its first minute."""
MIB = 2**20
AHEAD = 15.0
"""Seconds of sound that a mouth has in hand beyond the next minute."""


@dataclass
class Minute:
    """The findings at the end of a minute."""

    minute: int
    delay: float | None
    """Seconds from mouth to ear: mean of the medians of both directions; None: one heard nothing."""
    beeps_lost: int
    """Of both directions."""
    holes: list[int]
    """Frames of 20 ms in which the first phone and the second heard nothing."""
    memory: float
    """MiB, resident."""
    memory_own: float
    """MiB that no other process shares."""
    cpu: float
    """Share of a core."""
    machine: float
    """Share of the machine that was busy."""
    cut: bool = False
    """In this minute one leg lost its websocket."""


class Listener:
    """Examines a call once a minute, and drops the sound it has examined."""

    def __init__(self, call: PhoneCall, process: psutil.Process) -> None:
        self._call, self._process = call, process
        self._start, self._cpu = time.monotonic(), cpu_seconds(process)

    async def minute(self, number: int, seconds: float, *, cut: bool) -> Minute:
        """The next `seconds`. psutil.NoSuchProcess when the relay's process does not live to their end."""
        meter = LoadMeter()
        meter.start()
        self._call.talk(seconds)
        await asyncio.sleep(max(0.0, self._start + seconds - time.monotonic()))
        start, end, cpu = self._start, time.monotonic(), cpu_seconds(self._process)
        load = await asyncio.to_thread(meter.stop)
        directions = await self._call.delays(start, end)
        medians = [median for direction in directions if (median := median_heard(direction)) is not None]
        memory = self._process.memory_full_info()
        found = Minute(
            minute=number,
            delay=round(statistics.mean(medians), 5) if len(medians) == 2 else None,
            beeps_lost=sum(direction.count(None) for direction in directions),
            holes=[holes(ear) for ear in self._call.ears(start, end)],
            memory=round(memory.rss / MIB, 2),
            memory_own=round(memory.uss / MIB, 2),
            cpu=round((cpu - self._cpu) / (end - start), 4),
            machine=round(load.busy, 3),
            cut=cut,
        )
        self._call.forget(end)
        self._start, self._cpu = end, cpu
        return found


def growth(values: list[float]) -> float:
    """From the first fifth to the last, by their medians."""
    fifth = max(1, len(values) // 5)
    return statistics.median(values[-fifth:]) - statistics.median(values[:fifth])


def missed(minutes: list[Minute], ended: str = "") -> list[str]:
    """The missed targets; empty: the call could have gone on like that. `ended`: why it ended before its time."""
    found = [f"the call ended: {ended}"] if ended else []
    if not minutes:
        return [*found, "no minute of it was heard"]
    silent = [minute.minute for minute in minutes if minute.delay is None]
    if silent:
        found.append(f"one of the two heard nothing in minute {', '.join(map(str, silent))}")
    heard = [minute.delay for minute in minutes if minute.delay is not None]
    if heard and round(later := growth(heard), 3) > DELAY_GROWTH:
        found.append(f"the delay grew by {later * 1000:.0f} ms (at most {DELAY_GROWTH * 1000:.0f})")
    more = max(minute.memory for minute in minutes) - minutes[0].memory
    if more > MEMORY_GROWTH:
        found.append(f"the memory grew by {more:.1f} MiB after the first minute (at most {MEMORY_GROWTH:g})")
    return found


def show(minute: Minute) -> None:
    delay = "   none" if minute.delay is None else f"{minute.delay * 1000:4.0f} ms"
    print(
        f"{minute.minute:6}  {delay}  {minute.beeps_lost:10}  {minute.holes[0]:6} {minute.holes[1]:6}"
        f"  {minute.memory:7.1f} {minute.memory_own:7.1f}  {minute.cpu:6.3f}  {minute.machine:7.0%}"
        f"{'  (a websocket was cut)' if minute.cut else ''}",
        flush=True,
    )


async def cut_one_leg(lab: RelayLab, room: str, after: float) -> None:
    """Cuts the relay's websocket in that room, `after` seconds from now: it has to rejoin as a new participant."""
    await asyncio.sleep(after)
    found = lab.server.rooms.get(room)
    for identity in [name for name in found.participants if name not in SIDES] if found else []:
        await lab.server.cut_signalling(0.0, identity)


async def hold(minutes: int, seconds: float = MINUTE) -> tuple[list[Minute], str]:
    """The minutes of the call, and why it ended if it ended by itself. `seconds`: of a minute."""
    found: list[Minute] = []
    async with open_lab() as lab, telephones(0.0) as exchanges, phone_call(lab, exchanges, "packet") as call:
        assert call.bridge
        relay, pid = call.bridge.relay, call.bridge.relay.pid
        call.talk(SETTLE + AHEAD)
        await asyncio.sleep(SETTLE)
        listener, middle = Listener(call, call.bridge.process), (minutes + 1) // 2
        for number in range(1, minutes + 1):
            cut = number == middle
            cutting = asyncio.create_task(cut_one_leg(lab, call.rooms[0], seconds / 2)) if cut else None
            try:
                found.append(await listener.minute(number, seconds, cut=cut))
            except psutil.NoSuchProcess:
                return found, str(relay.ended.result()) if relay.ended.done() else "the process died"
            finally:
                if cutting is not None:
                    await cutting
            show(found[-1])
            if relay.pid != pid:
                return found, "the process died and was replaced"
    return found, ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=MINUTES, help=f"default {MINUTES}; 70 go beyond a token's hour")
    given = parser.parse_args()
    gc.collect()
    gc.freeze()  # a collection of all that is loaded would stop the telephones for a tenth of a second
    print("minute    delay  beeps lost    holes at the two   MiB: all     own     CPU  machine")
    minutes, ended = asyncio.run(hold(given.minutes))
    failures = missed(minutes, ended)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"minutes": [asdict(minute) for minute in minutes], "missed": failures}, indent=1) + "\n")
    for failure in failures:
        print(f"MISSED: {failure}")
    if not failures:
        print(f"reached: for {len(minutes)} minutes neither the delay nor the memory grew")
    print(f"every minute: {OUT.relative_to(ROOT)}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
