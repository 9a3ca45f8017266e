"""How busy the machine is, which processes use it, and how much of it the hypervisor took away."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

TOO_BUSY = 0.72
"""Share of the machine: above 145 % of two cores, 2 of 11 calls could still be heard."""
FOREIGN = 0.15
"""Share of the machine from which others (or the hypervisor) are to blame."""


@dataclass(frozen=True)
class Load:
    """Shares of all cores, 0 to 1."""

    busy: float
    steal: float
    own: float

    @property
    def foreign(self) -> float:
        return max(0.0, self.busy - self.own)

    @property
    def too_busy(self) -> bool:
        return self.busy > TOO_BUSY and self.foreign > FOREIGN

    def __str__(self) -> str:
        return f"{1 - self.busy:.0%} free, {self.own:.0%} ours, {self.foreign:.0%} others (steal {self.steal:.0%})"


def _ticks() -> tuple[float, float, float]:
    """Total, busy (stolen time included) and stolen CPU time of the machine so far."""
    stat = Path("/proc/stat")
    if not stat.exists():
        times = psutil.cpu_times()
        total = sum(times)
        return total, total - times.idle, 0.0
    values = [float(value) for value in stat.read_text().splitlines()[0].split()[1:9]]
    return sum(values), sum(values) - values[3] - values[4], values[7]


class LoadMeter(threading.Thread):
    """Samples twice a second, in a thread of its own: a busy event loop must not hide that it is busy."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._done = threading.Event()
        self._cpu: dict[int, float] = {}
        self._since: dict[int, float] = {}
        # Both clocks start together: looking for our processes takes a while on a busy machine.
        self._sample_own()
        self._start = _ticks()
        self.samples: list[tuple[float, float]] = []
        """Monotonic seconds and busy share."""

    def run(self) -> None:
        last = self._start
        while not self._done.wait(0.5):
            self._sample_own()
            now = _ticks()
            if now[0] > last[0]:
                self.samples.append((time.monotonic(), (now[1] - last[1]) / (now[0] - last[0])))
            last = now

    def _sample_own(self) -> None:
        """CPU seconds of our processes; ended ones keep their last value."""
        here = psutil.Process()
        for process in [here, *here.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            self._cpu[process.pid] = times.user + times.system
            self._since.setdefault(process.pid, self._cpu[process.pid])

    def stop(self) -> Load:
        self._done.set()
        self.join()
        self._sample_own()
        total, busy, steal = (now - then for now, then in zip(_ticks(), self._start, strict=True))
        own = sum(self._cpu[pid] - self._since[pid] for pid in self._cpu)
        hertz = 100.0 if Path("/proc/stat").exists() else 1.0
        total = max(total, 1.0)
        return Load(busy / total, steal / total, min(1.0, own * hertz / total))


def measure(seconds: float) -> Load:
    """The load over the next `seconds`."""
    meter = LoadMeter()
    meter.start()
    time.sleep(seconds)
    return meter.stop()
