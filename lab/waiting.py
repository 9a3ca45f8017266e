"""Waiting for what is expected, for tests and measurements: never longer than it takes, never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT = 20.0
"""Seconds to wait for what is expected; far more than it takes on a quiet machine."""


T = TypeVar("T")


async def until(condition: Callable[[], T], what: str, limit: float = LIMIT, every: float = 0.01) -> T:
    """The first true value of `condition`, asked `every` so many seconds; fails, naming `what`, when there is none within
    `limit` seconds. What costs more than a millisecond is not asked a hundred times a second: it runs on the lab's own loop.
    """
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        await asyncio.sleep(every)
    return value
