"""The packet engine: two legs, crossed. Audio is never decoded; a leg that loses its server joins again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any

from livekit.protocol import models

from transfer.relay.aiortc_hooks import prepare_process
from transfer.relay.closing import to_the_end
from transfer.relay.errors import OTHER, Ended, EndReason, RelayError, RelayFailure, SideName
from transfer.relay.leg import LOST, ROOM_GONE, Closed, Leg, LegEvents
from transfer.relay.order import EngineName, Order
from transfer.relay.rooms import RoomApi, new_identity
from transfer.relay.rtp import RtpPacket

logger = logging.getLogger("transfer.relay")

CONNECT_LIMIT = 3.0
"""Seconds that a leg has to connect."""
DIRECT_LIMIT = 1.5
"""Seconds of those for the direct way, before the server's TURN servers are used."""
REJOIN_LIMIT = 12.0
"""Seconds in which a leg that has lost its server joins again, before the call is given up."""
HEARING_LIMIT = 0.5
"""Seconds that a leg that has joined again may take to hear, before it takes the place of the old one."""
REJOIN_PAUSE = 0.2
"""Seconds between two tries."""


class PacketEngine:
    """See `transfer.relay.engine.Engine`."""

    name: EngineName = "packet"

    def __init__(self, order: Order, rooms: RoomApi) -> None:
        prepare_process(order.url)
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._order, self._rooms = order, rooms
        self._legs: dict[SideName, Leg] = {}
        self._identities: dict[Leg, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def start(self) -> None:
        """Both legs are there and can hear; nothing is passed on before `open`."""
        sides: tuple[SideName, ...] = ("first", "second")
        results = await asyncio.gather(*map(self._join_first, sides), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        try:
            if failures:
                raise failures[0]
            async with asyncio.timeout(self._order.participant_limit):
                await asyncio.gather(*(self._legs[side].hearing.wait() for side in sides))
        except BaseException as error:
            missing = [side for side in sides if side in self._legs and not self._legs[side].hearing.is_set()]
            await self.close()
            if isinstance(error, TimeoutError):
                here = self._legs[missing[0]].is_present if missing else True
                raise RelayError(
                    RelayFailure.NO_PARTICIPANT, "has no audio" if here else "is not there", missing[0]
                ) from error
            raise

    async def open(self) -> None:
        """From now on the two hear each other. RelayError when one of them has left meanwhile, or encrypts."""
        for side, leg in self._legs.items():
            if not leg.is_present:
                raise RelayError(RelayFailure.NO_PARTICIPANT, "has left", side)
            if leg.encrypted:  # a track that has come since the leg joined
                raise self._encrypted(side)
        self._is_open = True
        for side, leg in self._legs.items():
            for identity, muted in leg.muted.items():
                if muted:
                    await self._legs[OTHER[side]].mute(identity, True)

    async def close(self) -> None:
        await to_the_end(self._close())

    async def _close(self) -> None:
        self._end(None, "stopped")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(leg.close() for leg in self._legs.values()), return_exceptions=True)

    # -- one leg

    async def _join_first(self, side: SideName) -> None:
        """Tries again: a server that refuses a join may accept one a moment later."""
        end = time.monotonic() + CONNECT_LIMIT
        while True:
            try:
                self._legs[side] = await self._join(side)
                return
            except RelayError as error:
                if error.failure is not RelayFailure.UNREACHABLE or time.monotonic() + REJOIN_PAUSE > end:
                    raise
            await asyncio.sleep(REJOIN_PAUSE)

    async def _join(self, side: SideName) -> Leg:
        """A leg of `side`, on the direct way or, where that fails, through the server's TURN servers."""
        leg = self._make_leg(side)
        joining = asyncio.create_task(leg.join())
        try:
            await asyncio.wait({joining}, timeout=DIRECT_LIMIT)
            if joining.done() or not leg.turn_servers:
                await asyncio.wait({joining}, timeout=CONNECT_LIMIT - DIRECT_LIMIT)
            elif not joining.done():
                logger.info("the %s room is reached through a TURN server", side)
                await self._give_up(leg, joining)
                leg = self._make_leg(side, leg)
                joining = asyncio.create_task(leg.join())
                await asyncio.wait({joining}, timeout=CONNECT_LIMIT - DIRECT_LIMIT)
            if not joining.done():
                raise RelayError(RelayFailure.NO_MEDIA, f"not connected within {CONNECT_LIMIT:g} s", side)
            joining.result()
        except RelayError as error:
            await self._give_up(leg, joining)
            raise RelayError(error.failure, error.detail, side) from error
        except BaseException:
            await self._give_up(leg, joining)
            raise
        if leg.encrypted:
            await leg.close()
            raise self._encrypted(side)
        return leg

    @staticmethod
    def _encrypted(side: SideName) -> RelayError:
        return RelayError(RelayFailure.ENCRYPTED, "packets of an encrypted room mean nothing in another", side)

    @staticmethod
    async def _give_up(leg: Leg, joining: asyncio.Task[None]) -> None:
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        await leg.close()

    def _make_leg(self, side: SideName, before: Leg | None = None) -> Leg:
        identity = new_identity()
        events = LegEvents(
            on_packet=lambda who, packet: self._pass_on(side, who, packet),
            on_keys=lambda keys: self._pass_on_keys(side, keys),
            on_mute=lambda who, muted: self._pass_on_mute(side, who, muted),
            on_left=lambda: self._on_left(side),
            on_closed=lambda reason: self._on_closed(side, leg, reason),
        )
        leg = Leg(
            self._order.url,
            self._rooms.token(side, identity),
            hears=self._order.side(side).heard,
            says=self._order.side(OTHER[side]).heard,
            events=events,
            ice_servers=before.turn_servers if before else (),
        )
        self._identities[leg] = identity
        return leg

    # -- what passes

    def _other_of(self, side: SideName) -> Leg | None:
        """The leg that audio from `side` goes to; None before both are opened to each other."""
        return self._legs.get(OTHER[side]) if self._is_open else None

    async def _pass_on(self, side: SideName, identity: str, packet: RtpPacket) -> None:
        if leg := self._other_of(side):
            await leg.send(identity, packet)

    def _pass_on_keys(self, side: SideName, keys: models.SipDTMF) -> None:
        if leg := self._other_of(side):
            leg.send_keys(keys)

    def _pass_on_mute(self, side: SideName, identity: str, muted: bool) -> None:
        if leg := self._other_of(side):
            self._spawn(leg.mute(identity, muted))

    # -- what ends it

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self, side: SideName | None, reason: EndReason) -> None:
        if not self.ended.done():
            self.ended.set_result(Ended(side, reason))

    def _on_left(self, side: SideName) -> None:
        if side in self._legs:
            self._end(side, "left")

    def _on_closed(self, side: SideName, leg: Leg, reason: Closed) -> None:
        if self._legs.get(side) is not leg or self.ended.done():
            return  # one that never connected, or has been replaced
        if reason in LOST:
            logger.warning("the leg in the %s room is joined anew: %s", side, reason)
            self._spawn(self._rejoin(side, leg))
        else:
            self._end(side, "room_deleted" if reason == ROOM_GONE else "failed")

    async def _rejoin(self, side: SideName, old: Leg) -> None:
        """Under a new identity: the server keeps the old one for a while, and a SIP participant may be deaf to its return."""
        try:
            async with asyncio.timeout(REJOIN_LIMIT):
                while True:
                    if await self._joined_again(side):
                        break
                    await asyncio.sleep(REJOIN_PAUSE)
        except TimeoutError:
            self._end(side, "lost")
        finally:
            await old.close()
        if self.ended.done():
            return
        new = self._legs[side]
        if not new.is_present:
            self._end(side, "left")
        elif new.closed_because is not None:
            self._on_closed(side, new, new.closed_because)
        for identity, muted in self._legs[OTHER[side]].muted.items():
            if muted:
                await new.mute(identity, True)
        await self._rooms.remove(side, self._identities[old])

    async def _joined_again(self, side: SideName) -> bool:
        try:
            await self._rooms.check()  # a join would create a deleted room again
            leg = await self._join(side)
            # Until then the old one, which may have lost its signalling alone, goes on.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARING_LIMIT):
                    await leg.hearing.wait()
            self._legs[side] = leg
        except RelayError as error:
            if error.failure is RelayFailure.NO_ROOM:
                self._end(error.side, "room_deleted")
            logger.info("not yet: %s", error)
        return self.ended.done() or self._legs[side].closed_because is None
