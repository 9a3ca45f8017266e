"""What an attempt does at which moment, and how it ends."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lab.waiting import until
from transfer import attempt as attempt_module
from transfer.attempt import SHORT_GOODBYE_LIMIT, Attempt, ConsultOptions
from transfer.consult import Accepted, ConsultAgent
from transfer.dial import Destination
from transfer.events import Phase, TransferEvent
from transfer.journal import Journal
from transfer.outcome import TransferReason, WarmTransferError
from transfer.transcript import Said


class Handle:
    async def wait_for_playout(self) -> None:
        await asyncio.Event().wait()


class Consult:
    """One whose human is there, and whose goodbye never ends."""

    is_away = False
    room_name, human_identity = "consult-1", "human-agent-1"

    def __init__(self) -> None:
        self.transcript: list[Said] = []
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


async def test_a_busy_machine_takes_its_time_from_the_goodbye_and_not_from_the_end_of_the_call() -> None:
    nothing: Any = SimpleNamespace(voicemail_message="")
    consult: Any = Consult()
    journal = Journal("transfer-1").new_attempt("Sarah", consult)
    attempt = Attempt(nothing, nothing, Destination("+12025550141"), consult, nothing, nothing, nothing, journal)
    journal.enter(Phase.BRIEF)
    gone = time.monotonic() - 1.0
    await attempt.close(WarmTransferError(TransferReason.CALLER_HUNG_UP), gone)
    assert consult.goodbyes == 1
    assert SHORT_GOODBYE_LIMIT - 0.05 < consult.closed_at - gone < SHORT_GOODBYE_LIMIT + 0.3


class Spoken:
    """What is played at once."""

    interrupted = False

    async def wait_for_playout(self) -> None:
        """It has been played."""


class Part:
    """A part of the briefing."""

    def say(self, session: Any, *, allow_interruptions: bool = True) -> Spoken:
        return Spoken()


class Talk:
    """A consult with a human who says nothing and takes the call when they are briefed."""

    room_name, human_identity = "consult-1", "human-agent-1"

    def __init__(self) -> None:
        self.transcript: list[Said] = []
        self.human_ringing, self.human_active = asyncio.Event(), asyncio.Event()
        self.human_left, self.has_ears = asyncio.Event(), asyncio.Event()
        self.has_ears.set()
        self.agent: ConsultAgent | None = None
        self.session = SimpleNamespace(user_state="listening", interrupt=self._interrupt)

    async def _interrupt(self) -> None:
        """Nothing is said."""

    async def join(self, session: Any, agent: ConsultAgent) -> None:
        self.agent = agent

    async def decision(self) -> Accepted:
        await until(lambda: self.agent is not None and self.agent.asked, "the human is briefed")
        return Accepted()


class Dialling:
    """A phone that rings, or is picked up at once."""

    def __init__(self, *, rings: bool) -> None:
        self.rings = rings

    async def dial(self, job: Any, destination: Destination, consult: Any) -> None:
        if self.rings:
            consult.human_ringing.set()
            await asyncio.sleep(0.02)
        consult.human_active.set()


class Bridge:
    def __init__(self, steps: list[str]) -> None:
        self.steps = steps

    def prepare(self) -> None:
        self.steps.append("prepares")

    def join_ahead(self, consult: Any) -> None:
        assert consult.room_name == Talk.room_name
        self.steps.append("joins ahead")


async def steps_of(monkeypatch: pytest.MonkeyPatch, *, rings: bool, joins_ahead: bool) -> list[str]:
    """Phases that are told and what the bridge is asked for, of an attempt that ends well."""
    monkeypatch.setattr(attempt_module, "SILENCE_BEFORE_BRIEFING", 0.01)
    steps: list[str] = []

    def on_event(event: TransferEvent) -> None:
        steps.append(event.phase.value)

    async def settled(limit: float) -> None:
        """The briefing is written."""

    consult, line, bridge, agent = Talk(), Dialling(rings=rings), Bridge(steps), {"tools": [], "instructions": ""}
    options: Any = ConsultOptions(line, agent, {}, 10.0, joins_ahead=joins_ahead)
    briefing: Any = SimpleNamespace(opening=Part(), details=Part(), settle=settled)
    caller: Any = SimpleNamespace(turn_detection=None, stt=None, vad=None, llm=None, tts=None)
    nothing: Any = SimpleNamespace()
    talk: Any = consult
    walked: Any = bridge
    journal = Journal("transfer-1", listener=on_event).new_attempt("Sarah", talk)
    await Attempt(nothing, caller, Destination("+12025550141"), talk, options, briefing, walked, journal).run()
    return steps


async def test_relay_is_prepared_when_the_phone_rings_and_joins_at_the_briefing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await steps_of(monkeypatch, rings=True, joins_ahead=True) == [
        *("dial", "ringing", "prepares"),
        *("answered", "prepares"),
        *("brief", "joins ahead"),
    ]


async def test_relay_is_prepared_for_a_phone_that_is_picked_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = await steps_of(monkeypatch, rings=False, joins_ahead=True)
    assert steps == ["dial", "answered", "prepares", "brief", "joins ahead"]


async def test_relay_does_not_join_ahead_when_several_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "joins ahead" not in await steps_of(monkeypatch, rings=True, joins_ahead=False)


async def test_record_of_an_attempt_has_no_whole_number() -> None:
    nothing: Any = SimpleNamespace()
    consult: Any = Consult()
    destination = Destination("+12025550141")
    journal = Journal("transfer-1").new_attempt(destination.label, consult)
    record = Attempt(nothing, nothing, destination, consult, nothing, nothing, nothing, journal).record()
    assert record.destination == "+12…41"
