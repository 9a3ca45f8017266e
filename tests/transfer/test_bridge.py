"""How a bridge is given up."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from transfer.bridge import RelayBridge


class Relay:
    """One that takes its time to be in both rooms, and to leave them."""

    def __init__(self) -> None:
        self.starts, self.started, self.has_left = asyncio.Event(), asyncio.Event(), False

    async def start(self) -> None:
        await self.starts.wait()
        self.started.set()

    async def stop(self) -> None:
        await asyncio.sleep(0.5)
        self.has_left = True


@pytest.mark.parametrize("in_time", [False, True])
async def test_who_hangs_up_while_the_rooms_are_joined_does_not_wait_for_the_relay_to_leave(
    monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    nothing: Any = SimpleNamespace()
    bridge, relay = RelayBridge(nothing, nothing, lambda: "caller"), Relay()
    monkeypatch.setattr(bridge, "_take", lambda consult, after_move: relay)
    connecting = asyncio.create_task(bridge.connect(nothing))
    await asyncio.sleep(0.05)
    if in_time:  # the two are connected in the very moment
        relay.starts.set()
        await relay.started.wait()
    began = time.monotonic()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert time.monotonic() - began < 0.2
    await bridge.aclose()
    assert relay.has_left
