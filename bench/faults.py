"""python -m bench.faults: the table of faults, each against ours and against the stock task, judged by the same laws."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from livekit.protocol import models

from bench import agent
from bench.desk import Desk, open_desk
from bench.fault_play import Fault, Play, crowd
from bench.fault_table import table
from bench.laws import broken
from lab.lab import ROOT
from lab.server import REAL_PACE
from lab.server.settings import Edition
from lab.waiting import until

Line = dict[str, str]
PASS, FAIL, CANNOT = "pass", "fail", "cannot happen"
EDITIONS: dict[Edition, str] = {
    "cloud": "the server moves participants",
    "oss": "it cannot; the faults that reach the bridge, and those of the relay",
}
JOBS_LIMIT = 10.0
"""Seconds that the jobs of a row get to end; then the worker is started again."""
LOGS = ROOT / "out" / "faults"
"""Folder of the worker's logs of the rows that failed last time."""
PLAY_LIMIT = 180.0
"""Seconds; far more than any row takes."""


@dataclass
class Verdict:
    verdict: str
    why: str


async def judge(desk: Desk, fault: Fault, task: str) -> Verdict:
    """Plays one row; its leftovers are cleared away afterwards."""
    if fault.cannot and task == "stock":
        return Verdict(CANNOT, fault.cannot)
    if fault.drain is not None:
        await restart(desk, WORKER_DRAIN=str(fault.drain))
    play = Play(desk, fault, task)
    try:
        async with asyncio.timeout(PLAY_LIMIT):
            seen = await crowd(desk, fault, task) if fault.calls > 1 else [await play.run()]
            found = list(dict.fromkeys(law for one in seen for law in broken(one)))
    except (AssertionError, TimeoutError) as error:
        found = [f"the call could not be played: {error}"]
    finally:
        await clear(desk)
        if play.stopped or fault.drain is not None:
            await restart(desk)
    return Verdict(FAIL if found else PASS, "; ".join(found))


async def clear(desk: Desk) -> None:
    """Removes the leftovers of one row before the next."""
    desk.server.twirp.faults.clear()
    desk.ai.faults.clear()
    desk.server.refuses = lambda claims: False
    desk.server.on_join = lambda participant: None
    for call in desk.calls:
        for phone in call.phones:
            phone.hang_up()
    desk.calls.clear()
    for room in desk.server.rooms.all():
        await room.close(models.ROOM_DELETED)
    try:
        await until(lambda: not desk.server.dispatcher.jobs, "the jobs end", JOBS_LIMIT)
    except AssertionError:
        await restart(desk)
    for room in desk.server.rooms.all():  # a late connection has made it again
        await room.close(models.ROOM_DELETED)


async def restart(desk: Desk, **environment: str) -> None:
    await desk.worker.stop()
    await desk.start_worker(**environment)


def keep_log(desk: Desk, start: int, name: str) -> str:
    """Keeps the worker's output since `start`, to explain why a row failed; returns its path."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / (re.sub(r"\W+", "-", name) + ".log")
    with desk.worker.log.open("rb") as log:
        log.seek(start)
        path.write_bytes(log.read())
    return str(path.relative_to(ROOT))


async def play_all(rows: list[Fault], tasks: list[str], edition: Edition) -> AsyncIterator[Line]:
    """`{"fault", "edition", "ours", "stock", "why_ours", "why_stock"}` of each row."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder), Path(agent.__file__), edition=edition, pace=REAL_PACE) as desk:
            for fault in rows:
                line = {"fault": fault.name, "edition": str(edition)}
                for task in tasks:
                    start = desk.worker.log.stat().st_size
                    verdict = await judge(desk, fault, task)
                    line |= {task: verdict.verdict, f"why_{task}": verdict.why}
                    if task == "ours" and verdict.verdict == FAIL:
                        line["log"] = keep_log(desk, start, f"{edition} {fault.name}")
                yield line
            await desk.worker.stop()
            await clear(desk)  # of late leftovers


async def play_part(rows: list[Fault], tasks: list[str], edition: Edition) -> None:
    """A line of JSON on standard output for each row."""
    async for line in play_all(rows, tasks, edition):
        print(json.dumps(line), flush=True)


async def play_parts(rows: list[Fault], tasks: list[str], jobs: int, edition: Edition) -> list[Line]:
    """Each job is a process with a lab and a worker of its own: most of a row's time is waiting. In the order of the table."""
    found: list[Line] = []

    async def run(part: list[Fault]) -> None:
        command = [sys.executable, "-m", "bench.faults", "--part", *(["--task", tasks[0]] if len(tasks) == 1 else [])]
        command += ["--edition", edition, "--only", "\n".join(["", *(row.name for row in part)])]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, process_group=0
        )
        assert process.stdout
        try:
            async for text in process.stdout:
                found.append(json.loads(text))
                show(len(found), len(rows), found[-1], tasks)
            if await process.wait():
                raise RuntimeError(f"a part of the faults ended with {process.returncode}")
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()

    for crowded in [row for row in rows if row.calls > 1]:
        await run([crowded])  # it needs the whole machine
    rest = [row for row in rows if row.calls == 1]
    async with asyncio.TaskGroup() as group:
        for part in range(min(jobs, len(rest))):
            group.create_task(run(rest[part::jobs]))
    order = [row.name for row in rows]
    return sorted(found, key=lambda line: order.index(line["fault"]))


def show(number: int, total: int, line: Line, tasks: list[str]) -> None:
    verdicts = "  ".join(f"{task} {line[task]:13}" for task in tasks)
    print(f"{number:3}/{total}  {verdicts}  {line['fault']}", flush=True)
    for task in tasks:
        if line[f"why_{task}"]:
            print(f"{'':9}{task}: {line[f'why_{task}']}", flush=True)
    if "log" in line:
        print(f"{'':9}the worker's log: {line['log']}", flush=True)


def totals(lines: list[Line], tasks: list[str], edition: Edition) -> None:
    """Prints the totals; a row that cannot happen to one of the two counts for neither."""
    counted = [line for line in lines if all(line[task] != CANNOT for task in tasks)]
    for task in tasks:
        passed = sum(line[task] == PASS for line in counted)
        print(f"{edition} edition, {task}: {passed} of {len(counted)} pass")
    if len(counted) < len(lines):
        rest = [line for line in lines if line not in counted]
        passed = sum(line.get("ours") == PASS for line in rest)
        print(f"{edition} edition, {len(rest)} that cannot happen to both: ours {passed} pass")


def main() -> None:
    # The parts are in process groups of their own: SIGTERM reaches only this program, whose exit then ends them.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this (or one of these lines)")
    parser.add_argument("--edition", choices=list(EDITIONS), help="of the server; both, when not given")
    parser.add_argument("--task", choices=["ours", "stock"], help="one of the two")
    parser.add_argument("--jobs", type=int, default=2, help="rows that are played at the same time; default 2")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.only.splitlines() or [""]
    exact = len(names) > 1  # the lines of a part begin with an empty one
    editions: list[Edition] = [given.edition] if given.edition else ["cloud", "oss"]
    rows = {
        edition: [
            row for row in table(edition) if any(name == row.name if exact else name in row.name for name in names)
        ]
        for edition in editions
    }
    if not any(rows.values()):
        parser.error(f"no fault has {given.only!r} in its name")
    tasks = [given.task] if given.task else ["ours", "stock"]
    if given.part:
        asyncio.run(play_part(rows[given.edition], tasks, given.edition))
        return
    shutil.rmtree(LOGS, ignore_errors=True)
    lines: list[Line] = []
    for edition in editions:
        print(f"-- {edition} edition: {EDITIONS[edition]}", flush=True)
        lines += asyncio.run(play_parts(rows[edition], tasks, given.jobs, edition))
    out = ROOT / "out" / "faults.json"
    out.parent.mkdir(exist_ok=True)
    for line in lines:
        line.pop("log", None)
    out.write_text(json.dumps(lines, indent=1) + "\n")
    for edition in editions:
        totals([line for line in lines if line["edition"] == edition], tasks, edition)
    print(f"every row: {out.relative_to(ROOT)}")
    sys.exit(0 if all(line.get("ours") != FAIL for line in lines) else 1)


if __name__ == "__main__":
    main()
