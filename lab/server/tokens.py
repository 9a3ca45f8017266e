"""Access tokens: checked, issued, and what their grants allow."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import jwt

LEEWAY = 60.0
"""Seconds for which a token is accepted before its time and after its expiry (livekit/protocol's tokenLeeway)."""


class InvalidToken(Exception):
    """Says why a token is refused."""


@dataclass(frozen=True)
class Claims:
    """The contents of a valid token."""

    identity: str
    name: str = ""
    kind: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    video: dict[str, Any] = field(default_factory=dict)
    sip: dict[str, Any] = field(default_factory=dict)
    room_config: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def room(self) -> str:
        return str(self.video.get("room", ""))

    def may_join(self) -> bool:
        return bool(self.video.get("roomJoin")) and bool(self.room) and bool(self.identity)

    def may_admin(self, room: str) -> bool:
        return bool(self.video.get("roomAdmin")) and self.room == room

    def may_call(self) -> bool:
        return bool(self.sip.get("call"))

    def may_manage_sip(self) -> bool:
        return bool(self.sip.get("admin"))

    def may_move(self, room: str, destination: str) -> bool:
        return self.may_admin(room) and self.video.get("destinationRoom") == destination


def read_token(token: str, key: str, secret: str) -> Claims:
    """The claims of `token`; InvalidToken says why not."""
    try:
        raw = jwt.decode(
            token, secret, algorithms=["HS256"], issuer=key, leeway=LEEWAY, options={"require": ["exp", "iss"]}
        )
    except jwt.PyJWTError as error:
        raise InvalidToken(f"invalid token: {error}") from None
    return Claims(
        identity=raw.get("sub", ""),
        name=raw.get("name", ""),
        kind=raw.get("kind", ""),
        metadata=raw.get("metadata", ""),
        attributes=raw.get("attributes") or {},
        video=raw.get("video") or {},
        sip=raw.get("sip") or {},
        room_config=raw.get("roomConfig") or {},
        raw=raw,
    )


def refreshed_token(claims: Claims, key: str, secret: str, *, lifetime: float = 6 * 3600) -> str:
    """The same grants, valid for another `lifetime` seconds."""
    now = int(time.time())
    return jwt.encode({**claims.raw, "iss": key, "nbf": now, "exp": now + int(lifetime)}, secret, algorithm="HS256")
