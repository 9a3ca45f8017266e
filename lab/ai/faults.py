"""Services that fail on purpose: the next requests of a kind get an error, no answer, or a closed connection."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

Service = Literal["llm", "tts", "stt"]


@dataclass(frozen=True)
class Fault:
    kind: Literal["status", "stall", "close"]
    status: int = 500


class Faults:
    """The planned faults, by service."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Fault]] = {"llm": deque(), "tts": deque(), "stt": deque()}

    def plan(self, service: Service, fault: Fault, count: int = 1) -> None:
        """The next `count` requests of `service` meet `fault`."""
        self._queues[service].extend([fault] * count)

    def clear(self) -> None:
        for queue in self._queues.values():
            queue.clear()

    async def meet(self, service: Service, request: web.Request) -> None:
        """Applies the planned fault, if there is one, to this request."""
        if not self._queues[service]:
            return
        fault = self._queues[service].popleft()
        if fault.kind == "stall":
            await asyncio.Event().wait()
        if fault.kind == "close":
            if request.transport:
                request.transport.close()
            raise web.HTTPServiceUnavailable
        raise PlannedError(fault.status)


class PlannedError(web.HTTPException):
    """The fault as an HTTP answer, with a body as OpenAI writes it."""

    def __init__(self, status: int) -> None:
        self.status_code = status
        body = {"error": {"message": "a planned fault", "type": "server_error", "code": None}}
        super().__init__(text=json.dumps(body), content_type="application/json")
