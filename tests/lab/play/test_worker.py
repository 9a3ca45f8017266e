"""A worker leaves the lab, which plays everybody else, the time that sound needs."""

import os
import runpy
from pathlib import Path

import pytest

from lab.lab import ROOT
from lab.play.worker import NICE, WorkerProcess
from lab.waiting import until

PROGRAM = """
import json, os, time
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(49))  # as WebRTC's audio threads do
    real_time = True
except PermissionError:
    real_time = False
rights = {"real_time": real_time, "nice": os.nice(0), "session": os.getsid(0), "max": os.environ.get("WORKER_MAX_CALLS")}
print(json.dumps({"message": "transfer phase", **rights}), flush=True)
for ready in ("registered worker", "process initialized"):
    print(json.dumps({"message": ready}), flush=True)
time.sleep(60)
"""


async def test_a_worker_gives_way_to_the_lab(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    worker = WorkerProcess({}, tmp_path / "worker.log", program)
    await worker.start()
    try:
        seen = (await until(lambda: worker.phases, "it tells of itself"))[0]
    finally:
        await worker.stop()
    assert seen["real_time"] is False
    assert seen["nice"] == NICE
    assert seen["session"] == os.getsid(0), "the cores may be shared out by session"
    assert int(seen["max"]) >= 10, "how many calls it takes is not what stops it"


@pytest.mark.parametrize("program", ["bench/agent.py", "tests/end_to_end/stock_agent.py"])
def test_the_workers_of_tests_and_measurements_report_no_load(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server gives no job to a worker that reports more than 0.7, which two cores reach soon."""
    monkeypatch.setenv("AGENT_NAME", "front-desk")
    assert runpy.run_path(str(ROOT / program))["server"].load_fnc() == 0.0
