"""The worker of `bench.agent`, whose transfers break one law, as the order says."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from livekit.agents import AgentSession, cli

from bench import agent
from transfer import WarmTransferResult, WarmTransferTask
from transfer.attempt import Attempt
from transfer.bridge import MoveBridge
from transfer.consult import Consult
from transfer.hold import Hold
from transfer.hold_audio import HoldPlayer
from transfer.relay import Relay
from transfer.task import WarmTransferTask as Task

PR_SET_PDEATHSIG = 1
"""Linux's `sys/prctl.h`."""


async def nothing(*_: Any, **__: Any) -> None:
    """In place of what should be done."""


def connects_before_anybody_agreed() -> None:
    brief = Attempt._brief

    async def too_soon(self: Attempt) -> None:
        await MoveBridge(self.job, self.job.room).connect(self.consult)
        await brief(self)

    Attempt._brief = too_soon  # type: ignore[method-assign]


def plays_nothing() -> None:
    HoldPlayer.start = lambda self: None  # type: ignore[method-assign]
    Task._update_caller = nothing  # type: ignore[method-assign]


def tells_no_outcome() -> None:
    WarmTransferTask.complete = lambda self, result: None  # type: ignore[method-assign]


def leaves_the_consult() -> None:
    Consult.close = nothing  # type: ignore[method-assign]


def leaves_a_task_and_a_track() -> None:
    close = Attempt._close

    async def and_more(self: Attempt, goodbye: str | None, since: float | None = None) -> None:
        self.left = asyncio.create_task(asyncio.Event().wait())  # type: ignore[attr-defined]
        await close(self, goodbye, since)

    async def only_pauses(self: HoldPlayer) -> None:
        self.pause()

    Attempt._close = and_more  # type: ignore[method-assign]
    HoldPlayer.aclose = only_pauses  # type: ignore[method-assign]


def lets_the_caller_decide() -> None:
    def obeys(self: AgentSession[None], **_: Any) -> None:
        if isinstance(self.current_agent, WarmTransferTask):
            self.current_agent.complete(WarmTransferResult("human"))

    AgentSession.generate_reply = obeys  # type: ignore[method-assign,assignment]


def keeps_the_agent_away() -> None:
    Hold.give_back = lambda self: None  # type: ignore[method-assign]


def gives_the_relay_up() -> None:
    async def no(self: Relay) -> bool:
        return False

    Relay._start_again = no  # type: ignore[method-assign]


def takes_the_relay_along() -> None:
    """The relay's process dies with that of the agent."""
    die_with_parent = partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGKILL)
    subprocess.Popen = partial(subprocess.Popen, preexec_fn=die_with_parent)  # type: ignore[misc,assignment]


BREAKS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        connects_before_anybody_agreed,
        plays_nothing,
        tells_no_outcome,
        leaves_the_consult,
        leaves_a_task_and_a_track,
        lets_the_caller_decide,
        keeps_the_agent_away,
        gives_the_relay_up,
        takes_the_relay_along,
    )
}

make_task = agent.make_task


def make_broken_task(order: dict[str, Any], *others: Any) -> Any:
    """Each call has a process of its own: what is broken there is broken there alone."""
    if name := order["parameters"].pop("breaks", ""):
        BREAKS[name]()
    return make_task(order, *others)


agent.make_task = make_broken_task  # type: ignore[assignment]

if __name__ == "__main__":
    cli.run_app(agent.server)
