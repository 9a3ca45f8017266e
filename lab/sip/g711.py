"""G.711, both laws, by table. Samples are 16-bit signed at 8 kHz."""

from __future__ import annotations

import numpy as np

PCMU, PCMA = 0, 8
"""Static RTP payload types (RFC 3551)."""
RATE = 8000
FRAME = 160
"""Samples in 20 ms."""


def _mu_law_values() -> np.ndarray:
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = ((mantissa.astype(np.int32) * 2 + 33) << exponent) - 33
    return np.where(code & 0x80, -magnitude, magnitude) * 4


def _a_law_values() -> np.ndarray:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = np.where(
        exponent == 0, mantissa * 2 + 1, (mantissa * 2 + 33) << np.maximum(exponent.astype(np.int32) - 1, 0)
    )
    return np.where(code & 0x80, magnitude, -magnitude) * 8


def _encoder(values: np.ndarray) -> np.ndarray:
    """For each of the 65,536 samples the code with the nearest value."""
    order = np.argsort(values, kind="stable")
    middles = (values[order][1:] + values[order][:-1]) / 2
    return order[np.searchsorted(middles, np.arange(-32768, 32768))].astype(np.uint8)


_VALUES = {PCMU: _mu_law_values().astype(np.int16), PCMA: _a_law_values().astype(np.int16)}
_CODES = {law: _encoder(values.astype(np.int32)) for law, values in _VALUES.items()}


def encode(samples: np.ndarray, law: int = PCMU) -> bytes:
    return bytes(_CODES[law][samples.astype(np.int32) + 32768])


def decode(payload: bytes, law: int = PCMU) -> np.ndarray:
    return _VALUES[law][np.frombuffer(payload, np.uint8)]
