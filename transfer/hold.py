"""The caller on hold: hears audio from the first moment, and the agent neither hears nor answers them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from livekit import rtc
from livekit.agents import AgentSession

from transfer.hold_audio import HoldAudio, HoldPlayer
from transfer.speech import synthesize


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
        # A player of its own for each transfer, and a track of its own: the agent's other background audio stays.
        self._player = HoldPlayer(room, audio, use_default=use_default)
        self._before: _SessionIo | None = None

    def start(self) -> None:
        """The agent is deaf and mute from this moment; the audio starts as soon as its track is published."""
        self._before = _SessionIo.of(self._session)
        _ALL_OFF.apply(self._session)
        self._player.start()

    async def say(self, text: str) -> None:
        """A sentence to the caller in the voice of their agent, in the middle of the hold audio."""
        self._player.announce(await synthesize(self._session.tts, text))

    def pause_audio(self) -> None:
        self._player.pause()

    def resume_audio(self) -> None:
        self._player.resume()

    async def stop_audio(self) -> None:
        """Silence, and no hold track is left published. Can be called more than once."""
        await self._player.aclose()

    def let_speak(self) -> None:
        """The agent can be heard again, and still hears nothing."""
        assert self._before
        replace(self._before, audio_input=False, video_input=False).apply(self._session)

    def give_back(self) -> None:
        """The agent hears and speaks again exactly as before the hold."""
        if self._before is not None:
            self._before.apply(self._session)
            self._before = None
