"""Each module has one worker on one lab."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.desk import Desk, open_desk


@pytest_asyncio.fixture(loop_scope="module")
async def no_call_left(desk: Desk) -> AsyncIterator[None]:
    """A test that fails does not disturb the next one."""
    yield
    await desk.end_calls()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path_factory.mktemp("desk")) as made:
        yield made
