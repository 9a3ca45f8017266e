"""Waiting for an expected condition, for tests and measurements: never longer than it takes, never forever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT = 20.0
"""Seconds to wait for an expected condition; far more than it takes on a quiet machine."""


T = TypeVar("T")


async def until(condition: Callable[[], T], what: str, limit: float = LIMIT, every: float = 0.01) -> T:
    """The first true value of `condition`, asked at intervals of `every` seconds; fails, naming `what`, when none comes within
    `limit` seconds. A check that costs more than a millisecond must not run a hundred times a second on the lab's own loop.
    """
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        await asyncio.sleep(every)
    return value
