"""python -m bench.faults: the table of faults, each against ours and against the stock task, judged by the same laws."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from livekit.protocol import models

from bench import agent
from bench.desk import Desk, open_desk
from bench.fault_play import Fault, Play
from bench.fault_table import table
from bench.laws import broken
from lab.lab import ROOT
from lab.waiting import until

PASS, FAIL, CANNOT = "pass", "fail", "cannot happen"
PLAY_LIMIT = 180.0
"""Seconds; far more than any row takes."""


@dataclass
class Verdict:
    verdict: str
    why: str


async def judge(desk: Desk, fault: Fault, task: str) -> Verdict:
    """Plays one row; whatever it leaves is cleared away afterwards."""
    if fault.cannot and task == "stock":
        return Verdict(CANNOT, fault.cannot)
    if fault.drain is not None:
        await restart(desk, WORKER_DRAIN=str(fault.drain))
    play = Play(desk, fault, task)
    try:
        async with asyncio.timeout(PLAY_LIMIT):
            found = broken(await play.run())
    except (AssertionError, TimeoutError) as error:
        found = [f"the call could not be played: {error}"]
    finally:
        await clear(desk)
        if play.stopped or fault.drain is not None:
            await restart(desk)
    return Verdict(FAIL if found else PASS, "; ".join(found))


async def clear(desk: Desk) -> None:
    """Nothing of one row is there in the next."""
    for call in desk.calls:
        for phone in call.phones:
            phone.hang_up()
    desk.calls.clear()
    for room in desk.server.rooms.all():
        await room.close(models.ROOM_DELETED)
    try:
        await until(lambda: not desk.server.dispatcher.jobs, "the jobs end", 10.0)
    except AssertionError:
        await restart(desk)
    for room in desk.server.rooms.all():  # a connection that came late has made it anew
        await room.close(models.ROOM_DELETED)


async def restart(desk: Desk, **environment: str) -> None:
    await desk.worker.stop()
    await desk.start_worker(**environment)


async def play_all(rows: list[Fault], tasks: list[str]) -> list[dict[str, str]]:
    """`[{"fault", "ours", "stock", "why_ours", "why_stock"}]`, printed as it goes."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder), Path(agent.__file__)) as desk:
            for number, fault in enumerate(rows, 1):
                line = {"fault": fault.name}
                for task in tasks:
                    began = time.monotonic()
                    verdict = await judge(desk, fault, task)
                    line |= {task: verdict.verdict, f"why_{task}": verdict.why}
                    print(f"  {task}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
                out.append(line)
                show(number, len(rows), line, tasks)
    return out


def show(number: int, total: int, line: dict[str, str], tasks: list[str]) -> None:
    verdicts = "  ".join(f"{task} {line[task]:13}" for task in tasks)
    print(f"{number:3}/{total}  {verdicts}  {line['fault']}", flush=True)
    for task in tasks:
        if line[f"why_{task}"]:
            print(f"{'':9}{task}: {line[f'why_{task}']}", flush=True)


def totals(lines: list[dict[str, str]], tasks: list[str]) -> None:
    """A row that cannot happen to one of the two counts for neither."""
    counted = [line for line in lines if all(line[task] != CANNOT for task in tasks)]
    for task in tasks:
        passed = sum(line[task] == PASS for line in counted)
        print(f"{task}: {passed} of {len(counted)} pass")
    if len(counted) < len(lines):
        rest = [line for line in lines if line not in counted]
        print(f"and {len(rest)} that cannot happen to both: ours {sum(line.get('ours') == PASS for line in rest)} pass")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--task", choices=["ours", "stock"], help="one of the two")
    given = parser.parse_args()
    rows = [fault for fault in table() if given.only in fault.name]
    if not rows:
        parser.error(f"no fault has {given.only!r} in its name")
    tasks = [given.task] if given.task else ["ours", "stock"]
    lines = asyncio.run(play_all(rows, tasks))
    out = ROOT / "out" / "faults.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(lines, indent=1) + "\n")
    totals(lines, tasks)
    print(f"every row: {out.relative_to(ROOT)}")
    with contextlib.suppress(KeyError):
        sys.exit(0 if all(line["ours"] != FAIL for line in lines) else 1)


if __name__ == "__main__":
    main()
