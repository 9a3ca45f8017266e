"""After the bridge: the two talk, and neither is ever left alone in a dead room."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from livekit import api, rtc
from livekit.agents import JobContext

from transfer.presence import Departures
from transfer.relay import Ended, Relay
from transfer.server_api import API_ERRORS, delete_room, has_hung_up, is_not_found

logger = logging.getLogger("transfer")

AfterBridge = Literal["end", "return", "leave"]
"""What happens when the human hangs up and the caller stays: the call ends; the agent returns; nothing, it has left."""
Person = Literal["caller", "human"]

OUTSIDE_LOOK = 1.0
"""Seconds between two looks at the people in the room, when our agent is not there."""


class LineWatch:
    """Reports which of the two leaves first. A caller who leaves ends the call; so does a human, unless the agent returns.

    It lives as long as the job: the tool that awaited the transfer may be done long before.
    """

    def __init__(
        self,
        job: JobContext,
        caller_identity: str | None,
        human_identity: str,
        *,
        returns: bool,
        relay: Relay | None = None,
    ) -> None:
        """`relay` carries the audio when the human is in a room of their own."""
        self.left: asyncio.Future[Person] = asyncio.get_running_loop().create_future()
        self._job = job
        self._returns = returns
        self._relay, self._human = relay, human_identity
        self._ending: list[asyncio.Future[Any]] = []
        self._people: dict[str, Person] = {} if relay else {human_identity: "human"}
        if caller_identity:
            self._people[caller_identity] = "caller"
        self._room = job.room
        self._lost = not job.room.isconnected()
        job.room.on("disconnected", self._on_room_left)
        job.add_shutdown_callback(self._watch_from_outside)
        self._departures = Departures(job, self._on_leave)
        self._departures.expect(self._people)
        if relay:
            relay.ended.add_done_callback(self._on_relay_ended)

    def _on_relay_ended(self, ended: asyncio.Future[Ended]) -> None:
        """A relay that ends by itself, for any reason, has hung up on the human."""
        if ended.result().reason == "moved":
            logger.info("a move that was given up has brought the human after all")
            if self._relay is not None:
                self._ending.append(asyncio.ensure_future(self._relay.stop()))
            self._relay, self._people[self._human] = None, "human"
            self._departures.expect([self._human])
        else:
            self._end("caller" if ended.result().side == "first" else "human")

    def _on_leave(self, identity: str) -> None:
        if identity in self._people:
            self._end(self._people[identity])

    def _on_room_left(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._lost = reason not in (rtc.DisconnectReason.CLIENT_INITIATED, rtc.DisconnectReason.ROOM_DELETED)

    async def _watch_from_outside(self) -> None:
        """The job of an agent whose connection is lost for good shuts down; the two may still be talking."""
        if self._relay is not None and not self.left.done():
            self._relay.let_go()  # it hangs up on one when the other leaves
            return
        while self._lost and not self.left.done():
            await asyncio.sleep(OUTSIDE_LOOK)
            try:
                there = await self._job.api.room.list_participants(api.ListParticipantsRequest(room=self._room.name))
            except API_ERRORS as error:
                if not is_not_found(error):
                    continue  # the server does not answer
                return
            self._returns = False
            present = {participant.identity for participant in there.participants if not has_hung_up(participant)}
            for identity in self._people.keys() - present:
                self._end(self._people[identity])
        await asyncio.gather(*self._ending)

    def _end(self, who: Person) -> None:
        if self.left.done():
            return
        self.left.set_result(who)
        if who == "caller" or not self._returns:
            logger.info("the %s hung up: the call ends", who)
            self._departures.close()
            if who == "human" or self._relay is None:
                self._ending.append(asyncio.create_task(delete_room(self._job.api, self._room.name)))
        if self._relay is not None:
            self._ending.append(asyncio.ensure_future(self._end_relay(self._relay, who)))

    async def _end_relay(self, relay: Relay, who: Person) -> None:
        """A relay that has seen the caller leave has deleted their room: a server takes seconds to report that."""
        await relay.stop()
        if who == "caller" and relay.ended.result().side != "first":
            await delete_room(self._job.api, self._room.name)
