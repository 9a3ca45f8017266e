"""After the bridge: the two talk, and neither is ever left alone in a dead room."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from livekit import api, rtc
from livekit.agents import JobContext

from transfer.presence import Departures

logger = logging.getLogger("transfer")

AfterBridge = Literal["end", "return", "leave"]
"""What happens when the human hangs up and the caller stays: the call ends; the agent returns; nothing, it has left."""
Person = Literal["caller", "human"]

OUTSIDE_LOOK = 1.0
"""Seconds between two looks at who is there, when we are not."""


class LineWatch:
    """Tells who of the two leaves first. A caller who leaves ends the call; so does a human, unless the agent returns.

    It lives as long as the job: whoever awaited the transfer may be done long before.
    """

    def __init__(self, job: JobContext, caller_identity: str | None, human_identity: str, *, returns: bool) -> None:
        self.left: asyncio.Future[Person] = asyncio.get_running_loop().create_future()
        self._job = job
        self._returns = returns
        self._ending: asyncio.Future[api.DeleteRoomResponse] | None = None
        self._people: dict[str, Person] = {human_identity: "human"}
        if caller_identity:
            self._people[caller_identity] = "caller"
        self._room = job.room
        self._lost = not job.room.isconnected()
        job.room.on("disconnected", self._on_room_left)
        job.add_shutdown_callback(self._watch_from_outside)
        self._departures = Departures(job.room, self._on_leave)
        self._departures.expect(self._people)

    def _on_leave(self, identity: str) -> None:
        if identity in self._people:
            self._end(self._people[identity])

    def _on_room_left(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._lost = reason not in (rtc.DisconnectReason.CLIENT_INITIATED, rtc.DisconnectReason.ROOM_DELETED)

    async def _watch_from_outside(self) -> None:
        """The job of an agent whose connection is lost for good shuts down; the two may still be talking."""
        while self._lost and not self.left.done():
            await asyncio.sleep(OUTSIDE_LOOK)
            try:
                there = await self._job.api.room.list_participants(api.ListParticipantsRequest(room=self._room.name))
            except (api.TwirpError, TimeoutError, OSError) as error:
                if not isinstance(error, api.TwirpError) or error.code != api.TwirpErrorCode.NOT_FOUND:
                    continue  # the server is away
                return
            self._returns = False
            present = {participant.identity for participant in there.participants}
            for identity in self._people.keys() - present:
                self._end(self._people[identity])
        if self._ending is not None:
            await self._ending

    def _end(self, who: Person) -> None:
        if self.left.done():
            return
        self.left.set_result(who)
        if who == "caller" or not self._returns:
            logger.info("the %s hung up: the call ends", who)
            self._departures.close()
            self._ending = self._job.delete_room()
