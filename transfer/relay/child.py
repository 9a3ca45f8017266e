"""The relay's own process. Started by `transfer.relay.relay` as a program, ahead of time: it waits for its order.

It speaks lines of JSON on a socket. When its parent process ends, it goes on until one of the two people leaves, and
then ends the call as the parent would have.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import sys
import types
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The package without what `transfer/__init__.py` loads: this process has no need of an agent framework.
    package = types.ModuleType("transfer")
    package.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["transfer"] = package

from transfer.relay.engine import Engine, start_engine
from transfer.relay.errors import Ended, RelayError, RelayFailure
from transfer.relay.order import Order
from transfer.relay.rooms import RoomApi

logger = logging.getLogger("transfer.relay")


class Line:
    """The connection to the parent process."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.is_open = True
        self.told_to_open, self.told_to_stop = asyncio.Event(), asyncio.Event()

    async def read(self) -> str:
        """One line; empty when the other end is closed."""
        try:
            return (await self._reader.readline()).decode()
        except ConnectionError:
            return ""

    def tell(self, **message: Any) -> None:
        if self.is_open:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def watch(self) -> None:
        """Reads until the other end is closed; if that happens before the two are connected, nobody is talking: it stops."""
        while line := await self.read():
            message = json.loads(line)
            if message.get("open"):
                self.told_to_open.set()
            if message.get("stop"):
                self.told_to_stop.set()
        self.is_open = False
        if not self.told_to_open.is_set():
            self.told_to_stop.set()

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        self._writer.close()


class LogLines(logging.Handler):
    """Sends what is logged to the log of the parent process, as long as it is there."""

    def __init__(self, line: Line) -> None:
        super().__init__(logging.INFO)
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if self._line.is_open:
            self._line.tell(log=text, level=record.levelno)
        else:
            print(f"relay: {text}", file=sys.stderr, flush=True)


async def carry(order: Order, line: Line) -> None:
    """From the order to the end of the call."""
    async with RoomApi(order) as rooms:
        watching = asyncio.create_task(line.watch())
        stop = asyncio.create_task(line.told_to_stop.wait())
        starting = asyncio.create_task(start_engine(order, rooms, line.told_to_open))
        engine: Engine | None = None
        try:
            first: set[asyncio.Future[Any]] = {starting, stop}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return
            engine, why = starting.result()
            line.tell(ready=engine.name, why=why)
            over: set[asyncio.Future[Any]] = {engine.ended, stop}
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            ended = await how_it_ended(order, rooms, engine)
            line.tell(ended=ended.reason, side=ended.side)
            await asyncio.gather(rooms.end_call(ended, looked_after=line.is_open), engine.close())
        except Exception as error:
            known = error if isinstance(error, RelayError) else RelayError(RelayFailure.FAILED, type(error).__name__)
            if known is not error:
                logger.exception("the relay failed")
            line.tell(failed=known.failure, detail=known.detail, side=known.side)
            if not line.is_open:
                await rooms.end_call(Ended(None, "failed"), looked_after=False)
        finally:
            for task in (starting, watching, stop):
                task.cancel()
            await asyncio.gather(starting, watching, stop, return_exceptions=True)
            if engine is not None:
                await engine.close()
            await rooms.leave_none_made_anew()


async def how_it_ended(order: Order, rooms: RoomApi, engine: Engine) -> Ended:
    """A participant who has left the second room may have been moved into the first, by a move that came late."""
    if not engine.ended.done():
        return Ended(None, "stopped")
    ended = engine.ended.result()
    if (
        order.after_move
        and ended == Ended("second", "left")
        and await rooms.is_in(order.first.room, order.second.participant)
    ):
        return Ended("second", "moved")
    return ended


async def serve(connection: socket.socket) -> None:
    line = Line(*await asyncio.open_connection(sock=connection))
    logging.getLogger().addHandler(LogLines(line))
    logging.getLogger("transfer.relay").setLevel(logging.INFO)
    import transfer.relay.packets  # noqa: F401  # loaded before the order comes: it takes half a second

    gc.freeze()
    line.tell(waiting=os.getpid())
    if order := await line.read():
        await carry(Order.from_json(order), line)
    await line.close()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1]))))
