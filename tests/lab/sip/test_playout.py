"""The playout buffer: late packets make it grow once, calm makes it shrink."""

from __future__ import annotations

import numpy as np

from lab.sip.playout import CALM, CAPACITY, LEAST, MOST, PATIENCE, Pacer, PlayoutBuffer

FRAME = 160


def frame(value: int) -> np.ndarray:
    return np.full(FRAME, value, np.int16)


def steady(buffer: PlayoutBuffer, start: int, count: int) -> list[bool]:
    """One frame in, one out; which of those out were holes."""
    holes = []
    for number in range(start, start + count):
        buffer.put(frame(number % 1000), number * FRAME)
        holes.append(buffer.take() is None)
    return holes


def test_after_a_late_burst_it_grows_and_every_further_frame_is_played() -> None:
    buffer = PlayoutBuffer(FRAME)
    assert not any(steady(buffer, 0, 50)[LEAST:])
    late = 5
    assert [buffer.take() is None for _ in range(late)][-1]  # nothing comes for 100 ms
    for number in range(50, 50 + late):  # all at once
        buffer.put(frame(number), number * FRAME)
    assert buffer.target == LEAST + 1
    assert not any(steady(buffer, 50 + late, 50))


def test_in_calm_it_gives_back_what_it_grew() -> None:
    buffer = PlayoutBuffer(FRAME)
    steady(buffer, 0, 10)
    for number in range(10, 16):
        buffer.put(frame(number), number * FRAME)
    assert len(buffer) > LEAST
    assert not any(steady(buffer, 16, 8 * CALM))
    assert len(buffer) <= LEAST


def test_words_that_come_late_are_heard_and_the_silence_after_them_makes_up_for_it() -> None:
    buffer = PlayoutBuffer(FRAME)
    steady(buffer, 0, 10)
    words = range(10, 10 + 3 * MOST)
    for number in words:  # the lab itself was held up: all at once
        buffer.put(frame(1000 + number), number * FRAME)
    heard = []
    for number in range(words.stop, words.stop + 2 * MOST * PATIENCE):
        buffer.put(frame(0), number * FRAME)
        heard.append(buffer.take())
    loud = [int(samples[0]) for samples in heard if samples is not None and samples[0] >= 1000]
    assert loud == [1000 + number for number in words]
    assert len(buffer) <= MOST


def test_a_burst_never_takes_more_than_its_limit() -> None:
    buffer = PlayoutBuffer(FRAME)
    for number in range(CAPACITY + 50):
        buffer.put(frame(number), number * FRAME)
    assert len(buffer) == CAPACITY


def test_old_frames_are_dropped_and_a_pause_of_the_speaker_is_no_lateness() -> None:
    buffer = PlayoutBuffer(FRAME)
    steady(buffer, 0, 10)
    before = len(buffer)
    buffer.put(frame(1), FRAME)
    assert len(buffer) == before
    while buffer.take() is not None:
        pass
    buffer.put(frame(1), 100 * FRAME)  # the timestamps have a gap: the speaker was silent
    assert buffer.target == LEAST


def test_the_clock_does_not_drift_and_makes_up_for_a_short_stall_only() -> None:
    pacer = Pacer(100.0)
    assert sum(pacer.due(100.0 + 0.02 * n + 0.005) for n in range(1, 501)) == 500
    assert pacer.due(101.0 + 10.0) == Pacer.BURST
