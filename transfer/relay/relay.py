"""Joins two rooms, from the side of the process that asks: starts the relay's process, hands it the order, hears how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from transfer.relay.errors import Ended, RelayError, RelayFailure
from transfer.relay.order import PARTICIPANT_LIMIT, EngineChoice, EngineName, Order, Side
from transfer.relay.rooms import RoomApi

logger = logging.getLogger("transfer.relay")

CHILD = Path(__file__).with_name("child.py")
READY_LIMIT = 20.0
"""Seconds until both rooms are joined, after which the process is taken for hanging: both engines have limits of their own."""
WAIT_LIMIT = 30.0
"""Seconds that a new process may take to be ready for an order, on a very busy machine."""
STOP_LIMIT = 3.0
"""Seconds that the process gets to leave both rooms; then it is killed."""
RESTARTS = 3
"""Of a process that dies while two people talk."""


class RelayProcess:
    """One relay process: started ahead of time by `launch`, it waits for one order and ends with it."""

    def __init__(self, child: subprocess.Popen[bytes], ours: socket.socket) -> None:
        self._child, self._socket = child, ours
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None
        self._has_order = False

    @classmethod
    def launch(cls) -> RelayProcess:
        """Returns at once: the process takes about a second to be ready. OSError when none can start."""
        ours, theirs = socket.socketpair()
        try:
            # A session of its own: a signal to the agent's processes is none to the two people who talk.
            child = subprocess.Popen(
                [sys.executable, "-P", str(CHILD), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(child, ours)

    @property
    def pid(self) -> int:
        return self._child.pid

    async def read(self) -> dict[str, Any] | None:
        """The next message; None when the process has ended. Its log lines are logged here."""
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return None
            if not line:
                return None
            message: dict[str, Any] = json.loads(line)
            if "log" not in message:
                return message
            logger.log(message["level"], "%s", message["log"])

    async def order(self, order: Order) -> None:
        """From now on the process joins both rooms; nobody hears anybody. RelayError when there is no process."""
        await self._answer(WAIT_LIMIT)
        self._has_order = True
        self._send(order.to_json())

    async def open(self) -> tuple[EngineName, str]:
        """Returns the running engine and the reason for it, once both are heard; otherwise RelayError."""
        self._send('{"open": true}')
        answer = await self._answer(READY_LIMIT)
        if "failed" in answer:
            raise RelayError(RelayFailure(answer["failed"]), answer["detail"], answer["side"])
        return answer["ready"], answer["why"]

    async def _answer(self, limit: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(limit):
                message = await self.read()
        except TimeoutError as error:
            raise RelayError(RelayFailure.FAILED, "the relay's process does not answer") from error
        if message is None:
            raise RelayError(RelayFailure.FAILED, "the relay's process has ended")
        return message

    def _send(self, line: str) -> None:
        assert self._writer
        self._writer.write(line.encode() + b"\n")

    async def stop(self) -> Ended | None:
        """Ends the process and its relay; returns how the relay ended, if reported. Harmless when it has ended."""
        ended: Ended | None = None
        if not self._has_order:
            self._child.kill()  # it has no room to leave, and may still be loading
        elif self._writer is not None and not self._writer.is_closing():
            self._send('{"stop": true}')
            try:
                async with asyncio.timeout(STOP_LIMIT):
                    while message := await self.read():
                        ended = Ended(message["side"], message["ended"]) if "ended" in message else ended
            except TimeoutError:
                logger.error("the relay's process does not end: it is killed")
                self._child.kill()
        self.let_go()
        await self.gone()
        return ended

    def let_go(self) -> None:
        """From now on the process, if it has an order, is on its own."""
        if self._writer is not None:
            self._writer.close()
        else:
            self._socket.close()

    async def gone(self) -> None:
        """Waits for its end; a process that does not end by itself is killed."""
        try:
            await asyncio.to_thread(self._child.wait, STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            await asyncio.to_thread(self._child.wait)


class Relay:
    """Two rooms that hear each other. `engine` and `why` tell how, `ended` when and why that ends."""

    def __init__(self, order: Order, process: RelayProcess) -> None:
        self._order, self._process = order, process
        self.engine: EngineName = "packet"
        self.why = ""
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._joining: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the process that carries the audio."""
        return self._process.pid

    @property
    def ended(self) -> asyncio.Future[Ended]:
        """Resolves when the relay has ended; the rooms are being deleted then, as their sides say.

        Each waiter gets a future of its own: one that gives up waiting ends no other's.
        """
        return asyncio.shield(self._ended)

    def join(self) -> None:
        """Joins both rooms ahead of `start`, which then takes no time. Returns at once."""
        if self._joining is None:
            self._joining = asyncio.create_task(self._process.order(self._order))

    async def start(self) -> None:
        """RelayError when the two cannot be joined; then nothing is left."""
        ahead = self._joining is not None
        self.join()
        assert self._joining
        try:
            try:
                await self._joining
                self.engine, self.why = await self._process.open()
            except RelayError as error:
                if not ahead or error.failure is not RelayFailure.FAILED:
                    raise
                logger.warning("the relay that was joined ahead is gone: %s", error)
                await self._replace_process()
        except BaseException:
            await self._process.stop()
            raise
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        restarts = 0
        while True:
            message = await self._process.read()
            if message is not None and "ended" in message:
                self._ended.set_result(Ended(message["side"], message["ended"]))
                return
            if message is None:
                if restarts == RESTARTS or not await self._start_again():
                    await self._give_up()
                    return
                restarts += 1

    async def _start_again(self) -> bool:
        """The process is dead, the people are not."""
        logger.error("the relay's process has died: another one takes its place")
        try:
            await self._replace_process()
        except (RelayError, OSError) as error:
            logger.error("the relay cannot be had back: %s", error)
            return False
        return True

    async def _replace_process(self) -> None:
        self._process.let_go()
        await self._process.gone()
        self._process = RelayProcess.launch()
        await self._process.order(self._order)
        self.engine, self.why = await self._process.open()

    async def _give_up(self) -> None:
        ended = Ended(None, "failed")
        self._ended.set_result(ended)
        async with RoomApi(self._order) as rooms:
            await rooms.end_call(ended, looked_after=True)

    async def stop(self) -> None:
        """Ends the relay and, as the sides say, their rooms, if it was started."""
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        if self._watching is not None and not self._ended.done():
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        ended = await self._process.stop()
        if not self._ended.done():
            self._ended.set_result(ended or Ended(None, "stopped"))

    def let_go(self) -> None:
        """Leaves the two to the relay: it goes on without us, and ends the call when one of them hangs up."""
        if self._watching is not None:
            self._watching.cancel()
        self._process.let_go()


@asynccontextmanager
async def relay_rooms(
    first: Side,
    second: Side,
    *,
    url: str | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    engine: EngineChoice = "auto",
    participant_limit: float = PARTICIPANT_LIMIT,
) -> AsyncIterator[Relay]:
    """Joins two rooms: the participant of each is heard in the other, keypad tones and mutes included, until one of them
    leaves, a room is deleted, or the block is left. Then both rooms are deleted, but for one with `keep`.

    The audio is carried by a process of its own. When this process is killed, it goes on.

    Args:
        first, second: The rooms. Both, and their participants, must be there.
        url, api_key, api_secret: LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET when not given.
        engine: "packet" forwards Opus packets; "sdk" decodes and encodes, which takes 60 to 100 ms and ten times the CPU;
            "auto" takes the second where the first cannot connect within 3 s or the audio is encrypted.
        participant_limit: Seconds that a participant may take to be there with audio.

    Raises:
        RelayError: The two cannot be joined. Its `failure` tells why; nothing is left behind.
        ValueError: An address or a key is missing.
    """
    order = Order(
        url=_given(url, "LIVEKIT_URL"),
        api_key=_given(api_key, "LIVEKIT_API_KEY"),
        api_secret=_given(api_secret, "LIVEKIT_API_SECRET"),
        first=first,
        second=second,
        engine=engine,
        participant_limit=participant_limit,
    )
    try:
        relay = Relay(order, RelayProcess.launch())
    except OSError as error:
        raise RelayError(RelayFailure.FAILED, "no process can be started") from error
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


def _given(value: str | None, variable: str) -> str:
    found = value or os.environ.get(variable, "")
    if not found:
        raise ValueError(f"{variable} is not set, and nothing was given instead")
    return found
