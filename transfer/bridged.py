"""After the bridge: the two talk, and neither is ever left alone in a dead room."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from livekit.agents import JobContext

from transfer.presence import Departures

logger = logging.getLogger("transfer")

AfterBridge = Literal["end", "return", "leave"]
"""What happens when the human hangs up and the caller stays: the call ends; the agent returns; nothing, it has left."""
Person = Literal["caller", "human"]


class LineWatch:
    """Tells who of the two leaves first. A caller who leaves ends the call; so does a human, unless the agent returns.

    It lives as long as the job: whoever awaited the transfer may be done long before.
    """

    def __init__(self, job: JobContext, caller_identity: str | None, human_identity: str, *, returns: bool) -> None:
        self.left: asyncio.Future[Person] = asyncio.get_running_loop().create_future()
        self._job = job
        self._returns = returns
        self._people: dict[str, Person] = {human_identity: "human"}
        if caller_identity:
            self._people[caller_identity] = "caller"
        self._departures = Departures(job.room, self._on_leave)
        for identity in self._people.keys() - job.room.remote_participants.keys():
            self._end(self._people[identity])

    def _on_leave(self, identity: str) -> None:
        if identity in self._people:
            self._end(self._people[identity])

    def _end(self, who: Person) -> None:
        if self.left.done():
            return
        self.left.set_result(who)
        if who == "caller" or not self._returns:
            logger.info("the %s hung up: the call ends", who)
            self._departures.close()
            self._job.delete_room()
