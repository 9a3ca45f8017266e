"""Brings the human into the caller's room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Literal, Protocol

from livekit import api, rtc
from livekit.agents import JobContext

from transfer.consult import Consult
from transfer.masking import mask
from transfer.outcome import TransferReason, WarmTransferError

logger = logging.getLogger("transfer")

BridgeKind = Literal["auto", "move", "relay"]

MOVE_LIMIT = 2.5
"""Seconds until a move that does not come about is given up."""
ARRIVAL_LOOK = 0.5
"""Seconds between two questions to the server whether the human has arrived: our own connection may be away."""


class Bridge(Protocol):
    """One way to let two people in two rooms hear each other."""

    async def connect(self, consult: Consult) -> None:
        """Returns when the human is in the caller's room. WarmTransferError (bridge failed) when that cannot be."""


class MoveBridge:
    """MoveParticipant: LiveKit Cloud does it, the open-source server answers that it is not implemented."""

    def __init__(self, job: JobContext, room: rtc.Room) -> None:
        self._job = job
        self._room = room

    async def connect(self, consult: Consult) -> None:
        arrived = asyncio.Event()

        def on_arrival(participant: rtc.RemoteParticipant) -> None:
            if participant.identity == consult.human_identity:
                arrived.set()

        self._room.on("participant_connected", on_arrival)
        request = api.MoveParticipantRequest(
            room=consult.room_name, identity=consult.human_identity, destination_room=self._room.name
        )
        try:
            async with asyncio.timeout(MOVE_LIMIT):
                await self._job.api.room.move_participant(request)
                while not (arrived.is_set() or await self._is_there(consult.human_identity)):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(arrived.wait(), ARRIVAL_LOOK)
        except (api.TwirpError, TimeoutError, OSError) as error:
            logger.warning("the move failed: %s", mask(str(error)))
            self._turn_away(consult.human_identity)
            raise WarmTransferError(TransferReason.BRIDGE_FAILED, mask(str(error))) from error
        finally:
            self._room.off("participant_connected", on_arrival)

    async def _is_there(self, identity: str) -> bool:
        if identity in self._room.remote_participants:
            return True
        if self._room.connection_state == rtc.ConnectionState.CONN_CONNECTED:
            return False
        try:
            await self._job.api.room.get_participant(
                api.RoomParticipantIdentity(room=self._room.name, identity=identity)
            )
        except api.TwirpError as error:
            if error.code == api.TwirpErrorCode.NOT_FOUND:
                return False
            raise
        return True

    def _turn_away(self, identity: str) -> None:
        """A move that was given up can still come about; whoever it brings does not stay."""
        removing: set[asyncio.Task[None]] = set()

        def on_arrival(participant: rtc.RemoteParticipant) -> None:
            if participant.identity == identity:
                removing.add(asyncio.create_task(self._remove(identity)))

        self._room.on("participant_connected", on_arrival)
        removing.add(asyncio.create_task(self._remove(identity)))  # we may not see it, being away ourselves

    async def _remove(self, identity: str) -> None:
        request = api.RoomParticipantIdentity(room=self._room.name, identity=identity)
        try:
            await self._job.api.room.remove_participant(request)
        except (api.TwirpError, TimeoutError, OSError) as error:
            if isinstance(error, api.TwirpError) and error.code == api.TwirpErrorCode.NOT_FOUND:
                return
            logger.error("a human who was moved too late could not be removed: %s", type(error).__name__)


def make_bridge(kind: BridgeKind, job: JobContext, room: rtc.Room) -> Bridge:
    """`auto` and `move` move the participant; `relay` is refused with ValueError: this version has none."""
    if kind == "relay":
        raise ValueError('bridge="relay" is not available in this version: use "auto" or "move" (LiveKit Cloud)')
    return MoveBridge(job, room)
