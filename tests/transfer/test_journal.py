"""The journal: each change of phase reaches the clock, the log, the span and the listener, and changes nothing itself."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from transfer import journal as journal_module
from transfer.events import Phase, TransferEvent
from transfer.journal import Journal
from transfer.outcome import TransferReason
from transfer.telemetry import DESTINATION, Spans
from transfer.transcript import Said


@dataclass
class Consult:
    room_name: str = "consult-1"
    human_identity: str = "human-agent-1"
    transcript: list[Said] = field(default_factory=list)


class Clock:
    """The time in seconds, as the tests set it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(journal_module, "time", made)
    return made


def phases_logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What is added to the records, without what every record has."""
    known = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
    lines = [record for record in caplog.records if record.getMessage() == "transfer phase"]
    return [{name: value for name, value in line.__dict__.items() if name not in known} for line in lines]


def test_clock_counts_the_seconds_of_each_phase(clock: Clock) -> None:
    attempt = Journal("transfer-1").new_attempt("Sarah", Consult())
    for phase, seconds in ((Phase.DIAL, 0.5), (Phase.RINGING, 3.0), (Phase.ANSWERED, 0.25), (Phase.RINGING, 1.0)):
        attempt.enter(phase)
        clock.now += seconds
    attempt.decided(TransferReason.BUSY)
    assert attempt.clock.seconds == {"dial": 0.5, "ringing": 4.0, "answered": 0.25}
    assert attempt.clock.phase is Phase.FAILED


def test_clock_of_an_attempt_runs_for_its_own_phases_alone(clock: Clock) -> None:
    journal = Journal("transfer-1")
    first, second = (journal.new_attempt(name, Consult()) for name in ("Sarah", "Tom"))
    first.enter(Phase.DIAL)
    clock.now += 1.0
    second.enter(Phase.DIAL)
    clock.now += 1.0
    journal.enter(Phase.FAILED, TransferReason.HOLD_LIMIT)
    first.decided(None)
    assert (first.clock.seconds, first.clock.phase) == ({"dial": 2.0}, Phase.BRIDGED)
    assert (second.clock.seconds, second.clock.phase) == ({}, Phase.DIAL)


def test_log_line_has_what_benchmarks_and_the_lab_read(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal("transfer-1")
    with caplog.at_level(logging.INFO, "transfer"):
        journal.enter(Phase.HOLD)
        journal.new_attempt("Sarah", Consult()).enter(Phase.ATTEMPT_FAILED, TransferReason.BUSY)
        clock.now = 107.1234
        journal.enter(Phase.FAILED, TransferReason.BUSY)
    assert phases_logged(caplog) == [
        {"phase": "hold", "transfer": "transfer-1", "attempt": 0, "monotonic": 100.0},
        {"phase": "attempt_failed", "transfer": "transfer-1", "attempt": 1, "monotonic": 100.0, "reason": "busy"},
        {"phase": "failed", "transfer": "transfer-1", "attempt": 1, "monotonic": 107.123, "reason": "busy"},
    ]
    assert all(type(line["phase"]) is str and type(line.get("reason", "")) is str for line in phases_logged(caplog))


def test_span_of_an_attempt_has_its_phases_its_words_and_its_end(exported: InMemorySpanExporter) -> None:
    journal = Journal("transfer-1")
    journal.enter(Phase.HOLD)
    attempt = journal.new_attempt("Sarah", Consult())
    attempt.enter(Phase.DIAL)
    attempt.said(Said("human", "Hello."))
    attempt.end(TransferReason.BUSY, 486)
    journal.end(TransferReason.BUSY, {"hold": 2.0})
    dialled, transfer = exported.get_finished_spans()
    assert [event.name for event in transfer.events] == ["hold"]
    assert [event.name for event in dialled.events] == ["dial", "said"]
    told = dict(dialled.attributes or {})
    assert (told[DESTINATION], told["transfer.outcome"], told["transfer.sip_status_code"]) == ("Sarah", "busy", 486)
    assert dict(transfer.attributes or {})["transfer.outcome"] == "busy"


def test_listener_gets_reasons_and_names_and_where_the_human_is(clock: Clock) -> None:
    events: list[TransferEvent] = []
    journal, consult = Journal("transfer-1", "a bill", events.append), Consult()
    journal.enter(Phase.HOLD)
    attempt = journal.new_attempt("Sarah", consult)
    consult.transcript.append(Said("human", "Hello."))
    attempt.enter(Phase.ATTEMPT_FAILED, TransferReason.DECLINED)
    consult.transcript.append(Said("human", "Sorry."))
    attempt.enter(Phase.BRIDGED, bridge="move", bridge_reason="as set")
    journal.enter(Phase.FAILED, TransferReason.HOLD_LIMIT)
    common: dict[str, Any] = {"transfer": "transfer-1", "at": 100.0, "call_reason": "a bill"}
    of_attempt: dict[str, Any] = {
        "destination": "Sarah",
        "consult_room": "consult-1",
        "human_identity": "human-agent-1",
    }
    hello, sorry = consult.transcript
    assert events == [
        TransferEvent(**common, phase=Phase.HOLD, attempt=0),
        TransferEvent(
            **common,
            **of_attempt,
            phase=Phase.ATTEMPT_FAILED,
            attempt=1,
            reason=TransferReason.DECLINED,
            transcript=(hello,),
        ),
        TransferEvent(
            **common,
            **of_attempt,
            phase=Phase.BRIDGED,
            attempt=1,
            transcript=(hello, sorry),
            bridge="move",
            bridge_reason="as set",
        ),
        TransferEvent(**common, phase=Phase.FAILED, attempt=1, reason=TransferReason.HOLD_LIMIT),
    ]
    assert events[1].reason == "declined", "comparison with words goes on working"


def test_event_can_be_written_as_json() -> None:
    events: list[TransferEvent] = []
    journal = Journal("transfer-1", listener=events.append)
    journal.enter(Phase.HOLD)
    journal.enter(Phase.FAILED, TransferReason.BUSY)
    written = [json.loads(json.dumps(asdict(event))) for event in events]
    assert [(event["phase"], event["reason"]) for event in written] == [("hold", None), ("failed", "busy")]


def test_listener_hears_of_a_phase_when_clock_log_and_span_have_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            order.append("log")

    def on_event(event: TransferEvent) -> None:
        order.append("event")
        assert attempt.clock.phase is Phase.DIAL

    def span(*_: object) -> None:
        order.append("span")

    monkeypatch.setattr(Spans, "phase", span)
    monkeypatch.setattr(journal_module.logger, "handlers", [Handler()])
    caplog.set_level(logging.INFO, "transfer")
    attempt = Journal("transfer-1", listener=on_event).new_attempt("Sarah", Consult())
    attempt.enter(Phase.DIAL)
    assert order == ["log", "span", "event"]


def test_listener_that_raises_costs_a_log_line_and_no_transfer(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Phase] = []

    def on_event(event: TransferEvent) -> None:
        heard.append(event.phase)
        raise ValueError("the owner's own trouble")

    journal = Journal("transfer-1", listener=on_event)
    journal.enter(Phase.HOLD)
    journal.new_attempt("Sarah", Consult()).enter(Phase.DIAL)
    assert heard == [Phase.HOLD, Phase.DIAL], "it is told of what comes, too"
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        "the listener of a transfer's events failed in the phase hold",
        "the listener of a transfer's events failed in the phase dial",
    ]
    assert all(record.exc_info for record in errors)
