"""Real departures from a room, although our own connection to it may be lost for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from livekit import rtc
from livekit.agents import JobContext

from transfer.server_api import API_ERRORS, has_hung_up, is_in_room

RETURN_LIMIT = 3.5
"""Grace period after our own reconnection, in seconds, when the server does not answer: a participant seen before it has left
if they have not reappeared by then. The server may announce participants in batches of 3 s."""
LOOK = 0.5
"""Seconds between two queries of the server about a participant whom it knows and has not announced yet."""


def present_in(room: rtc.Room) -> set[str]:
    """The identities of the other participants in the room who have not hung up."""
    return {identity for identity, them in room.remote_participants.items() if not has_hung_up(them)}


class Departures:
    """Calls `on_left(identity)` once for each participant that leaves; a telephone has left when it hangs up.

    A reconnection removes all participants and brings them back; they have not left. A participant who is missing
    after it may have left meanwhile, or not be announced yet: the server is asked.
    """

    def __init__(self, job: JobContext, on_left: Callable[[str], None], room: rtc.Room | None = None) -> None:
        """`room`: the job's own, when not given."""
        self._job, self._on_left = job, on_left
        self._room = room = room or job.room
        self._away = room.connection_state == rtc.ConnectionState.CONN_RECONNECTING
        self._missing: set[str] = set()
        self._hung_up: set[str] = set()
        """Identities already reported: the server announces their departure, or their presence after a reconnection, later."""
        self._looking: asyncio.Task[None] | None = None
        self._handlers: list[tuple[str, Callable[..., None]]] = [
            ("participant_disconnected", self._on_participant_gone),
            ("participant_attributes_changed", self._on_attributes),
            ("participant_connected", self._on_participant_there),
            ("reconnecting", self._on_reconnecting),
            ("reconnected", self._on_reconnected),
        ]
        for event, handler in self._handlers:
            room.on(event, handler)  # type: ignore[arg-type]

    @property
    def is_away(self) -> bool:
        """True while we reconnect."""
        return self._away

    def expect(self, identities: Iterable[str]) -> None:
        """Each of these who is missing has left; while we reconnect, that is decided afterwards."""
        missing = set(identities) - present_in(self._room)
        if self._away:
            self._missing |= missing
            return
        for identity in missing:
            self._on_left(identity)

    def close(self) -> None:
        for event, handler in self._handlers:
            self._room.off(event, handler)  # type: ignore[arg-type]
        self._handlers.clear()
        self._stop_looking()

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def _on_attributes(self, _changed: dict[str, str], participant: rtc.Participant) -> None:
        if has_hung_up(participant):
            self._on_hung_up(participant.identity)

    def _on_hung_up(self, identity: str) -> None:
        if identity not in self._hung_up:
            self._hung_up.add(identity)
            self._on_left(identity)

    def _on_participant_gone(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity in self._hung_up:
            return
        if self._away:
            self._missing.add(participant.identity)
        else:
            self._on_left(participant.identity)

    def _on_participant_there(self, participant: rtc.RemoteParticipant) -> None:
        self._missing.discard(participant.identity)
        if has_hung_up(participant):
            self._on_hung_up(participant.identity)
        else:
            self._hung_up.discard(participant.identity)

    def _on_reconnecting(self) -> None:
        self._away = True
        self._stop_looking()

    def _on_reconnected(self) -> None:
        self._away = False
        if self._missing:
            self._looking = asyncio.create_task(self._look_for_them())

    async def _look_for_them(self) -> None:
        limit = asyncio.get_running_loop().time() + RETURN_LIMIT
        while self._missing:
            for identity in sorted(self._missing):
                try:
                    there = await is_in_room(self._job.api, self._room.name, identity)
                except API_ERRORS:
                    there = asyncio.get_running_loop().time() < limit
                if not there and identity in self._missing:
                    self._missing.discard(identity)
                    self._on_left(identity)
            if self._missing:
                await asyncio.sleep(LOOK)
