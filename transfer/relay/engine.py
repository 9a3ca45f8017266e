"""Carries audio between two rooms: the common part of both engines, and the choice between them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from transfer.relay.errors import Ended, RelayError, RelayFailure
from transfer.relay.order import EngineName, Order
from transfer.relay.rooms import RoomApi

logger = logging.getLogger("transfer.relay")

FALL_BACK_AFTER = (RelayFailure.NO_MEDIA, RelayFailure.ENCRYPTED)
"""Failures of the packet engine that the SDK's may not have: it has ICE over TCP, and keys."""


class Engine(Protocol):
    """One way to carry audio."""

    name: EngineName
    ended: asyncio.Future[Ended]

    async def start(self) -> None:
        """Returns when both can be heard; otherwise RelayError, and nothing is left."""

    async def close(self) -> None:
        """Leaves both rooms; harmless at any moment."""


async def start_engine(order: Order, rooms: RoomApi, opened: asyncio.Event) -> tuple[Engine, str]:
    """The engine, running, and why it is this one. RelayError when there is none.

    Before `opened` nobody hears anybody: all possible steps are taken ahead of it, and a failed one is tried once more then.
    """
    while True:
        try:
            await rooms.check()
            return await _open_engine(order, rooms, opened)
        except RelayError as error:
            if opened.is_set():
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
        await _until_opened(engine, opened)
        await engine.open()
    except BaseException as error:
        await engine.close()
        if not isinstance(error, RelayError) or order.engine == "packet" or error.failure not in FALL_BACK_AFTER:
            raise
        await opened.wait()
        logger.warning("packets cannot be passed on, the audio is decoded and encoded instead: %s", error)
        return await _start_sdk(order, rooms), str(error)
    return engine, "as set" if order.engine == "packet" else "packets get through"


async def _until_opened(engine: Engine, opened: asyncio.Event) -> None:
    """RelayError when the engine ends first."""
    opening = asyncio.create_task(opened.wait())
    ends: set[asyncio.Future[Any]] = {opening, engine.ended}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        opening.cancel()
    if engine.ended.done():
        ended = engine.ended.result()
        raise RelayError(RelayFailure.FAILED, f"ended before it was opened: {ended.reason}", ended.side)


async def _start_sdk(order: Order, rooms: RoomApi) -> Engine:
    from transfer.relay.sdk import SdkEngine

    engine = SdkEngine(order, rooms)
    await engine.start()
    return engine
