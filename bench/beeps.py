"""Sound that can be found again: when a phone said it and when another one heard it, to a millisecond.

The frames of a phone are stamped when its clock gets round to them, which is late on a busy machine. They are laid
out here as a loudspeaker plays them: one every 20 ms.
"""

from __future__ import annotations

import statistics

import numpy as np

from lab.sip import g711

Frames = list[tuple[float, np.ndarray]]
"""Of a `lab.sip.recording.Recording`."""

TICK = g711.FRAME / g711.RATE
"""Seconds of a frame."""
BLOCK_FRAMES = 60
"""Frames from one beep to the next: 1.2 s, longer than any delay at which people can still talk."""
BEEP_FRAME = 15
"""The frame of a block with which its beep begins."""
BEEP_SAMPLES = 6 * g711.FRAME
BEEP_HERTZ = (500.0, 2500.0)
"""A rising tone: it matches itself in one place only, and passes G.711 and Opus at 8 kHz."""
BEEP_AMPLITUDE, NOISE_AMPLITUDE = 9000.0, 500.0
LONGEST = 1.0
"""Seconds after which a beep counts as lost."""
LIKENESS = 0.5
"""Normalized correlation from which a sound is the beep; codecs leave 0.9, noise has 0.15."""
NOTHING = 10
"""Highest sample of a frame in which nothing came: the noise of the other frames is far above."""


def _beep() -> np.ndarray:
    time = np.arange(BEEP_SAMPLES) / g711.RATE
    low, high = BEEP_HERTZ
    phase = 2 * np.pi * (low * time + (high - low) * time**2 / (2 * BEEP_SAMPLES / g711.RATE))
    return BEEP_AMPLITUDE * np.hanning(BEEP_SAMPLES) * np.sin(phase)


BEEP = _beep()


def _block() -> np.ndarray:
    block = NOISE_AMPLITUDE * np.random.default_rng(1).standard_normal(BLOCK_FRAMES * g711.FRAME)
    block[BEEP_FRAME * g711.FRAME :][:BEEP_SAMPLES] += BEEP
    return block.astype(np.int16)


BLOCK = _block()
FIRST_OF_BEEP = BLOCK[BEEP_FRAME * g711.FRAME :][: g711.FRAME]


def talk(seconds: float) -> np.ndarray:
    """At least `seconds` of sound without a pause, for a phone's mouth: noise with a beep every 1.2 s."""
    return np.tile(BLOCK, int(np.ceil(seconds / (BLOCK_FRAMES * TICK))))


def moments(frames: Frames) -> np.ndarray:
    """When each frame was due, in monotonic seconds: its clock never runs ahead, and is late only for a while."""
    steady = TICK * np.arange(len(frames))
    late = np.array([at for at, _ in frames]) - steady
    # A clock that was stopped for long skips ticks: all later frames are late, so only the frames that follow count.
    due: np.ndarray = np.minimum.accumulate(late[::-1])[::-1] + steady
    return due


def find(sound: np.ndarray) -> int | None:
    """The sample with which the beep begins; None where there is none."""
    sound = sound.astype(np.float64)
    if len(sound) < BEEP_SAMPLES:
        return None
    energy = np.concatenate([[0.0], np.cumsum(sound**2)])
    power = np.maximum(energy[BEEP_SAMPLES:] - energy[:-BEEP_SAMPLES], 1.0)
    likeness = np.abs(np.correlate(sound, BEEP, "valid")) / np.sqrt(power * (BEEP**2).sum())
    best = int(likeness.argmax())
    return best if likeness[best] >= LIKENESS else None


def delays(mouth: Frames, ear: Frames) -> list[float | None]:
    """Seconds from mouth to ear of each beep that was said; None: it was not heard within a second.

    Beeps of the last second are left out. `mouth` and `ear` may belong to phones with clocks of their own.
    """
    if not mouth or not ear:
        return []
    said, heard = moments(mouth), moments(ear)
    samples = np.concatenate([frame for _, frame in ear])
    last = heard[-1] + TICK - LONGEST - BEEP_SAMPLES / g711.RATE
    found: list[float | None] = []
    for start, (_, frame) in zip(said, mouth, strict=True):
        if start > last or not np.array_equal(frame, FIRST_OF_BEEP):
            continue
        first = max(0, int(np.searchsorted(heard, start)) - 1)
        place = find(samples[first * g711.FRAME :][: round(LONGEST * g711.RATE) + BEEP_SAMPLES])
        if place is None:
            found.append(None)
        else:
            frame_index, within = divmod(first * g711.FRAME + place, g711.FRAME)
            found.append(float(heard[frame_index] + within / g711.RATE - start))
    return found


def median_heard(delays: list[float | None]) -> float | None:
    """The median of the beeps that were heard; None where none was."""
    heard = [delay for delay in delays if delay is not None]
    return statistics.median(heard) if heard else None


def holes(ear: Frames) -> int:
    """Number of frames in which nothing came, while the other person talks without a pause."""
    return sum(int(np.abs(frame.astype(np.int32)).max()) < NOTHING for _, frame in ear)
