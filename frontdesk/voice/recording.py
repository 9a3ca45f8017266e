"""The records kept of a call after its end: audio, words and traces, all or nothing, by the setting RECORDING."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from livekit.agents import AgentSession, JobContext
from livekit.agents.voice.agent_session import RecordingOptions

from frontdesk.voice.livekit_adapter import end_audio_recording
from frontdesk.voice.settings import Settings

logger = logging.getLogger("frontdesk")


def say_to_exporters(settings: Settings) -> None:
    """LiveKit's exporters hand the words of a conversation to every collector of traces, unless this variable says no."""
    os.environ["LIVEKIT_TELEMETRY_ALLOW_PII"] = "1" if settings.records else "0"


@dataclass(frozen=True)
class Recording:
    """Whether this call is recorded, and where its audio goes."""

    is_on: bool
    folder: Path
    """Target folder of the audio file: the job's own folder is deleted with the job."""

    @classmethod
    def by(cls, settings: Settings) -> Recording:
        return cls(settings.records, settings.recording_folder)

    def begin(self, job: JobContext) -> None:
        """Off also means that the log of a job that fails early is not uploaded, even if the Cloud project's switch is on."""
        if not self.is_on:
            job.init_recording(RecordingOptions(audio=False, traces=False, logs=False, transcript=False))

    async def end(self, session: AgentSession) -> None:
        """Stops the audio for the rest of the call: the talk of caller and colleague is theirs."""
        if self.is_on and await end_audio_recording(session):
            logger.info("the recording ends: the caller and the colleague are connected")

    def mark(self, job: JobContext, *, success: bool, reason: str) -> None:
        """Tags the call with its outcome. Only where recording is on: a tag uploads the session's report."""
        if self.is_on:
            (job.tagger.success if success else job.tagger.fail)(reason)

    async def copy_out(self, job: JobContext) -> Path | None:
        """Copies the audio into the folder, under the time and the job's id; the room's name has the caller's number in it."""
        audio = job.session_directory / "audio.ogg"
        if not self.is_on or not audio.is_file():
            return None
        target = self.folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{job.job.id}.ogg"
        try:
            await asyncio.to_thread(_copy, audio, target)
        except OSError as error:
            logger.error("the recording could not be kept in %s: %s", self.folder, error.strerror)
            return None
        logger.info("the recording of the call is in %s", target)
        return target


def _copy(audio: Path, target: Path) -> None:
    """Under another name first: a folder that is synchronised never sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(audio, part)
    part.replace(target)
