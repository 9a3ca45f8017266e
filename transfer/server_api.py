"""What the server's API is asked by the agent's process and by the relay's, and how it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import aiohttp
from livekit import api

logger = logging.getLogger("transfer")

API_ERRORS = (api.TwirpError, aiohttp.ClientError, TimeoutError, OSError)
"""Of a request that was refused, not answered, or whose connection broke: `livekit.api` raises them as they come."""
CALL_LIMIT = 3.0
"""Seconds that the server gets to end a room or a leg."""
DELETE_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between two tries to delete a room."""


def is_not_found(error: Exception) -> bool:
    """True when what was to be ended is gone already."""
    return isinstance(error, api.TwirpError) and error.code == api.TwirpErrorCode.NOT_FOUND


async def is_in_room(server: api.LiveKitAPI, room: str, identity: str) -> bool:
    """One of API_ERRORS when the server cannot tell."""
    try:
        await server.room.get_participant(api.RoomParticipantIdentity(room=room, identity=identity))
    except api.TwirpError as error:
        if is_not_found(error):
            return False
        raise
    return True


async def delete_room(server: api.LiveKitAPI, room: str, pauses: Sequence[float] = DELETE_PAUSES) -> bool:
    """Hangs up on everybody in it; True when it is gone. Whoever is in a room that stays is alone there: it is tried again."""
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
