"""The journal of a transfer: each change of phase goes through it, to the clock, the log, the span and the listener.

It never acts: no step of a transfer begins, waits or ends because of it. Nor does a listener that raises end one.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from transfer.events import EventListener, Phase, TransferEvent
from transfer.outcome import TransferReason
from transfer.telemetry import Spans
from transfer.transcript import Said

logger = logging.getLogger("transfer")


class PhaseClock:
    """Seconds spent in each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.phase: Phase | None = None
        self._since = 0.0

    def enter(self, phase: Phase, now: float) -> None:
        if self.phase is not None:
            self.seconds[self.phase] = round(self.seconds.get(self.phase, 0.0) + now - self._since, 3)
        self.phase, self._since = phase, now


class Conversation(Protocol):
    """The part of a consult that the journal reads."""

    @property
    def room_name(self) -> str: ...

    @property
    def human_identity(self) -> str: ...

    @property
    def transcript(self) -> list[Said]: ...


class Journal:
    """The journal of one transfer; each attempt has its own part of it."""

    def __init__(self, transfer: str, call_reason: str = "", listener: EventListener | None = None) -> None:
        """`transfer`: the id of the transfer, which names it in the log and in the consult rooms."""
        self._transfer, self._call_reason, self._listener = transfer, call_reason, listener
        self._spans = Spans(transfer)
        self._attempts = 0

    def new_attempt(self, destination: str, consult: Conversation) -> AttemptJournal:
        """Attempts are numbered from 1, in the order of these calls. `destination`: its name, or a masked number."""
        self._attempts += 1
        return AttemptJournal(self, self._attempts, destination, consult)

    def enter(self, phase: Phase, reason: TransferReason | None = None) -> None:
        """The transfer as a whole enters a phase; the event has the number of the last attempt, and nothing else of it."""
        self._enter(phase, None, reason)

    def end(self, reason: TransferReason | None, seconds: dict[str, float]) -> None:
        """The transfer is over. `reason`: why it failed; None: the two are connected."""
        self._spans.end(reason, seconds)

    def _enter(
        self,
        phase: Phase,
        attempt: AttemptJournal | None,
        reason: TransferReason | None,
        bridge: str = "",
        bridge_reason: str = "",
    ) -> None:
        now = time.monotonic()
        number, destination = (attempt.number, attempt.destination) if attempt else (self._attempts, "")
        if attempt:
            attempt.clock.enter(phase, now)
        values = {"phase": phase.value, "transfer": self._transfer, "attempt": number, "monotonic": round(now, 3)}
        logger.info("transfer phase", extra={**values, **({"reason": reason.value} if reason else {})})
        self._spans.phase(phase, number, destination, reason)
        if self._listener is None:
            return
        event = TransferEvent(
            transfer=self._transfer,
            phase=phase,
            at=now,
            attempt=number,
            destination=destination,
            consult_room=attempt.consult.room_name if attempt else "",
            human_identity=attempt.consult.human_identity if attempt else "",
            call_reason=self._call_reason,
            reason=reason,
            transcript=tuple(attempt.consult.transcript) if attempt else (),
            bridge=bridge,
            bridge_reason=bridge_reason,
        )
        try:
            self._listener(event)
        except Exception:
            logger.exception("the listener of a transfer's events failed in the phase %s", phase.value)


class AttemptJournal:
    """One attempt's part of the journal."""

    def __init__(self, journal: Journal, number: int, destination: str, consult: Conversation) -> None:
        self._journal = journal
        self.number = number
        """Counts the attempts of the transfer, from 1."""
        self.destination = destination
        self.consult = consult
        self.clock = PhaseClock()

    def enter(
        self, phase: Phase, reason: TransferReason | None = None, *, bridge: str = "", bridge_reason: str = ""
    ) -> None:
        """The attempt enters a phase. `bridge`, `bridge_reason`: how the two are connected, and why so."""
        self._journal._enter(phase, self, reason, bridge, bridge_reason)

    def said(self, said: Said) -> None:
        """An utterance, for the span."""
        self._journal._spans.said(self.number, said)

    def decided(self, reason: TransferReason | None) -> None:
        """The last phase is over, for the clock. `reason`: why the attempt failed; None: the human is connected."""
        self.clock.enter(Phase.FAILED if reason else Phase.BRIDGED, time.monotonic())

    def end(self, reason: TransferReason | None, sip_status_code: int | None = None) -> None:
        """The phone is hung up, or is no longer ours to hang up: the span ends."""
        self._journal._spans.end_attempt(self.number, reason, sip_status_code)
