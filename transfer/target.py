"""A target as the server wants it: a number or a user, and the host of a user who is reached by a SIP URI.

The server refuses a whole URI ("SipCallTo should be a phone number or SIP user", protocol of 2026): it takes the user
part, and the host as an inline trunk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from livekit import api
from livekit.protocol.sip import (
    SIP_TRANSPORT_TCP,
    SIP_TRANSPORT_TLS,
    SIP_TRANSPORT_UDP,
)

_URI = re.compile(
    r"(?P<scheme>sips?):(?P<user>[^@\s;:?]+)@(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?P<port>:\d{1,5})?(?P<rest>[;?]\S*)?",
    re.IGNORECASE,
)
_TRANSPORTS = {
    "udp": SIP_TRANSPORT_UDP,
    "tcp": SIP_TRANSPORT_TCP,
    "tls": SIP_TRANSPORT_TLS,
}


@dataclass(frozen=True)
class Target:
    """A number or user that can be dialled."""

    user: str
    """A number, an extension, or the user part of a SIP URI."""
    host: str = ""
    """Where the user is, with its port; empty: behind the trunk."""
    transport: str = ""
    """"udp", "tcp" or "tls"; empty: as the server likes."""

    @classmethod
    def parse(cls, text: str) -> Target:
        """From a number, a user, `tel:…`, `sip:user` or `sip:user@host:port;transport=…`.

        Raises ValueError for a URI that cannot be dialled: one with a password in it, or with no host behind the @.
        """
        text = text.strip()
        if "@" not in text:
            return cls(re.sub(r"^(?:sips?|tel):", "", text, flags=re.IGNORECASE))
        match = _URI.fullmatch(text if re.match(r"sips?:", text, re.IGNORECASE) else f"sip:{text}")
        if match is None:
            raise ValueError("a SIP URI is written as sip:user@host, sip:user@host:port or sip:user@host;transport=tcp")
        named = re.search(r";transport=(\w+)", match["rest"] or "", re.IGNORECASE)
        transport = named[1].lower() if named and named[1].lower() in _TRANSPORTS else ""
        if match["scheme"].lower() == "sips":
            transport = "tls"
        return cls(match["user"], f"{match['host']}{match['port'] or ''}", transport)

    def connection(self, known: api.SIPOutboundConfig | None) -> api.SIPOutboundConfig:
        """The inline trunk to the host; with the credentials of `known` where that is the same host."""
        config = api.SIPOutboundConfig()
        if known is not None and _bare(known.hostname) == _bare(self.host):
            config.CopyFrom(known)
        config.hostname = self.host
        if self.transport:
            config.MergeFrom(api.SIPOutboundConfig(transport=_TRANSPORTS[self.transport]))
        return config


def _bare(host: str) -> str:
    """Without the port."""
    return re.sub(r":\d+$", "", host).casefold()
