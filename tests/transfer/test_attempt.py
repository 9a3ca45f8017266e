"""How an attempt ends."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from transfer.attempt import SHORT_GOODBYE_LIMIT, Attempt
from transfer.dial import Destination
from transfer.events import Phase
from transfer.outcome import TransferReason, WarmTransferError


class Handle:
    async def wait_for_playout(self) -> None:
        await asyncio.Event().wait()


class Consult:
    """One whose human is there, and whose goodbye never ends."""

    is_away = False

    def __init__(self) -> None:
        self.human_left, self.closed_at, self.goodbyes = asyncio.Event(), 0.0, 0
        self.session = SimpleNamespace(interrupt=self._interrupt, say=self._say)

    def _say(self, text: str, *, allow_interruptions: bool) -> Handle:
        assert text and not allow_interruptions
        self.goodbyes += 1
        return Handle()

    async def _interrupt(self, *, force: bool) -> None:
        assert force

    async def close(self) -> None:
        self.closed_at = time.monotonic()


async def test_a_busy_machine_takes_its_time_from_the_goodbye_and_not_from_the_end_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing: Any = SimpleNamespace(end_attempt=lambda *_: None, voicemail_message="")
    attempt = Attempt(nothing, nothing, 1, Destination("+12025550141"), nothing, nothing, nothing, nothing)
    consult = Consult()
    monkeypatch.setattr(attempt, "consult", consult)
    attempt.clock.enter(Phase.BRIEF, time.monotonic())
    gone = time.monotonic() - 1.0
    await attempt.close(WarmTransferError(TransferReason.CALLER_HUNG_UP), gone)
    assert consult.goodbyes == 1
    assert SHORT_GOODBYE_LIMIT - 0.05 < consult.closed_at - gone < SHORT_GOODBYE_LIMIT + 0.3
