"""Tones that stand for texts: read as they were said, by one core."""

from __future__ import annotations

import time

import numpy as np

from lab.ai.tones import RATE, ToneCode

TEXTS = ["Hello.", "Shall I connect you?", "You are now connected. I will leave you to it."]


def test_texts_are_read_in_their_order() -> None:
    code = ToneCode()
    pause = np.zeros(RATE // 2, np.int16)
    said = np.concatenate([part for text in TEXTS for part in (code.synthesize(text), pause)])
    assert code.read_all(said, RATE) == TEXTS


def test_reading_takes_one_core() -> None:
    """Spinning threads of the matrix library once took from the calls what the lab runs beside them."""
    code = ToneCode()
    said = np.concatenate([code.synthesize(text) for text in TEXTS])
    began, worked = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < 0.3:
        code.read_all(said, RATE)
    assert time.process_time() - worked < 1.3 * (time.perf_counter() - began)
