"""A transfer as OpenTelemetry spans, through LiveKit's tracer: `warm_transfer`, and `transfer_attempt` for each dial.

Transcripts and destinations stand in attributes with LiveKit's mark for personal data (`lk.pii.`), which its
exporters drop unless they are configured to keep them.
"""

from __future__ import annotations

from livekit.agents.telemetry import tracer
from opentelemetry import trace

from transfer.outcome import TransferReason
from transfer.transcript import Said

DESTINATION = "lk.pii.transfer.destination"
WHO, TEXT = "transfer.who", "lk.pii.transfer.text"


class Spans:
    """The spans of one transfer; an attempt is known by its number."""

    def __init__(self, transfer: str) -> None:
        self._transfer = tracer.start_span("warm_transfer", attributes={"transfer.id": transfer})
        self._attempts: dict[int, trace.Span] = {}

    def phase(self, phase: str, attempt: int, destination: str, reason: TransferReason | None) -> None:
        """One event in the span of the attempt, or of the transfer where there is none yet."""
        span = self._transfer
        if attempt and destination:
            span = self._attempts.get(attempt) or self._start(attempt, destination)
        span.add_event(phase, {"reason": reason.value} if reason else {})

    def _start(self, attempt: int, destination: str) -> trace.Span:
        span = tracer.start_span(
            "transfer_attempt",
            context=trace.set_span_in_context(self._transfer),
            attributes={"transfer.attempt": attempt, DESTINATION: destination},
        )
        self._attempts[attempt] = span
        return span

    def said(self, attempt: int, said: Said) -> None:
        if span := self._attempts.get(attempt):
            span.add_event("said", {WHO: said.who, TEXT: said.text})

    def end_attempt(self, attempt: int, reason: TransferReason | None, sip_status_code: int | None) -> None:
        if span := self._attempts.pop(attempt, None):
            _end(span, reason, {"transfer.sip_status_code": sip_status_code} if sip_status_code else {})

    def end(self, reason: TransferReason | None, seconds: dict[str, float]) -> None:
        _end(self._transfer, reason, {f"transfer.seconds.{phase}": value for phase, value in seconds.items()})


def _end(span: trace.Span, reason: TransferReason | None, attributes: dict[str, float]) -> None:
    """No reason: the two are connected."""
    outcome = reason.value if reason else "connected"
    span.set_attribute("transfer.outcome", outcome)
    for name, value in attributes.items():
        span.set_attribute(name, value)
    if reason:
        span.set_status(trace.StatusCode.ERROR, outcome)
    span.end()
