"""The sound of an ear or a mouth, frame by frame on the monotonic clock."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from lab.sip import g711

LEAD_IN = 5
"""Frames."""


@dataclass
class Recording:
    """Frames of 16-bit samples at 8 kHz with the time (`time.monotonic()`) at which each began."""

    frames: list[tuple[float, np.ndarray]] = field(default_factory=list)

    def append(self, at: float, samples: np.ndarray) -> None:
        self.frames.append((at, samples))

    def pcm(self, start: float, end: float) -> np.ndarray:
        """The samples from `start` to `end`, zero where no frame was."""
        total = max(0, round((end - start) * g711.RATE))
        out = np.zeros(total, np.int16)
        cursor: int | None = None
        # Starts a little before: the frames at `start` then lie as if the whole recording had been laid out.
        first_frame = max(0, bisect_left(self.frames, start, key=lambda frame: frame[0]) - LEAD_IN)
        for at, samples in itertools.islice(self.frames, first_frame, None):
            if at > end:
                break
            place = round((at - start) * g711.RATE)
            # The clock that stamps the frames wobbles by a few ms; frames that follow each other are laid end to end.
            if cursor is not None and abs(place - cursor) <= g711.FRAME:
                place = cursor
            cursor = place + len(samples)
            first, last = max(place, 0), min(cursor, total)
            if first < last:
                out[first:last] = samples[first - place : last - place]
        return out
