"""After the bridge: the two talk, and neither is ever left alone in a dead room."""

from __future__ import annotations

import logging

from livekit import rtc
from livekit.agents import JobContext

logger = logging.getLogger("transfer")


class LineWatch:
    """When one of the two leaves, the caller's room is deleted, which ends the other's leg. Lives as long as the job."""

    def __init__(self, job: JobContext, caller_identity: str | None, human_identity: str) -> None:
        self._job = job
        self._watched = {identity for identity in (caller_identity, human_identity) if identity}
        job.room.on("participant_disconnected", self._on_leave)
        if not self._watched <= set(job.room.remote_participants):
            self._end()

    def _on_leave(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity in self._watched:
            self._end()

    def _end(self) -> None:
        self._job.room.off("participant_disconnected", self._on_leave)
        logger.info("one of the two hung up: the call ends")
        self._job.delete_room()
