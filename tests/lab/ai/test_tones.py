"""Tones that stand for texts: read as they were said, by one core."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lab.ai.tones import RATE, ToneCode

TEXTS = ["Hello.", "Shall I connect you?", "You are now connected. I will leave you to it."]


def test_texts_are_read_in_their_order() -> None:
    code = ToneCode()
    pause = np.zeros(RATE // 2, np.int16)
    said = np.concatenate([part for text in TEXTS for part in (code.synthesize(text), pause)])
    assert code.read_all(said, RATE) == TEXTS


@pytest.mark.parametrize("lost", [0.1, 0.2, 0.3])
def test_a_text_of_which_a_part_is_lost_is_read_all_the_same_and_never_as_another(lost: float) -> None:
    code = ToneCode()
    texts = [f"Sentence {number}." for number in range(60)]
    spoken = [code.synthesize(text) for text in texts]
    gap, read = round(lost * RATE), []
    for text, samples in zip(texts, spoken, strict=True):
        for begin in range(0, len(samples) - gap, gap):
            found = code.read(np.concatenate([samples[:begin], samples[begin + gap :]]), RATE)
            assert found in (text, "")
            read.append(found == text)
    assert np.mean(read) > 0.95


def test_what_says_nothing_is_read_as_nothing() -> None:
    code = ToneCode()
    for text in TEXTS:
        code.synthesize(text)
    noise = np.random.default_rng(1).normal(0, 3000, 10 * RATE).astype(np.int16)
    assert code.read(noise, RATE) == ""


def test_reading_takes_one_core() -> None:
    """Spinning threads of the matrix library once took from the calls what the lab runs beside them."""
    code = ToneCode()
    said = np.concatenate([code.synthesize(text) for text in TEXTS])
    began, worked = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < 0.3:
        code.read_all(said, RATE)
    assert time.process_time() - worked < 1.3 * (time.perf_counter() - began)
