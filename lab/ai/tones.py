"""Speech for tests that are about logic: real audio that stands for a text, made and read in no time.

A text gets a number of 15 bits, and its sound is that number, again and again, as single tones of 50 ms: a start tone and
five symbols, of two alphabets in turn so that neighbours always differ. Tones pass G.711, Opus, resampling and the
stretching of a jitter buffer, and stay clear of the pilots (2900 and 3200 Hz).
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

RATE = 24000
"""Hz of the sound that is made."""
SYMBOL = 0.05
"""Seconds."""
START = 600.0
ALPHABETS = ([800.0 + 100 * n for n in range(8)], [1650.0 + 100 * n for n in range(8)])
TONES = np.array([START, *ALPHABETS[0], *ALPHABETS[1]])
SYMBOLS = 5
BITS = 3
NUMBERS = 1 << BITS * SYMBOLS
SECONDS_PER_WORD = 0.04
LEAST_BLOCKS = 2
AMPLITUDE = 9000.0
FRAME = 0.01
"""Seconds between two looks at the sound."""
LEAST_HEARD, LEAST_AHEAD = 6, 2
"""Symbols that make a text likely: this many of its own, and this many more than of any other."""


class ToneCode:
    """Remembers which number stands for which text: only the code that spoke can read."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def number(self, text: str) -> int:
        """The same text gets the same number; another text never the same."""
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % NUMBERS
        while self._texts.setdefault(number, text) != text:
            number = (number + 1) % NUMBERS
        return number

    def synthesize(self, text: str) -> np.ndarray:
        """16-bit samples at 24 kHz: at least 0.6 s, and 40 ms a word."""
        block = _block_of(self.number(text))
        blocks = max(LEAST_BLOCKS, round(len(text.split()) * SECONDS_PER_WORD / (SYMBOL * len(block))))
        return np.concatenate([_tone(hertz) for hertz in block * blocks] + [_tone(START)])

    def read(self, samples: np.ndarray, rate: int) -> str:
        """The first text whose sound is in `samples`, or the one of which they seem to be a part; empty when there is none."""
        heard = _symbols(samples, rate)
        return next(iter(self._texts_in(heard)), "") or self._likely(heard)

    def read_all(self, samples: np.ndarray, rate: int) -> list[str]:
        """The texts in `samples` in their order; one that is said again at once counts once."""
        return self._texts_in(_symbols(samples, rate))

    def _likely(self, heard: list[float]) -> str:
        """The guess of a listener on a bad line: no block has come through whole, but only one text fits."""
        if len(heard) < LEAST_HEARD:
            return ""
        found = sorted(
            (_in_common(heard, _block_of(number) * LEAST_BLOCKS), text) for number, text in self._texts.items()
        )
        best, text = found[-1] if found else (0, "")
        second = found[-2][0] if len(found) > 1 else 0
        return text if best >= max(LEAST_HEARD, second + LEAST_AHEAD) else ""

    def _texts_in(self, heard: list[float]) -> list[str]:
        texts: list[str] = []
        for position, hertz in enumerate(heard):
            block = heard[position + 1 : position + 1 + SYMBOLS]
            if hertz == START and (text := self._block(block)) and texts[-1:] != [text]:
                texts.append(text)
        return texts

    def _block(self, tones: list[float]) -> str:
        places = [(ALPHABETS[place % 2], tone) for place, tone in enumerate(tones)]
        if len(tones) < SYMBOLS or not all(tone in alphabet for alphabet, tone in places):
            return ""
        return self._texts.get(sum(alphabet.index(tone) << BITS * n for n, (alphabet, tone) in enumerate(places)), "")


def _block_of(number: int) -> list[float]:
    symbols = [(number >> BITS * place) & 7 for place in range(SYMBOLS)]
    return [START, *(ALPHABETS[place % 2][symbol] for place, symbol in enumerate(symbols))]


def _in_common(first: list[float], second: list[float]) -> int:
    """How many symbols of one are in the other in the same order (longest common subsequence)."""
    row = [0] * (len(second) + 1)
    for one in first:
        before, row = row, [0]
        for place, other in enumerate(second):
            row.append(before[place] + 1 if one == other else max(before[place + 1], row[-1]))
    return row[-1]


@functools.cache
def _tone(hertz: float) -> np.ndarray:
    """One symbol, with soft edges."""
    count = int(SYMBOL * RATE)
    edge = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.004 * RATE))
    return (AMPLITUDE * edge * np.sin(2 * np.pi * hertz / RATE * np.arange(count))).astype(np.int16)


@functools.cache
def _waves(rate: int, window: int) -> np.ndarray:
    """A column for each tone."""
    turns = TONES[:, None] / rate * np.arange(window)
    return np.asarray((np.exp(-2j * np.pi * turns) * np.hanning(window)).T)


def _symbols(samples: np.ndarray, rate: int) -> list[float]:
    """The tones in `samples`, one for each symbol."""
    window, hop = int(0.03 * rate), int(FRAME * rate)
    if len(samples) < window:
        return []
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(float), window)[::hop]
    strength = np.abs(frames @ _waves(rate, window))
    best = strength.argmax(axis=1)
    ordered = np.sort(strength, axis=1)
    clear = (ordered[:, -1] > 1.6 * ordered[:, -2]) & (ordered[:, -1] > 300 * window / 4)
    found: list[float] = []
    run, last = 0, -1
    for index, sure in zip(best, clear, strict=True):
        run = run + 1 if sure and index == last else (1 if sure else 0)
        last = int(index) if sure else -1
        if run == 2 and (not found or found[-1] != TONES[index]):
            found.append(float(TONES[index]))
    return found
