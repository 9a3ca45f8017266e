"""Carries audio between two rooms: what both engines have in common, and the choice between them."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from transfer.relay.errors import Ended, RelayError, RelayFailure
from transfer.relay.order import EngineName, Order
from transfer.relay.rooms import RoomApi

logger = logging.getLogger("transfer.relay")

FALL_BACK_AFTER = (RelayFailure.NO_MEDIA, RelayFailure.ENCRYPTED)
"""Failures of the packet engine that the SDK's may not have: it has ICE over TCP, and keys."""


class Engine(Protocol):
    """One way to carry it."""

    name: EngineName
    ended: asyncio.Future[Ended]

    async def start(self) -> None:
        """Returns when both can be heard; RelayError, and nothing is left, when that cannot be."""

    async def close(self) -> None:
        """Leaves both rooms; harmless at any moment."""


async def start_engine(order: Order, rooms: RoomApi, opened: asyncio.Event) -> tuple[Engine, str]:
    """The engine, running, and why it is this one. RelayError when there is none.

    Before `opened` nobody hears anybody: what can be done ahead of it is, and what fails ahead is tried once more.
    """
    while True:
        ahead = not opened.is_set()
        try:
            await rooms.check()
            return await _open_engine(order, rooms, opened)
        except RelayError as error:
            if not ahead:
                raise
            logger.info("the rooms cannot be joined ahead: %s", error)
        await opened.wait()


async def _open_engine(order: Order, rooms: RoomApi, opened: asyncio.Event) -> tuple[Engine, str]:
    if order.engine == "sdk":
        await opened.wait()
        return await _start_sdk(order, rooms), "as set"
    # Here, because only one of the two is loaded as a rule.
    from transfer.relay.packets import PacketEngine

    engine = PacketEngine(order, rooms)
    try:
        await engine.start()
        await opened.wait()
        await engine.open()
    except BaseException as error:
        await engine.close()
        if not isinstance(error, RelayError) or order.engine == "packet" or error.failure not in FALL_BACK_AFTER:
            raise
        await opened.wait()
        logger.warning("packets cannot be passed on, the audio is decoded and encoded instead: %s", error)
        return await _start_sdk(order, rooms), str(error)
    return engine, "as set" if order.engine == "packet" else "packets get through"


async def _start_sdk(order: Order, rooms: RoomApi) -> Engine:
    from transfer.relay.sdk import SdkEngine

    engine = SdkEngine(order, rooms)
    await engine.start()
    return engine
