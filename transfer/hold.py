"""The caller on hold: hears audio from the first moment, and the agent neither hears nor answers them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import SpeechHandle

from transfer.hold_audio import HoldAudio, HoldPlayer
from transfer.speech import synthesize

logger = logging.getLogger("transfer")

PUBLISH_WAIT = 1.0
"""Seconds that the hold audio's own track may take; it takes 0.1 to 0.3."""


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
    """The caller on hold, from `start` until the audio is stopped and the session is given back."""

    def __init__(self, session: AgentSession, room: rtc.Room, audio: HoldAudio, *, use_default: bool) -> None:
        self._session = session
        # Each transfer has a player and a track of its own: the agent's other background audio stays.
        self._player = HoldPlayer(room, audio, use_default=use_default)
        self._before: _SessionIo | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stand_in: SpeechHandle | None = None

    def start(self) -> None:
        """The agent is deaf and mute from this moment; the audio starts as soon as its track is published."""
        self._before = _SessionIo.of(self._session)
        _ALL_OFF.apply(self._session)
        self._player.start()
        self._watching = asyncio.create_task(self._play_otherwise())

    async def _play_otherwise(self) -> None:
        """Where no track of its own can be published, the audio comes through the agent's voice."""
        if await self._player.is_published(PUBLISH_WAIT):
            return
        logger.warning("the hold audio has no track yet: it is played in place of the agent's voice")
        assert self._before
        replace(_ALL_OFF, audio_output=self._before.audio_output).apply(self._session)
        self._stand_in = self._session.say("", audio=self._player.sound(), add_to_chat_ctx=False)

    async def say(self, text: str) -> None:
        """Says a sentence to the caller in the voice of their agent, in the middle of the hold audio."""
        self._player.announce(await synthesize(self._session.tts, text))

    def pause_audio(self) -> None:
        self._player.pause()
        self._end_stand_in()

    def resume_audio(self) -> None:
        self._player.resume()

    async def stop_audio(self) -> None:
        """Stops the audio; no hold track is left published. Can be called more than once."""
        self._end_stand_in()
        await self._player.aclose()

    def _end_stand_in(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._stand_in is not None:
            self._stand_in.interrupt(force=True)
            self._stand_in = None

    def let_speak(self) -> None:
        """The agent can be heard again, and still hears nothing."""
        assert self._before
        replace(self._before, audio_input=False, video_input=False).apply(self._session)

    def give_back(self) -> None:
        """The agent hears and speaks again exactly as before the hold."""
        if self._before is not None:
            self._before.apply(self._session)
            self._before = None
