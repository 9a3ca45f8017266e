"""An adaptive playout buffer: smooths a stream of 20 ms frames, grows after a late burst and shrinks again."""

from __future__ import annotations

from collections import deque

import numpy as np

LEAST, MOST = 3, 12
"""Frames collected on purpose: 60 ms to start with, 240 ms at most."""
CAPACITY = 100
"""Frames (2 s) of a late burst that are kept, as WebRTC's own buffer does: late words are nevertheless words."""
CATCH_UP, PATIENCE = 2, 10
"""With more than MOST waiting, the quietest of them is dropped at every second take, at every tenth while all are loud."""
QUIET = 0.25
"""Share of the loudest frame that waits."""
CALM = 100
"""Frames (2 s) without need after which the buffer shrinks by one."""


class PlayoutBuffer:
    """`put` what arrives, `take` one frame every 20 ms; None means that there is nothing to play.

    Without a buffer one late packet makes a hole in every second frame from then on; one that never shrinks keeps the
    caller that much further away for the rest of the call.
    """

    def __init__(self, frame_ticks: int) -> None:
        self.target = LEAST
        """Frames that are collected before playing begins."""
        self._frame_ticks = frame_ticks
        """Timestamp units of one frame."""
        self._frames: deque[np.ndarray] = deque()
        self._expected: int | None = None
        self._playing = False
        self._starved = False
        self._waited = 0
        self._spare = MOST
        self._calm = 0
        self._late = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, samples: np.ndarray, timestamp: int) -> None:
        """Drops frames older than those put before."""
        ahead = 0 if self._expected is None else (timestamp - self._expected) & 0xFFFFFFFF
        if ahead >= 0x80000000:
            return
        if self._starved and ahead == 0 and self.target < MOST:
            self.target += 1  # it was late: a pause of the sender would have left a gap in the timestamps
        self._starved = False
        self._expected = (timestamp + self._frame_ticks) & 0xFFFFFFFF
        self._frames.append(samples)
        if len(self._frames) > CAPACITY:
            self._frames.popleft()

    def take(self) -> np.ndarray | None:
        if not self._playing and not self._ready():
            return None
        if not self._frames:
            self._playing, self._starved, self._waited = False, True, 0
            return None
        self._shrink()
        if len(self._frames) > MOST:
            self._catch_up()
        return self._frames.popleft()

    def _ready(self) -> bool:
        """Playing begins when enough frames have come, or when the first ones have waited as long as that would have taken."""
        if self._frames:
            self._waited += 1
            self._playing = len(self._frames) >= self.target or self._waited > self.target
        return self._playing

    def _shrink(self) -> None:
        self._calm += 1
        self._spare = min(self._spare, len(self._frames) - 1)
        if self._calm < CALM:
            return
        if self._spare >= LEAST - 1 and len(self._frames) > LEAST:
            self._drop_quietest()
        if self._spare > 0 and self.target > LEAST:
            self.target -= 1
        self._calm, self._spare = 0, MOST

    def _catch_up(self) -> None:
        self._late += 1
        if self._late % CATCH_UP == 0:
            self._drop_quietest(unless_loud=self._late % PATIENCE != 0)

    def _drop_quietest(self, *, unless_loud: bool = False) -> None:
        """Drops the waiting frame that is missed least."""
        loudness = [int(np.abs(frame.astype(np.int32)).max(initial=0)) for frame in self._frames]
        if not (unless_loud and min(loudness) > QUIET * max(loudness)):
            del self._frames[loudness.index(min(loudness))]


class Pacer:
    """A 20 ms clock that does not drift: how many ticks are due now."""

    TICK = 0.02
    BURST = 5
    """Ticks that are made up for at once after a stall; the rest is dropped."""

    def __init__(self, now: float) -> None:
        self.next = now + self.TICK

    def due(self, now: float) -> int:
        ticks = int((now - self.next) / self.TICK) + 1 if now >= self.next else 0
        self.next += ticks * self.TICK
        return min(ticks, self.BURST)
