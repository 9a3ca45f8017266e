"""A server for each test, and the proof that no relay process outlives it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from lab.server import LabServer
from tests.transfer.relay.support import lab_server, relay_processes


@pytest.fixture(autouse=True)
def no_relay_left() -> Iterator[None]:
    before = {process.pid for process in relay_processes()}
    yield
    end = time.monotonic() + 5
    while (left := {p.pid for p in relay_processes()} - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, "a relay process outlives its call"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LabServer]:
    async with lab_server() as made:
        yield made
