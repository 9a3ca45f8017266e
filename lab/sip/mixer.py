"""Sound between a telephone and a room: Opus at 8 kHz towards the room, a 20 ms mixer of all tracks towards the phone."""

from __future__ import annotations

import fractions

import av
import numpy as np

from lab.sip import g711
from lab.sip.playout import PlayoutBuffer

OPUS_CLOCK = 48000
"""Hz of Opus timestamps (RFC 7587), and the rate that libopus decodes to here."""
CLOCK_RATIO = OPUS_CLOCK // g711.RATE
BIT_RATE = 24000


class OpusEncoder:
    """One 20 ms frame of 8 kHz samples into one packet."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        codec.format, codec.layout, codec.sample_rate = "s16", "mono", g711.RATE
        codec.bit_rate = BIT_RATE
        codec.options = {"application": "voip", "frame_duration": "20"}
        codec.time_base = fractions.Fraction(1, g711.RATE)
        self._codec, self._position = codec, 0

    def encode(self, samples: np.ndarray) -> bytes:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = g711.RATE, self._position, self._codec.time_base
        self._position += len(samples)
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class Decimator:
    """From 48 kHz to 8 kHz: a low-pass of 3.7 kHz, of which every sixth value is kept. As many samples come out as went in."""

    TAPS = 199
    """Hamming window: 800 Hz from pass band to stop band at 48 kHz; 2 ms of delay."""
    CUTOFF = 3700.0

    def __init__(self) -> None:
        position = np.arange(self.TAPS) - (self.TAPS - 1) / 2
        kernel = np.sinc(2 * self.CUTOFF / OPUS_CLOCK * position) * np.hamming(self.TAPS)
        self._kernel = kernel / kernel.sum()
        self._before = np.zeros(self.TAPS - 1)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """`samples` (16-bit, 48 kHz) come in multiples of six, as Opus frames do."""
        signal = np.concatenate([self._before, samples])
        self._before = signal[-(self.TAPS - 1) :]
        windows = np.lib.stride_tricks.sliding_window_view(signal, self.TAPS)[::CLOCK_RATIO]
        return np.clip(windows @ self._kernel, -32768, 32767).astype(np.int16)


class OpusEar:
    """One track of the room on its way to the phone: decoded, at 8 kHz, and smoothed."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "r")
        codec.format, codec.layout, codec.sample_rate = "s16", "mono", OPUS_CLOCK
        self._codec = codec
        self._decimate = Decimator()
        self._playout = PlayoutBuffer(g711.FRAME * CLOCK_RATIO)

    def put(self, payload: bytes, timestamp: int) -> None:
        try:
            frames = self._codec.decode(av.Packet(payload))
        except av.error.InvalidDataError:
            return
        for frame in frames:
            samples = self._decimate(frame.to_ndarray().reshape(-1))
            for start in range(0, len(samples) - g711.FRAME + 1, g711.FRAME):
                self._playout.put(samples[start : start + g711.FRAME], timestamp)
                timestamp = (timestamp + g711.FRAME * CLOCK_RATIO) & 0xFFFFFFFF

    def take(self) -> np.ndarray | None:
        return self._playout.take()


def mix(frames: list[np.ndarray]) -> np.ndarray:
    """The sum, clipped to 16 bits; silence when there is nothing."""
    if not frames:
        return np.zeros(g711.FRAME, np.int16)
    return np.clip(np.sum(np.array(frames, np.int32), axis=0), -32768, 32767).astype(np.int16)
