"""Who has really left a room, when our own connection to it may have been lost for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from livekit import rtc

RETURN_LIMIT = 3.5
"""Seconds that somebody who was there before our connection was made anew has to be there again: the server may announce
participants in batches of 3 s."""


class Departures:
    """Calls `on_left(identity)` for each participant that leaves.

    A connection that is lost and made anew takes everybody away and brings them back; they have not left.
    """

    def __init__(self, room: rtc.Room, on_left: Callable[[str], None]) -> None:
        self._room, self._on_left = room, on_left
        self._away = room.connection_state == rtc.ConnectionState.CONN_RECONNECTING
        self._missing: set[str] = set()
        self._handlers: list[tuple[str, Callable[..., None]]] = [
            ("participant_disconnected", self._on_participant_gone),
            ("participant_connected", self._on_participant_there),
            ("reconnecting", self._on_reconnecting),
            ("reconnected", self._on_reconnected),
        ]
        for event, handler in self._handlers:
            room.on(event, handler)  # type: ignore[arg-type]

    @property
    def is_away(self) -> bool:
        """True while the connection is being made anew."""
        return self._away

    def expect(self, identities: Iterable[str]) -> None:
        """Whoever of these is not there has left; while we are away ourselves, that is seen once we are back."""
        missing = set(identities) - self._room.remote_participants.keys()
        if self._away:
            self._missing |= missing
            return
        for identity in missing:
            self._on_left(identity)

    def close(self) -> None:
        for event, handler in self._handlers:
            self._room.off(event, handler)  # type: ignore[arg-type]
        self._handlers.clear()

    def _on_participant_gone(self, participant: rtc.RemoteParticipant) -> None:
        if self._away:
            self._missing.add(participant.identity)
        else:
            self._on_left(participant.identity)

    def _on_participant_there(self, participant: rtc.RemoteParticipant) -> None:
        self._missing.discard(participant.identity)

    def _on_reconnecting(self) -> None:
        self._away = True

    def _on_reconnected(self) -> None:
        self._away = False
        if self._missing:
            asyncio.get_running_loop().call_later(RETURN_LIMIT, self._give_up)

    def _give_up(self) -> None:
        if self._away or not self._handlers:
            return
        missing, self._missing = self._missing, set()
        self.expect(missing)
