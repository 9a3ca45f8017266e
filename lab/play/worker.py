"""The unmodified worker as a process of its own, and the phases in its log."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.lab import ROOT, LabError

READY = ("registered worker", "process initialized")
START_LIMIT = 60.0
STOP_LIMIT = 12.0
"""Seconds."""
LAST_WORDS = 2.0
"""Seconds for reading the rest of the log after a worker has ended."""
NICE = 10
MAX_CALLS = 100
"""Calls that the worker of `agent.py` takes at once: the lab does not decide how many a machine bears, and no
server gives a job to a worker that says it is full."""
PR_CAPBSET_DROP, CAP_SYS_NICE = 24, 23
"""linux/prctl.h and linux/capability.h."""
LIBC = ctypes.CDLL(None)


def give_way() -> None:
    """Called in a worker's process before its program begins: the lab is the rest of the world, whose sound does not falter
    when this machine has more workers than cores.

    WebRTC's audio threads take real-time priority where they may, as root: ten calls then leave no CPU for the rest. In a
    container no process may, so here neither. Without root the call to drop the right fails, and there is nothing to drop.
    """
    os.nice(NICE)
    if sys.platform == "linux":
        LIBC.prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)


class WorkerProcess:
    """`python agent.py start`, or another program's. `phases` holds the reports of its transfers.

    Its output is appended to `log`.
    """

    def __init__(self, environment: dict[str, str], log: Path, program: Path = ROOT / "agent.py") -> None:
        self._environment = {"PYTHONPATH": str(ROOT), "WORKER_MAX_CALLS": str(MAX_CALLS), **environment}
        self._program = program
        self.log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._seen: set[str] = set()
        self.phases: list[dict[str, Any]] = []
        """Phase, `monotonic` seconds and reason of each change."""
        self.on_phase: Callable[[dict[str, Any]], None] = lambda phase: None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def start(self) -> float:
        """Seconds until it can take calls; LabError when it does not come up."""
        began = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(self._program),
            "start",
            cwd=ROOT,
            env={**os.environ, **self._environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,  # not a session: where Linux shares the cores out by session, niceness has no effect
            preexec_fn=give_way,
            limit=1 << 20,
        )
        self._reader = asyncio.create_task(self._read())
        ready = asyncio.create_task(self._ready.wait())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=START_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            ended.cancel()
        if not self._ready.is_set():
            raise LabError(f"the worker did not come up: its log is {self.log}")
        return time.monotonic() - began

    async def _read(self) -> None:
        assert self._process and self._process.stdout
        with self.log.open("ab") as log:
            async for line in self._process.stdout:
                log.write(line)
                log.flush()
                with contextlib.suppress(ValueError):
                    self._on_line(json.loads(line))

    def _on_line(self, line: Any) -> None:
        if not isinstance(line, dict):
            return
        message = str(line.get("message", ""))
        self._seen.update(word for word in READY if message.startswith(word))
        if self._seen >= set(READY):
            self._ready.set()
        if message == "transfer phase":
            self.phases.append(line)
            self.on_phase(line)

    async def stop(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_LIMIT):
                    await self._process.wait()
            except TimeoutError:
                pass
        # The job processes are in its group; none of them outlives it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # A relay goes on without its agent on the same standard output, which may therefore never end.
        ends = {asyncio.create_task(self._process.wait()), *([self._reader] if self._reader else [])}
        await asyncio.wait(ends, timeout=LAST_WORDS)
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
