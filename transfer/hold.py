"""The caller on hold: hears audio from the first moment, and the agent neither hears nor answers them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.utils.audio import audio_frames_from_file
from livekit.agents.voice.background_audio import AudioConfig, AudioSource, BackgroundAudioPlayer, BuiltinAudioClip

logger = logging.getLogger("transfer")

HoldAudio = AudioSource | AudioConfig | list[AudioConfig] | None

DEFAULT_VOLUME = 0.8
"""Of the built-in hold music, as in the stock task."""
FADE_IN = 2.5
"""Seconds for which the built-in hold music is all but silent at its start: the caller would think the line dead."""


async def loud_hold_music() -> AsyncIterator[rtc.AudioFrame]:
    """The built-in hold music for ever, without the near-silence at its start."""
    skip = FADE_IN
    while True:
        async for frame in audio_frames_from_file(BuiltinAudioClip.HOLD_MUSIC.path()):
            if skip > 0:
                skip -= frame.duration
            else:
                yield frame
        skip = FADE_IN


@dataclass(frozen=True)
class _SessionIo:
    """Which inputs and outputs of a session are on."""

    audio_input: bool
    video_input: bool
    audio_output: bool
    transcription_output: bool
    video_output: bool

    @classmethod
    def of(cls, session: AgentSession) -> _SessionIo:
        return cls(
            session.input.audio_enabled,
            session.input.video_enabled,
            session.output.audio_enabled,
            session.output.transcription_enabled,
            session.output.video_enabled,
        )

    def apply(self, session: AgentSession) -> None:
        if session.input.audio:
            session.input.set_audio_enabled(self.audio_input)
        if session.input.video:
            session.input.set_video_enabled(self.video_input)
        if session.output.audio:
            session.output.set_audio_enabled(self.audio_output)
        if session.output.transcription:
            session.output.set_transcription_enabled(self.transcription_output)
        if session.output.video:
            session.output.set_video_enabled(self.video_output)


_ALL_OFF = _SessionIo(False, False, False, False, False)


class Hold:
    """`start`, and later `stop`, which can be called at any time and more than once."""

    def __init__(self, session: AgentSession, room: rtc.Room, audio: HoldAudio, *, use_default: bool) -> None:
        self._session = session
        self._room = room
        self._audio = audio
        self._use_default = use_default
        self._before: _SessionIo | None = None
        self._player: BackgroundAudioPlayer | None = None

    async def start(self) -> None:
        self._before = _SessionIo.of(self._session)
        _ALL_OFF.apply(self._session)
        audio: HoldAudio = AudioConfig(loud_hold_music(), volume=DEFAULT_VOLUME) if self._use_default else self._audio
        if audio is None:
            return
        # A player of its own for each transfer: a closed one cannot start again.
        self._player = BackgroundAudioPlayer()
        try:
            await self._player.start(room=self._room)
            self._player.play(audio, loop=not self._use_default)
        except Exception:
            logger.exception("the hold audio cannot be played; the transfer goes on without it")

    async def stop_audio(self) -> None:
        """Silence, and no hold track is left published."""
        player, self._player = self._player, None
        if player is not None:
            await player.aclose()

    def give_back(self) -> None:
        """The agent hears and speaks again exactly as before the hold."""
        if self._before is not None:
            self._before.apply(self._session)
            self._before = None
