"""A server for each test, and the proof that stopping it leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from lab.server import LabServer, ServerSettings
from tests.lab.support import until

StartServer = Callable[..., Awaitable[LabServer]]


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """`await start_server(**settings)`; what it started is stopped after the test and must then be gone to the last task."""
    before = asyncio.all_tasks()
    servers: list[LabServer] = []

    async def start(**settings: Any) -> LabServer:
        server = LabServer(ServerSettings(**{"announce_interval": 0.1, **settings}))
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()
        assert not server.leftovers()

    def others() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]

    await until(lambda: not others(), f"no task is left of {others()}", limit=5)


@pytest.fixture
async def server(start_server: StartServer) -> LabServer:
    return await start_server()
