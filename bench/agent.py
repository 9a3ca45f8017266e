"""A worker whose transfers are ordered by a file: which task, ours or the stock one, with which parameters.

TRANSFER_ORDER names a JSON file that is read at each transfer: {"task": "ours" | "stock" | "twilio", "parameters": {...},
"wait": seconds from the tool call to the transfer}. "{caller}" in `sip_call_to`: the last two digits of the caller's number.
TRANSFER_REPORT names a file that gets a JSON line for each transfer that has ended, and one more LATER when the job goes on.
WORKER_DRAIN: seconds that the worker waits for its calls when it is asked to stop.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, RunContext, cli, function_tool
from livekit.agents.beta.workflows import WarmTransferTask as StockTask

from frontdesk.voice.pipeline import make_pipeline
from frontdesk.voice.settings import read_settings
from transfer import (
    Departures,
    Destination,
    TransferEvent,
    TwilioConnectorWarmTransferTask,
    WarmTransferTask,
    present_in,
)

GREETING = "Good morning."
COLLEAGUE_GONE = "The colleague has hung up. Ask the caller whether there is anything else."
INTRODUCTION = "You are on the line with a colleague."
LATER = 2.5
"""Seconds after a transfer by which nothing of it may be left in the worker: a little more than law 4 allows."""


def read_order(called: float) -> dict[str, Any]:
    """The order; writes the time of the tool call and the id of its process beside it."""
    path = Path(os.environ["TRANSFER_ORDER"])
    path.with_name("process").write_text(str(os.getpid()))
    path.with_name("called").write_text(str(called))
    order: dict[str, Any] = json.loads(path.read_text())
    return order


def running_tasks() -> Counter[str]:
    """The number of tasks of each kind."""
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())


def write(report: dict[str, Any]) -> None:
    with Path(os.environ["TRANSFER_REPORT"]).open("a") as file:
        file.write(json.dumps(report) + "\n")


def make_task(order: dict[str, Any], agent: Agent, events: list[dict[str, Any]]) -> Any:
    """The ordered task; ours reports its events as well."""
    caller = agent.session.room_io.linked_participant
    number = caller.identity if caller else ""
    parameters = {"chat_ctx": agent.chat_ctx, **order["parameters"]}
    if "sip_call_to" in parameters:
        parameters["sip_call_to"] = parameters["sip_call_to"].replace("{caller}", number[-2:])
    if order["task"] == "stock":
        return StockTask(**parameters)

    def on_event(event: TransferEvent) -> None:
        events.append(asdict(event))

    if "destinations" in parameters:
        parameters["destinations"] = [Destination(**values) for values in parameters["destinations"]]
    ours = TwilioConnectorWarmTransferTask if order["task"] == "twilio" else WarmTransferTask
    return ours(**parameters, on_event=on_event)


class Receptionist(Agent):
    """Greets, and transfers when the caller asks for a person."""

    def __init__(self, job: JobContext) -> None:
        self._job = job
        self._transfers = 0
        self._later: asyncio.Task[None] | None = None
        super().__init__(instructions="You answer the telephone.")

    async def on_enter(self) -> None:
        self.session.say(GREETING, allow_interruptions=False)

    @function_tool
    async def transfer_to_human(self, context: RunContext, destination: str, reason: str) -> str | None:
        """Puts the caller through to a colleague."""
        called = time.monotonic()
        context.disallow_interruptions()
        order = read_order(called)
        self._transfers += 1
        before = running_tasks()
        await asyncio.sleep(order.get("wait", 0.0))
        report: dict[str, Any] = {"task": order["task"], "called": called, "events": []}
        try:
            result = await make_task(order, self, report["events"])
        except Exception as error:
            report |= {"outcome": str(getattr(error, "reason", "failed")), "error": str(error)}
            report |= self._known(error)
            context.speech_handle.allow_interruptions = True
            raise
        else:
            report |= {"outcome": "connected", "human": result.human_agent_identity, **self._known(result)}
            report["ended_by"] = getattr(result, "ended_by", "")
            if report["ended_by"] == "human":
                context.speech_handle.allow_interruptions = True
                return COLLEAGUE_GONE
            if "introduction" not in order["parameters"]:
                await self.session.say(INTRODUCTION, allow_interruptions=False)
            self.session.shutdown()
            return None
        finally:
            report |= {"ended": time.monotonic(), "room": self._job.room.name, "tracks": self._tracks()}
            write(report)
            self._later = asyncio.create_task(self._report_later(called, self._transfers, before))

    async def _report_later(self, called: float, number: int, before: Counter[str]) -> None:
        """Reports the leftovers of a transfer, unless another one has begun."""
        limit = time.monotonic() + 2 * LATER
        await asyncio.sleep(LATER)
        left = self._left(before)
        while left and time.monotonic() < limit:  # the agent's own speech comes and goes meanwhile
            await asyncio.sleep(0.05)
            left = self._left(before)
        if number == self._transfers:
            seen = {"tracks": self._tracks(), "tasks": left}
            write({"called": called, "later": time.monotonic(), "room": self._job.room.name, **seen})

    @staticmethod
    def _left(before: Counter[str]) -> list[str]:
        return sorted(name for name in (running_tasks() - before).elements() if "Receptionist" not in name)

    @staticmethod
    def _known(outcome: object) -> dict[str, Any]:
        attempts = [asdict(record) for record in getattr(outcome, "attempts", [])]
        return {"seconds": getattr(outcome, "seconds", {}), "attempts": attempts}

    def _tracks(self) -> list[str]:
        """Names of the agent's tracks in the caller's room."""
        return [publication.name for publication in self._job.room.local_participant.track_publications.values()]


def prewarm(process: JobProcess) -> None:
    process.userdata["pipeline"] = make_pipeline(read_settings())


server = AgentServer(
    port=0,
    load_threshold=math.inf,
    load_fnc=lambda: 0.0,  # no job goes to a worker that reports more than 0.7, and two cores are soon that busy
    setup_fnc=prewarm,
    drain_timeout=int(os.environ.get("WORKER_DRAIN", "3600")),
)


@server.rtc_session(agent_name=os.environ.get("AGENT_NAME", ""))
async def answer(job: JobContext) -> None:
    pipeline = job.proc.userdata["pipeline"]
    session: AgentSession[None] = AgentSession(
        stt=pipeline.stt,
        llm=pipeline.llm,
        tts=pipeline.tts,
        vad=pipeline.vad,
        turn_handling={"turn_detection": pipeline.turn_detector},
    )

    def on_caller_left(_identity: str) -> None:
        if not present_in(job.room):
            job.delete_room()

    Departures(job, on_caller_left)
    await session.start(agent=Receptionist(job), room=job.room)


if __name__ == "__main__":
    cli.run_app(server)
