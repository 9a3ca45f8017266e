"""How a relay fails, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

SideName = Literal["first", "second"]
OTHER: dict[SideName, SideName] = {"first": "second", "second": "first"}


class RelayFailure(StrEnum):
    """Why two rooms could not be joined."""

    UNREACHABLE = "unreachable"
    """No LiveKit server answers at the address."""
    NOT_ALLOWED = "not_allowed"
    """The key or its rights are not sufficient."""
    NO_ROOM = "no_room"
    """A room does not exist."""
    NO_PARTICIPANT = "no_participant"
    """The participant to be heard did not come, or has no audio."""
    NO_MEDIA = "no_media"
    """No audio gets through to the server."""
    ENCRYPTED = "encrypted"
    """The audio is end-to-end encrypted, and this engine cannot carry it or has no key for it."""
    FAILED = "failed"


class RelayError(Exception):
    """A relay that did not start; nothing of it is left."""

    def __init__(self, failure: RelayFailure, detail: str = "", side: SideName | None = None) -> None:
        where = f" ({side} room)" if side else ""
        super().__init__(f"{failure.value}{where}: {detail}" if detail else f"{failure.value}{where}")
        self.failure, self.detail, self.side = failure, detail, side


EndReason = Literal["left", "moved", "room_deleted", "stopped", "lost", "failed"]


@dataclass(frozen=True)
class Ended:
    """How a relay that had started ended."""

    side: SideName | None
    """The side on which the end began; None: the relay was stopped, or failed as a whole."""
    reason: EndReason
    """The participant left; it was moved into the other room, late; the room was deleted; the relay was stopped; the
    server was lost for good; the relay broke."""
