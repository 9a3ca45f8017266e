"""Lets the human and the caller hear each other: moves the human into the caller's room, or joins the two rooms."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from livekit import api, rtc
from livekit.agents import JobContext

from transfer.consult import Consult
from transfer.livekit_adapter import server_url
from transfer.masking import mask
from transfer.move_memory import may_move, remember_no_move
from transfer.outcome import TransferReason, WarmTransferError
from transfer.presence import present_in
from transfer.relay import Order, Relay, RelayError, RelayProcess, Side
from transfer.server_api import API_ERRORS, is_in_room, is_not_found

logger = logging.getLogger("transfer")

BridgeKind = Literal["auto", "move", "relay"]

MOVE_LIMIT = 2.0
"""Seconds until a move that does not succeed is given up."""
ARRIVAL_LOOK = 0.5
"""Seconds between two queries of the server for the human's arrival: our own connection may be down."""
RELAY_LIMIT = 10.0
"""Seconds that a relay may take, with both of its engines tried."""


@dataclass(frozen=True)
class Bridged:
    """How the two were connected."""

    kind: str
    """"move", "relay/packet" or "relay/sdk"."""
    why: str
    """Why this kind was used."""
    relay: Relay | None = None
    """The relay that carries the audio; None: both are in the caller's room."""


class Bridge(Protocol):
    """One way to let two people in two rooms hear each other."""

    def prepare(self) -> None:
        """Called while the phone rings: starts slow preparations. Returns at once."""

    def join_ahead(self, consult: Consult) -> None:
        """Called when the human is being briefed: starts the steps that need no agreement. Returns at once."""

    async def connect(self, consult: Consult) -> Bridged:
        """Returns when the two hear each other; otherwise WarmTransferError (bridge failed)."""

    def turn_away(self, identity: str) -> None:
        """Called when the transfer ends while the two are being connected: keeps the human away from the caller."""

    async def aclose(self) -> None:
        """Ends unused preparations."""


class MoveBridge:
    """MoveParticipant: LiveKit Cloud does it, the open-source server answers that it is not implemented."""

    def __init__(self, job: JobContext, room: rtc.Room, why: str = "as set") -> None:
        self._job = job
        self._room = room
        self._why = why

    def prepare(self) -> None:
        """Does nothing: no step takes long."""

    def join_ahead(self, consult: Consult) -> None:
        """Does nothing: no step can be taken now."""

    async def aclose(self) -> None:
        """Nothing is left open."""

    async def connect(self, consult: Consult) -> Bridged:
        try:
            return await self.move(consult)
        except WarmTransferError:
            self.turn_away(consult.human_identity)
            raise

    async def move(self, consult: Consult) -> Bridged:
        """Like `connect`, but leaves a timed-out move alone, because it may still succeed."""
        request = api.MoveParticipantRequest(
            room=consult.room_name, identity=consult.human_identity, destination_room=self._room.name
        )
        asking = asyncio.ensure_future(self._job.api.room.move_participant(request))
        arriving = asyncio.create_task(self._arrival(consult.human_identity))
        try:
            async with asyncio.timeout(MOVE_LIMIT):
                # A human who has arrived has been moved, whatever the answer is.
                await asyncio.wait({asking, arriving}, return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done():
                    asking.result()
                await arriving
        except API_ERRORS as error:
            logger.warning("the move failed: %s", mask(str(error)))
            detail = mask(str(error)) or f"no answer within {MOVE_LIMIT:g} s"
            raise WarmTransferError(TransferReason.BRIDGE_FAILED, detail) from error
        finally:
            asking.cancel()
            arriving.cancel()
            await asyncio.gather(asking, arriving, return_exceptions=True)
        return Bridged("move", self._why)

    async def _arrival(self, identity: str) -> None:
        arrived = asyncio.Event()

        def on_arrival(participant: rtc.RemoteParticipant) -> None:
            if participant.identity == identity:
                arrived.set()

        self._room.on("participant_connected", on_arrival)
        try:
            while not (arrived.is_set() or await self._is_there(identity)):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(arrived.wait(), ARRIVAL_LOOK)
        finally:
            self._room.off("participant_connected", on_arrival)

    async def _is_there(self, identity: str) -> bool:
        if identity in present_in(self._room):
            return True
        if self._room.connection_state == rtc.ConnectionState.CONN_CONNECTED:
            return False
        return await is_in_room(self._job.api, self._room.name, identity)

    def turn_away(self, identity: str) -> None:
        """A move that was given up can still succeed; the human whom it brings is removed."""
        removing: set[asyncio.Task[None]] = set()

        def on_arrival(participant: rtc.RemoteParticipant) -> None:
            if participant.identity == identity:
                removing.add(asyncio.create_task(self._remove(identity)))

        self._room.on("participant_connected", on_arrival)
        removing.add(asyncio.create_task(self._remove(identity)))  # our own connection may be down

    async def _remove(self, identity: str) -> None:
        request = api.RoomParticipantIdentity(room=self._room.name, identity=identity)
        try:
            await self._job.api.room.remove_participant(request)
        except API_ERRORS as error:
            if is_not_found(error):
                return
            logger.error("a human who was moved too late could not be removed: %s", type(error).__name__)


class RelayBridge:
    """Joins the two rooms; each stays in their own."""

    def __init__(self, job: JobContext, room: rtc.Room, caller: Callable[[], str | None]) -> None:
        """`caller` returns the caller's identity."""
        self._job, self._room, self._caller = job, room, caller
        self._process: RelayProcess | None = None
        self._ahead: tuple[Consult, Relay] | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    def prepare(self) -> None:
        if self._process is None and self._ahead is None:
            with contextlib.suppress(OSError):  # tried again when it is needed, and reported then
                self._process = RelayProcess.launch()

    def join_ahead(self, consult: Consult) -> None:
        """Puts the relay into both rooms before the human agrees; until then it passes nothing on."""
        self._drop_ahead()
        self.prepare()
        if self._process is not None and self._caller():
            process, self._process = self._process, None
            self._ahead = consult, Relay(self._order(consult, after_move=False), process)
            self._ahead[1].join()

    def _drop_ahead(self) -> None:
        """Stops a relay for a human who did not take the call."""
        if self._ahead is not None:
            self._see_to(asyncio.create_task(self._ahead[1].stop()))
            self._ahead = None

    async def _start(self, relay: Relay) -> None:
        """A relay that is given up leaves both rooms by itself: neither the caller nor the human waits for that."""
        starting = asyncio.create_task(relay.start())
        try:
            async with asyncio.timeout(RELAY_LIMIT):
                await asyncio.shield(starting)
        except BaseException:
            self._see_to(asyncio.create_task(_abandon(relay, starting)))
            raise

    def _see_to(self, stopping: asyncio.Task[None]) -> None:
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def aclose(self) -> None:
        self._drop_ahead()
        process, self._process = self._process, None
        if process is not None:
            await process.stop()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    async def connect(self, consult: Consult) -> Bridged:
        return await self.join(consult, "as set", after_move=False)

    def turn_away(self, identity: str) -> None:
        """The human has never left their own room."""

    async def join(self, consult: Consult, why: str, *, after_move: bool) -> Bridged:
        """`after_move`: a move of the human has been given up and may still succeed."""
        try:
            relay = self._take(consult, after_move=after_move)
            await self._start(relay)
        except (RelayError, TimeoutError, OSError) as error:
            logger.warning("the rooms could not be joined: %s", error)
            raise WarmTransferError(TransferReason.BRIDGE_FAILED, str(error)) from error
        consult.keeps_room = True
        reason = why if relay.why in ("as set", "") else f"{why}; {relay.why}"
        return Bridged(f"relay/{relay.engine}", reason, relay)

    def _take(self, consult: Consult, *, after_move: bool) -> Relay:
        """The relay joined ahead for this consult, or a new one. OSError when no process can start."""
        if self._ahead is not None and self._ahead[0] is consult:
            (_, relay), self._ahead = self._ahead, None
            return relay
        self.prepare()
        process, self._process = self._process or RelayProcess.launch(), None
        return Relay(self._order(consult, after_move=after_move), process)

    def _order(self, consult: Consult, *, after_move: bool) -> Order:
        encryption = self._room.e2ee_manager.options
        key = encryption.key_provider_options.shared_key if encryption else None
        caller = Side(
            room=self._room.name,
            participant=self._caller() or "",
            also=(self._room.local_participant.identity,),  # our agent introduces the two, to both
            keep=True,
            shared_key=key.decode(errors="ignore") if key else "",
        )
        return Order(
            url=server_url(self._job),
            api_key=os.environ.get("LIVEKIT_API_KEY", ""),
            api_secret=os.environ.get("LIVEKIT_API_SECRET", ""),
            first=caller,
            second=Side(consult.room_name, consult.human_identity),
            after_move=after_move,
        )


async def _abandon(relay: Relay, starting: asyncio.Task[None]) -> None:
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await relay.stop()  # it may have started at this very moment


class AutoBridge:
    """Moves where the server can, and joins the rooms where it cannot or does not."""

    def __init__(self, url: str, move: MoveBridge, relay: RelayBridge) -> None:
        """`url`: of the server, which may have said that it cannot move."""
        self._url, self._move, self._relay = url, move, relay

    def prepare(self) -> None:
        self._relay.prepare()

    def join_ahead(self, consult: Consult) -> None:
        if not may_move(self._url):
            self._relay.join_ahead(consult)

    async def aclose(self) -> None:
        await self._relay.aclose()

    def turn_away(self, identity: str) -> None:
        self._move.turn_away(identity)

    async def connect(self, consult: Consult) -> Bridged:
        if not may_move(self._url):
            return await self._relay.join(consult, "this server cannot move a participant", after_move=False)
        try:
            return await self._move.move(consult)
        except WarmTransferError as error:
            if consult.human_left.is_set():
                raise
            why, cannot = f"the move failed: {error.detail}", _is_not_implemented(error.__cause__)
        if cannot:
            remember_no_move(self._url)
            return await self._relay.join(consult, "this server cannot move a participant", after_move=False)
        try:
            return await self._relay.join(consult, why, after_move=True)
        except WarmTransferError:
            self._move.turn_away(consult.human_identity)
            raise


def _is_not_implemented(error: BaseException | None) -> bool:
    """The open-source server's answer (1.13), and that of servers that do not know the method at all."""
    return isinstance(error, api.TwirpError) and (
        "not implemented" in error.message or error.code in ("unimplemented", "bad_route")
    )


def make_bridge(kind: BridgeKind, job: JobContext, room: rtc.Room, caller: Callable[[], str | None]) -> Bridge:
    """`caller` returns the caller's identity when it is needed."""
    match kind:
        case "move":
            return MoveBridge(job, room)
        case "relay":
            return RelayBridge(job, room, caller)
        case "auto":
            move = MoveBridge(job, room, "this server can")
            return AutoBridge(server_url(job), move, RelayBridge(job, room, caller))
