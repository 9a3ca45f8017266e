"""A transfer as spans: one for it, one for each dial, and what was said marked as personal data."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from transfer.outcome import TransferReason
from transfer.telemetry import TEXT, Spans
from transfer.transcript import Said


def test_a_transfer_is_one_span_with_a_child_for_each_dial(exported: InMemorySpanExporter) -> None:
    spans = Spans("transfer-1")
    spans.phase("hold", 0, "", None)
    spans.phase("dial", 1, "Sarah", None)
    spans.end_attempt(1, TransferReason.BUSY, 486)
    spans.phase("dial", 2, "Tom", None)
    spans.said(2, Said("human", "Hello."))
    spans.phase("bridged", 2, "Tom", None)
    spans.end(None, {"hold": 12.5})
    spans.end_attempt(2, None, None)
    by_name = [(span.name, dict(span.attributes or {})["transfer.outcome"]) for span in exported.get_finished_spans()]
    assert by_name == [
        ("transfer_attempt", "busy"),
        ("warm_transfer", "connected"),
        ("transfer_attempt", "connected"),
    ]
    busy, transfer, connected = exported.get_finished_spans()
    assert busy.parent and connected.parent and transfer.context
    assert {busy.parent.span_id, connected.parent.span_id} == {transfer.context.span_id}
    assert (busy.attributes or {})["transfer.sip_status_code"] == 486
    assert (transfer.attributes or {})["transfer.seconds.hold"] == 12.5
    assert [event.name for event in connected.events] == ["dial", "said", "bridged"]
    assert dict(connected.events[1].attributes or {})[TEXT] == "Hello."
    assert not busy.status.is_ok and connected.status.status_code is trace.StatusCode.UNSET


def test_what_was_said_carries_livekit_s_mark_for_personal_data() -> None:
    assert "pii" in TEXT.split(".")
