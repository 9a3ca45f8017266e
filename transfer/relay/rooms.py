"""A relay's requests to the server's API: whether the rooms are there, tokens for its legs, and the end of a call."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import secrets
from types import TracebackType
from typing import Self

import aiohttp
from livekit import api

from transfer.relay.errors import OTHER, Ended, RelayError, RelayFailure, SideName
from transfer.relay.order import Order
from transfer.server_api import API_ERRORS, delete_room, is_in_room

logger = logging.getLogger("transfer.relay")

CALL_LIMIT = 2.0
"""Seconds that the server has to answer a request."""


RELAY_ATTRIBUTE = "transfer.relay"
"""Attribute of a relay's legs: the sid of the room whose audio the leg brings. No name: one may hold a caller's number."""


def new_identity() -> str:
    """Identity for one join of one leg; none is reused."""
    return f"relay-{secrets.token_hex(6)}"


class RoomApi:
    """The server's API for one relay. An async context manager: it holds an HTTP session."""

    def __init__(self, order: Order) -> None:
        self._order = order
        timeout = aiohttp.ClientTimeout(total=CALL_LIMIT)
        self._api = api.LiveKitAPI(order.url, order.api_key, order.api_secret, timeout=timeout)
        self._sids: dict[str, str] = {}
        """Of the rooms that were found first, by name."""
        self._legs: set[str] = set()
        """Identities of all legs so far."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.aclose()

    def token(self, side: SideName, identity: str) -> str:
        """A token of the kind "agent": other agents do not take a relay for a caller, and it keeps no room open.

        The attribute stands in the token: so it is there from the first moment, with either engine, and the leg needs no
        right to change its own.
        """
        self._legs.add(identity)
        brings = self._sids.get(self._order.side(OTHER[side]).room, "")
        grants = api.VideoGrants(room_join=True, room=self._order.side(side).room)
        token = api.AccessToken(self._order.api_key, self._order.api_secret).with_identity(identity)
        token = token.with_kind("agent").with_ttl(datetime.timedelta(seconds=self._order.token_life))
        return token.with_grants(grants).with_attributes({RELAY_ATTRIBUTE: brings}).to_jwt()

    async def check(self) -> None:
        """RelayError where a room does not exist: a join would make it, and nobody would be in it."""
        wanted: dict[str, SideName] = {self._order.second.room: "second", self._order.first.room: "first"}
        try:
            found = await self._api.room.list_rooms(api.ListRoomsRequest(names=list(wanted)))
        except api.TwirpError as error:
            refused = error.code in ("unauthenticated", "permission_denied")
            raise RelayError(RelayFailure.NOT_ALLOWED if refused else RelayFailure.UNREACHABLE, error.code) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise RelayError(RelayFailure.UNREACHABLE, type(error).__name__) from error
        sids = {room.name: room.sid for room in found.rooms}
        for name in wanted.keys() - sids.keys():
            raise RelayError(RelayFailure.NO_ROOM, "there is no room of that name", wanted[name])
        self._sids = sids | self._sids

    async def is_in(self, room: str, identity: str) -> bool:
        with contextlib.suppress(*API_ERRORS):
            return await is_in_room(self._api, room, identity)
        return False

    async def remove(self, side: SideName, identity: str) -> None:
        """Removes a leg that has lost its connection and would stay in the room for 20 s."""
        with contextlib.suppress(*API_ERRORS):
            request = api.RoomParticipantIdentity(room=self._order.side(side).room, identity=identity)
            await self._api.room.remove_participant(request)

    async def leave_none_made_anew(self) -> None:
        """A leg that joins just when its room is deleted creates it again: once it has left, nobody would be in it."""
        if not self._legs:
            return
        with contextlib.suppress(*API_ERRORS):
            found = await self._api.room.list_rooms(api.ListRoomsRequest(names=list(self._sids)))
            for room in found.rooms:
                if room.sid == self._sids[room.name]:
                    continue
                there = await self._api.room.list_participants(api.ListParticipantsRequest(room=room.name))
                if self._legs.issuperset(participant.identity for participant in there.participants):
                    await delete_room(self._api, room.name)

    async def end_call(self, ended: Ended, *, looked_after: bool) -> None:
        """Deletes the rooms, which hangs up on everybody in them.

        A room with `keep` stays as long as it is `looked_after`, unless the call ended on its own side.
        """
        if ended.reason == "moved":
            return
        names: tuple[SideName, ...] = ("first", "second")
        going = [
            name for name in names if not (self._order.side(name).keep and looked_after and self._spares(name, ended))
        ]
        await asyncio.gather(*(delete_room(self._api, self._order.side(name).room) for name in going))

    @staticmethod
    def _spares(name: SideName, ended: Ended) -> bool:
        return ended.side != name or ended.reason in ("lost", "failed")
