"""Twirp over HTTP: finds the method, checks nothing but the token, turns errors into the JSON that LiveKit's clients read."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, get_type_hints

from aiohttp import web
from google.protobuf.message import DecodeError, Message

from lab.server.faults import ApiFaults
from lab.server.tokens import Claims, InvalidToken

logger = logging.getLogger("lab.server.twirp")

HTTP_STATUS = {
    "aborted": 409,
    "already_exists": 409,
    "bad_route": 404,
    "canceled": 408,
    "deadline_exceeded": 408,
    "failed_precondition": 412,
    "internal": 500,
    "invalid_argument": 400,
    "malformed": 400,
    "not_found": 404,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "unauthenticated": 401,
    "unavailable": 503,
    "unimplemented": 501,
    "unknown": 500,
}
"""From the Twirp specification, version 7."""


class TwirpError(Exception):
    """An answer that is an error; `meta` carries further facts for the client, such as the SIP status."""

    def __init__(self, code: str, message: str, meta: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.meta = meta or {}


def require(granted: bool) -> None:
    """Raises the real server's error when the token lacks a grant."""
    if not granted:
        raise TwirpError("unauthenticated", "permissions denied")


class TwirpRouter:
    """`POST /twirp/livekit.SERVICE/METHOD` calls `method(request, claims)` of the service."""

    def __init__(self, read_claims: Callable[[web.Request], Claims]) -> None:
        self._read_claims = read_claims
        self._services: dict[str, object] = {}
        self.faults = ApiFaults()

    def add_service(self, name: str, service: object) -> None:
        """`service`'s coroutine methods in CamelCase are the methods; the annotation of `request` is its message type."""
        self._services[name] = service

    async def handle(self, request: web.Request) -> web.Response:
        service, method = request.match_info["service"], request.match_info["method"]
        try:
            answer = await self._call(service, method, request)
        except TwirpError as error:
            logger.info("%s.%s: %s", service, method, error.code)
            body = {"code": error.code, "msg": error.message, "meta": error.meta}
            return web.json_response(body, status=HTTP_STATUS[error.code])
        except web.HTTPException:
            raise
        except Exception as error:
            logger.exception("%s.%s failed", service, method)
            body = {"code": "internal", "msg": f"internal error: {type(error).__name__}", "meta": {}}
            return web.json_response(body, status=HTTP_STATUS["internal"])
        return web.Response(body=answer.SerializeToString(), content_type="application/protobuf")

    async def _call(self, service: str, method: str, request: web.Request) -> Message:
        try:
            claims = self._read_claims(request)
        except InvalidToken as error:
            raise TwirpError("unauthenticated", str(error)) from None
        function: Any = getattr(self._services.get(service), method, None) if method[:1].isupper() else None
        if not inspect.iscoroutinefunction(function):
            raise TwirpError("bad_route", f"no handler for path {request.path!r}")
        message_type = get_type_hints(function)["request"]
        try:
            message = message_type.FromString(await request.read())
        except DecodeError:
            raise TwirpError("malformed", "the protobuf request could not be decoded") from None
        fault = await self.faults.meet(method, message)
        if fault.drops and request.transport is not None:
            request.transport.abort()
        if fault.code or fault.drops:
            raise TwirpError(fault.code or "unavailable", fault.message)
        answer = await function(message, claims)
        if fault.unanswered:
            await asyncio.Event().wait()
        assert isinstance(answer, Message)
        return answer
