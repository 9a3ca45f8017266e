"""What a phone hears of the room: every frame, at the right pitch, and no more of them than were sent."""

from __future__ import annotations

import fractions

import av
import numpy as np

from lab.sip import g711
from lab.sip.mixer import OPUS_CLOCK, OpusEar, OpusEncoder


def packets(hertz: float, count: int) -> list[bytes]:
    """20 ms Opus packets of a tone as an SDK client sends them, at 48 kHz."""
    codec = av.CodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", OPUS_CLOCK
    codec.time_base = fractions.Fraction(1, OPUS_CLOCK)
    out = []
    for number in range(count):
        wave = 8000 * np.sin(2 * np.pi * hertz / OPUS_CLOCK * (np.arange(960) + 960 * number))
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = OPUS_CLOCK, 960 * number, codec.time_base
        out += [bytes(packet) for packet in codec.encode(frame)]
    return out


def test_at_a_steady_pace_no_frame_is_lost_or_made_up() -> None:
    ear, heard = OpusEar(), []
    for number, payload in enumerate(packets(440, 500)):
        ear.put(payload, 960 * number)
        heard.append(ear.take())
    assert sum(frame is None for frame in heard) <= 4  # what is collected before playing begins
    sound = np.concatenate([frame for frame in heard if frame is not None])[800:]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert abs(float(spectrum.argmax()) * g711.RATE / len(sound) - 440) < 2
    quiet = np.abs(sound[: len(sound) // 80 * 80].reshape(-1, 80)).max(axis=1) < 1000
    assert not quiet.any(), "holes in a steady tone"


def test_pitch_survives_the_way_to_the_room() -> None:
    encoder, ear, heard = OpusEncoder(), OpusEar(), []
    for number in range(150):
        wave = 8000 * np.sin(2 * np.pi * 2900 / g711.RATE * (np.arange(160) + 160 * number))
        ear.put(encoder.encode(wave.astype(np.int16)), 960 * number)
        heard.append(ear.take())
    sound = np.concatenate([frame for frame in heard if frame is not None])[1600:]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert abs(float(spectrum.argmax()) * g711.RATE / len(sound) - 2900) < 5
