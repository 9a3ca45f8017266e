"""Faults, for tests: of the network between one participant and the server, and of calls of the server's API."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass

from google.protobuf.message import Message


class NetworkFaults:
    """Acts on both directions of one participant's media. The defaults are a perfect network."""

    def __init__(self, seed: int, identity: str = "") -> None:
        self.loss = 0.0
        """Share of packets that are dropped, 0 to 1."""
        self.jitter = 0.0
        """Most seconds that a packet is held back; packets overtake each other."""
        self.delay = 0.0
        """Seconds by which everything that the participant sends is late, its handshakes included."""
        self.goodbye_lost = False
        """True: the server does not hear this telephone leave, and keeps it in the room until `vanish_timeout`."""
        self.cut = False
        """True: nothing passes, connectivity checks included."""
        self.only_with: Container[tuple[str, int]] | None = None
        """Addresses from and to which packets pass, as through a firewall; None: all."""
        self._random = random.Random(f"{seed}:{identity}")  # each participant's own pattern, the same in every run

    def lets_through(self, address: tuple[str, int]) -> bool:
        return self.only_with is None or address in self.only_with

    def take_time(self, deliver: Callable[[], None]) -> None:
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, deliver)
        else:
            deliver()

    def pass_on(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        if self.cut or (self.loss and self._random.random() < self.loss):
            return
        if self.jitter:
            asyncio.get_running_loop().call_later(self._random.uniform(0, self.jitter), deliver, data)
        else:
            deliver(data)


@dataclass(frozen=True)
class ApiFault:
    """The fault that strikes one call of the server API."""

    code: str = ""
    """The Twirp error that it gets instead of being served."""
    message: str = "a planned fault"
    before: float = 0.0
    """Seconds until it is served: it succeeds late."""
    hangs: bool = False
    """True: it is neither served nor answered."""
    drops: bool = False
    """True: its connection is closed in place of an answer, and it is not served."""
    unanswered: bool = False
    """True: it is served, and its answer never comes."""


@dataclass(frozen=True)
class ApiCall:
    at: float
    """`time.monotonic()`"""
    method: str
    request: Message


class ApiFaults:
    """The planned faults, by method, and the latest calls."""

    LATELY = 1000

    def __init__(self) -> None:
        self.calls: deque[ApiCall] = deque(maxlen=self.LATELY)
        self.on_call: Callable[[ApiCall], Awaitable[None] | None] = lambda call: None
        """Called before a call is served; an awaitable that it returns is awaited."""
        self._planned: dict[str, deque[ApiFault]] = {}
        self._spared: dict[str, str] = {}

    def plan(self, method: str, fault: ApiFault, count: int = 1, *, but_room: str = "") -> None:
        """The next `count` calls of `method`, such as "MoveParticipant", meet `fault`, unless they are about `but_room`."""
        self._planned.setdefault(method, deque()).extend([fault] * count)
        self._spared[method] = but_room

    def clear(self) -> None:
        self._planned.clear()
        self.on_call = lambda call: None

    async def meet(self, method: str, request: Message) -> ApiFault:
        """Notes the call and applies the part of its fault that precedes serving; returns the fault."""
        call = ApiCall(time.monotonic(), method, request)
        self.calls.append(call)
        if (waiting := self.on_call(call)) is not None:
            await waiting
        spared = self._spared.get(method)
        planned = None if spared and getattr(request, "room", "") == spared else self._planned.get(method)
        fault = planned.popleft() if planned else ApiFault()
        if fault.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(fault.before)
        return fault
