"""What a caller on hold hears: one track of our own, that stops within a moment and never runs dry."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator

import numpy as np
from livekit import rtc
from livekit.agents.utils.audio import audio_frames_from_file
from livekit.agents.voice.background_audio import AudioConfig, AudioSource, BuiltinAudioClip

logger = logging.getLogger("transfer")

HoldAudio = AudioSource | AudioConfig | list[AudioConfig] | None

RATE = 48000
FRAME = RATE // 50
"""Samples of 20 ms: the most that is heard after a pause."""
QUEUE_MS = 200
TRACK_NAME = "hold_audio"
DEFAULT_VOLUME = 0.8
"""Of the built-in hold music, as in the stock task."""
FADE_IN = 2.5
"""Seconds for which the built-in hold music is all but silent at its start: the caller would think the line dead."""
PUBLISH_LIMIT = 2.0
"""Seconds; in a room that has ended, the SDK never returns from publishing and unpublishing."""


class HoldPlayer:
    """Plays from `start` to `aclose`. Unplayable audio is replaced by the built-in hold music."""

    def __init__(self, room: rtc.Room, audio: HoldAudio, *, use_default: bool) -> None:
        self._room = room
        self._audio = None if use_default else _choose(audio)
        self._silent = audio is None and not use_default
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
        self._announced: deque[list[rtc.AudioFrame]] = deque()
        self._playing = asyncio.Event()
        self._playing.set()
        self._publishing: asyncio.Task[rtc.LocalTrackPublication] | None = None
        self._pumping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Returns at once, before the track is published."""
        if self._silent:
            return
        track = rtc.LocalAudioTrack.create_audio_track(TRACK_NAME, self._source)
        # Not as a microphone's: a relay carries our agent's speech to the other room, not its hold audio.
        self._publishing = asyncio.create_task(self._room.local_participant.publish_track(track))
        self._publishing.add_done_callback(_tell_failure)
        self._pumping = asyncio.create_task(self._pump())

    def announce(self, frames: list[rtc.AudioFrame]) -> None:
        """Plays speech next, in place of the audio, which then goes on where it was. A silent hold stays silent."""
        if frames and self._playing.is_set():
            self._announced.append(frames)

    def pause(self) -> None:
        """Silence from now on."""
        self._playing.clear()
        self._announced.clear()
        self._source.clear_queue()

    def resume(self) -> None:
        """Goes on where it was."""
        self._playing.set()

    async def aclose(self) -> None:
        """Stops the audio; no track is left published. Can be called more than once."""
        self.pause()
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)
        publishing, self._publishing = self._publishing, None
        if publishing is None:
            return
        await asyncio.wait({publishing}, timeout=PUBLISH_LIMIT)
        if publishing.done() and not publishing.cancelled() and not publishing.exception():
            await self._unpublish(publishing.result().sid)
        await self._source.aclose()

    async def _unpublish(self, sid: str) -> None:
        """Returns when the room ends meanwhile, too: the SDK's own call never does."""
        gone = asyncio.Event()

        def on_gone(*_: object) -> None:
            gone.set()

        self._room.on("disconnected", on_gone)
        try:
            if not self._room.isconnected():
                return
            unpublishing = asyncio.ensure_future(self._room.local_participant.unpublish_track(sid))
            waiting = asyncio.ensure_future(gone.wait())
            await asyncio.wait({unpublishing, waiting}, timeout=PUBLISH_LIMIT, return_when=asyncio.FIRST_COMPLETED)
            for task in (unpublishing, waiting):
                task.cancel()
            await asyncio.gather(unpublishing, waiting, return_exceptions=True)
        finally:
            self._room.off("disconnected", on_gone)

    async def is_published(self, within: float) -> bool:
        """False when the track is not there after that many seconds."""
        if self._publishing is None:
            return True
        await asyncio.wait({self._publishing}, timeout=within)
        return self._publishing.done() and not self._publishing.cancelled() and not self._publishing.exception()

    async def sound(self) -> AsyncIterator[rtc.AudioFrame]:
        """The audio for the caller, as long as a consumer plays it: from here on, not on the track."""
        if self._pumping is not None:
            self._pumping.cancel()
        async for frame in self._sound():
            yield frame

    async def _pump(self) -> None:
        async for frame in self._sound():
            await self._source.capture_frame(frame)

    async def _sound(self) -> AsyncIterator[rtc.AudioFrame]:
        async for frame in self._frames():
            await self._playing.wait()
            while self._announced:
                async for spoken in _shaped(AudioConfig(_given(self._announced.popleft()))):
                    if not self._playing.is_set():
                        break
                    yield spoken
            await self._playing.wait()
            yield frame

    async def _frames(self) -> AsyncIterator[rtc.AudioFrame]:
        if self._audio is not None:
            try:
                async for frame in _shaped(self._audio):
                    yield frame
            except Exception as error:
                logger.warning("the hold audio cannot be read (%s): playing the built-in music", type(error).__name__)
        async for frame in _shaped(AudioConfig(loud_hold_music(), volume=DEFAULT_VOLUME)):
            yield frame


def _tell_failure(publishing: asyncio.Task[rtc.LocalTrackPublication]) -> None:
    if not publishing.cancelled() and (error := publishing.exception()):
        logger.error("the hold audio cannot be published; the transfer goes on without it: %s", error)


def _choose(audio: HoldAudio) -> AudioConfig | None:
    """One of several by its probability, as BackgroundAudioPlayer does."""
    if isinstance(audio, list):
        weights = [max(0.0, config.probability) for config in audio]
        return random.choices(audio, weights)[0] if sum(weights) > 0 else None
    if audio is None or isinstance(audio, AudioConfig):
        return audio
    return AudioConfig(audio)


async def loud_hold_music() -> AsyncIterator[rtc.AudioFrame]:
    """The built-in hold music forever, without the near-silence at its start."""
    while True:
        skip = FADE_IN
        async for frame in audio_frames_from_file(BuiltinAudioClip.HOLD_MUSIC.path(), RATE, 1):
            if skip > 0:
                skip -= frame.duration
            else:
                yield frame


async def _looped(path: str) -> AsyncIterator[rtc.AudioFrame]:
    while True:
        empty = True
        async for frame in audio_frames_from_file(path, RATE, 1):
            empty = False
            yield frame
        if empty:
            raise ValueError("no sound in it")


async def _given(frames: list[rtc.AudioFrame]) -> AsyncIterator[rtc.AudioFrame]:
    for frame in frames:
        yield frame


async def _shaped(config: AudioConfig) -> AsyncIterator[rtc.AudioFrame]:
    """The sound as 20 ms mono frames at 48 kHz, at its volume and with its fade-in."""
    source = config.source.path() if isinstance(config.source, BuiltinAudioClip) else config.source
    rest = np.zeros(0, np.float32)
    done = 0
    resampler: rtc.AudioResampler | None = None
    async for given in _looped(source) if isinstance(source, str) else source:
        frame = _mono(given)
        if frame.sample_rate != RATE and resampler is None:
            resampler = rtc.AudioResampler(frame.sample_rate, RATE)
        for piece in resampler.push(frame) if resampler else [frame]:
            rest = np.concatenate([rest, np.frombuffer(piece.data, np.int16).astype(np.float32)])
        while len(rest) >= FRAME:
            samples, rest = rest[:FRAME], rest[FRAME:]
            gain = config.volume * min(1.0, done / RATE / config.fade_in) if config.fade_in > 0 else config.volume
            done += FRAME
            data = np.clip(samples * gain, -32768, 32767).astype(np.int16).tobytes()
            yield rtc.AudioFrame(data, RATE, 1, FRAME)


def _mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    if frame.num_channels == 1:
        return frame
    mixed = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels).mean(axis=1).astype(np.int16)
    return rtc.AudioFrame(mixed.tobytes(), frame.sample_rate, 1, len(mixed))
