"""What every test is held to: it leaves no process behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psutil
import pytest

import lab as lab  # before numpy: it says how many threads that may have

CLEAN_UP_LIMIT = 10.0
"""Seconds within which what a test started has to be gone. On a quiet machine it takes none of it."""


def children() -> dict[int, str]:
    """The living child processes of this one, with their command lines."""
    found = {}
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in command:
                found[process.pid] = command
    return found


@pytest.fixture(autouse=True, scope="module")
def no_process_left() -> Iterator[None]:
    """A module's own processes (shared fixtures included) end with it."""
    before = children()
    yield
    limit = time.monotonic() + CLEAN_UP_LIMIT
    while left := {pid: command for pid, command in children().items() if pid not in before}:
        assert time.monotonic() < limit, f"processes left behind: {left}"
        time.sleep(0.05)
