"""What several tests of the transfer need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from livekit.agents import telemetry as livekit_telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    livekit_telemetry.set_tracer_provider(provider, allow_pii=True)
    yield exporter
    livekit_telemetry.set_tracer_provider(trace.get_tracer_provider())
