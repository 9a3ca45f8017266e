"""Digest authentication of SIP (RFC 3261 section 22): MD5, with and without `qop=auth`."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass

NONCE_LIFETIME = 300.0
"""Seconds."""


@dataclass(frozen=True)
class Credentials:
    username: str
    password: str


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _fields(header: str) -> dict[str, str]:
    return {name.lower(): quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header)}


def _response(credentials: Credentials, fields: dict[str, str], method: str, uri: str) -> str:
    secret = _md5(f"{credentials.username}:{fields.get('realm', '')}:{credentials.password}")
    what = _md5(f"{method}:{uri}")
    middle = ":{nc}:{cnonce}:{qop}".format(**fields) if fields.get("qop") else ""
    return _md5(f"{secret}:{fields.get('nonce', '')}{middle}:{what}")


def answer_challenge(challenge: str, credentials: Credentials, method: str, uri: str) -> str:
    """The Authorization value for a WWW-Authenticate or Proxy-Authenticate value."""
    fields = _fields(challenge)
    if "auth" in fields.get("qop", "").split(","):
        fields |= {"qop": "auth", "nc": "00000001", "cnonce": secrets.token_hex(8)}
    else:
        fields.pop("qop", None)
    answer = _response(credentials, fields, method, uri)
    parts = [
        f'username="{credentials.username}"',
        f'realm="{fields.get("realm", "")}"',
        f'nonce="{fields.get("nonce", "")}"',
        f'uri="{uri}"',
        f'response="{answer}"',
        "algorithm=MD5",
    ]
    if fields.get("qop"):
        parts += [f"qop=auth, nc={fields['nc']}", f'cnonce="{fields["cnonce"]}"']
    if "opaque" in fields:
        parts.append(f'opaque="{fields["opaque"]}"')
    return "Digest " + ", ".join(parts)


class Challenger:
    """The side that asks for credentials and checks them."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._nonces: dict[str, float] = {}

    def challenge(self) -> str:
        now = time.monotonic()
        self._nonces = {nonce: at for nonce, at in self._nonces.items() if now - at < NONCE_LIFETIME}
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = now
        return f'Digest realm="{self._realm}", nonce="{nonce}", algorithm=MD5'

    def accepts(self, authorization: str, credentials: Credentials, method: str) -> bool:
        fields = _fields(authorization)
        if fields.get("nonce") not in self._nonces or fields.get("username") != credentials.username:
            return False
        expected = _response(credentials, fields, method, fields.get("uri", ""))
        return secrets.compare_digest(expected, fields.get("response", ""))
