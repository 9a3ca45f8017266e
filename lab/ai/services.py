"""The loopback services: one HTTP server with OpenAI's and Deepgram's paths over an engine and the rule brain."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable
from typing import Any, Self, TextIO

from aiohttp import web
from aiohttp.typedefs import Handler

from lab.ai.brain import Brain
from lab.ai.deepgram import DeepgramApi
from lab.ai.engines import Engine, make_engine
from lab.ai.faults import Fault, Faults
from lab.ai.openai import OpenAiApi
from lab.ai.settings import AiSettings

EventListener = Callable[[dict[str, Any]], None]


class AiServices:
    """Start it, point a worker's OPENAI_BASE_URL and DEEPGRAM_BASE_URL at it, stop it."""

    def __init__(self, settings: AiSettings | None = None) -> None:
        self.settings = settings or AiSettings()
        if not ipaddress.ip_address(self.settings.host).is_loopback:
            raise ValueError(f"the lab binds loopback addresses only, not {self.settings.host}")
        self.faults = Faults()
        self.on_event: EventListener = lambda event: None
        self.engine: Engine = (
            make_engine("instant")
            if self.settings.engine == "instant"
            else make_engine(
                "speech",
                cache=self.settings.cache,
                threads=self.settings.threads,
                end_silence=self.settings.end_silence,
            )
        )
        self.requests = 0
        """So far, of all services; a websocket is one."""
        self.open_streams = 0
        """Requests under way now."""
        self._runner: web.AppRunner | None = None
        self._events: TextIO | None = None

    @property
    def url(self) -> str:
        assert self._runner
        return f"http://{self.settings.host}:{self._runner.addresses[0][1]}"

    @property
    def openai_base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def deepgram_base_url(self) -> str:
        return self.url

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Raises OSError when the port is in use."""
        app = web.Application(client_max_size=32 << 20, middlewares=[self._count])
        OpenAiApi(self.engine, Brain(), self.faults, self.settings, self._note).add_routes(app)
        DeepgramApi(self.engine, self.faults, self.settings, self._note).add_routes(app)
        app.router.add_post("/lab/faults", self._plan_fault)
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.settings.host, self.settings.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        if self.settings.events:
            self._events = self.settings.events.open("a", buffering=1)
        await self.engine.start()

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        await self.engine.stop()
        if self._events:
            self._events.close()

    def _note(self, event: str, **values: Any) -> None:
        line = {"t": time.monotonic(), "event": event, **values}
        self.on_event(line)
        if self._events:
            self._events.write(json.dumps(line) + "\n")

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        self.open_streams += 1
        try:
            return await handler(request)
        except ConnectionResetError:
            return web.Response()  # the client has gone or was interrupted, and listens no longer
        finally:
            self.open_streams -= 1

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _plan_fault(self, request: web.Request) -> web.Response:
        """{"service": "llm", "kind": "status", "status": 500, "count": 1}"""
        body = await request.json()
        fault = Fault(body.get("kind", "status"), int(body.get("status", 500)))
        self.faults.plan(body["service"], fault, int(body.get("count", 1)))
        return web.json_response({"ok": True})
