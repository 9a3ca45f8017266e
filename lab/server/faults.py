"""A bad network between one participant and the server, for tests: loss, jitter and cuts of its media."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable


class NetworkFaults:
    """Acts on both directions of one participant's media. The defaults are a perfect network."""

    def __init__(self, seed: int, identity: str = "") -> None:
        self.loss = 0.0
        """Share of packets that are dropped, 0 to 1."""
        self.jitter = 0.0
        """Seconds that a packet is held back at most; packets overtake each other."""
        self.cut = False
        """True: nothing passes, connectivity checks included."""
        self._random = random.Random(f"{seed}:{identity}")  # everybody a pattern of their own, the same in every run

    def pass_on(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        if self.cut or (self.loss and self._random.random() < self.loss):
            return
        if self.jitter:
            asyncio.get_running_loop().call_later(self._random.uniform(0, self.jitter), deliver, data)
        else:
            deliver(data)
