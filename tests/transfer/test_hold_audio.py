"""What a caller on hold hears, sample by sample."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import AudioConfig

from transfer.hold_audio import FRAME, RATE, HoldAudio, HoldPlayer, _choose, _shaped


def steady(value: int, count: int, rate: int = RATE, channels: int = 1) -> AsyncIterator[rtc.AudioFrame]:
    """100 ms frames of one sample value."""

    async def frames() -> AsyncIterator[rtc.AudioFrame]:
        size = rate // 10
        for _ in range(count):
            data = np.full(size * channels, value, np.int16).tobytes()
            yield rtc.AudioFrame(data, rate, channels, size)

    return frames()


async def collect(config: AudioConfig) -> np.ndarray:
    return np.concatenate([np.frombuffer(frame.data, np.int16) async for frame in _shaped(config)])


async def test_volume_and_fade_in_shape_the_sound() -> None:
    samples = await collect(AudioConfig(steady(1000, 10), volume=0.5, fade_in=0.5))
    assert len(samples) == RATE
    assert samples[0] == 0
    assert 200 <= samples[RATE // 4] <= 260
    assert set(samples[RATE // 2 + FRAME :]) == {500}


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 2), (24000, 1), (16000, 2)])
async def test_any_rate_and_channels_come_out_as_mono_at_48_khz(rate: int, channels: int) -> None:
    samples = await collect(AudioConfig(steady(1000, 10, rate, channels)))
    assert 0.9 * RATE <= len(samples) <= RATE
    assert 950 <= np.median(samples) <= 1050


async def first_frames(audio: HoldAudio, count: int) -> np.ndarray:
    player = HoldPlayer(rtc.Room(), audio, use_default=False)
    frames: list[np.ndarray] = []
    async with contextlib.aclosing(player._frames()) as stream:  # type: ignore[type-var]
        async for frame in stream:
            frames.append(np.frombuffer(frame.data, np.int16))
            if len(frames) == count:
                break
    await player.aclose()
    return np.concatenate(frames)


@pytest.mark.parametrize("audio", ["/no/such/file.ogg", __file__, steady(0, 1)], ids=["missing", "no sound", "ends"])
async def test_audio_that_cannot_be_played_or_ends_is_followed_by_the_built_in_music(audio: HoldAudio) -> None:
    samples = await first_frames(audio, 50)
    assert np.abs(samples.astype(np.int32)).max() > 100


def test_of_several_sounds_one_is_chosen_by_its_probability() -> None:
    never, always = AudioConfig("a.ogg", probability=0.0), AudioConfig("b.ogg", probability=0.5)
    assert {_choose([never, always]) for _ in range(20)} == {always}
    assert _choose([never]) is None
