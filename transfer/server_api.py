"""Requests of the agent's process and of the relay's to the server's API, and their failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import aiohttp
from livekit import api

logger = logging.getLogger("transfer")

API_ERRORS = (api.TwirpError, aiohttp.ClientError, TimeoutError, OSError)
"""Errors of a request that was refused, not answered, or whose connection broke: `livekit.api` raises them as they come."""
CALL_LIMIT = 3.0
"""Seconds that the server gets to end a room or a leg."""
DELETE_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between two tries to delete a room."""


def is_not_found(error: Exception) -> bool:
    """True when the room or leg to be ended no longer exists."""
    return isinstance(error, api.TwirpError) and error.code == api.TwirpErrorCode.NOT_FOUND


class HasAttributes(Protocol):
    """A participant, as the SDK, the signalling and the API know it."""

    @property
    def attributes(self) -> Mapping[str, str]: ...


def has_hung_up(participant: HasAttributes) -> bool:
    """True of a telephone whose call is over: livekit-sip says so first, and leaves then.

    A server that does not learn of the leaving (livekit-server 1.13.4, when the connection breaks in that moment)
    keeps the participant for 20 s.
    """
    return participant.attributes.get("sip.callStatus") == "hangup"


async def is_in_room(server: api.LiveKitAPI, room: str, identity: str) -> bool:
    """Whether they are there, and have not hung up. One of API_ERRORS when the server cannot tell."""
    try:
        found = await server.room.get_participant(api.RoomParticipantIdentity(room=room, identity=identity))
    except api.TwirpError as error:
        if is_not_found(error):
            return False
        raise
    return not has_hung_up(found)


async def delete_room(server: api.LiveKitAPI, room: str, pauses: Sequence[float] = DELETE_PAUSES) -> bool:
    """Hangs up on everybody in it; True when it is deleted. A participant of a room that stays is alone: it is tried again."""
    for pause in (0.0, *pauses):
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(CALL_LIMIT):
                await server.room.delete_room(api.DeleteRoomRequest(room=room))
            return True
        except API_ERRORS as error:
            if is_not_found(error):
                return True
            logger.warning("a room could not be deleted: %s", getattr(error, "code", type(error).__name__))
    return False
