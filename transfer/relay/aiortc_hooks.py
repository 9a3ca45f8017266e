"""Internals of aiortc 1.16.0 and aioice that the relay needs, all in one place.

aiortc has no public way to receive and send RTP packets without decoding them. `test_aiortc_hooks.py` fails when one of
these names goes away or takes other arguments.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aioice.ice
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceServer, RTCIceTransport, RTCSctpTransport
from aiortc.rtcicetransport import parse_stun_turn_uri

CONSENT_INTERVAL = 1
"""Seconds between two checks that the other end still answers; aioice has 5, too long for a call."""
CONSENT_FAILURES = 4
"""Checks without an answer after which the path counts as dead; aioice has 6."""

PacketHandler = Callable[[bytes], Awaitable[None]]


def prepare_process(server_url: str) -> None:
    """Sets aioice's process-wide values: called only where nothing but the relay runs."""
    aioice.ice.CONSENT_INTERVAL, aioice.ice.CONSENT_FAILURES = CONSENT_INTERVAL, CONSENT_FAILURES
    if is_loopback(server_url):
        # aioice leaves 127.0.0.1 out of its candidates, and nothing else reaches a server that listens there.
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_turn(url: str) -> bool:
    """False also for a URL that aiortc cannot read, such as one with an IPv6 address: it would raise when the leg is made."""
    try:
        return parse_stun_turn_uri(url)["scheme"] in ("turn", "turns")
    except ValueError:
        return False


def make_ice(servers: Sequence[RTCIceServer]) -> RTCIceTransport:
    """The offering side of a connection to an ICE-lite server: it checks, the server answers."""
    transport = RTCIceTransport(RTCIceGatherer(iceServers=list(servers)))
    transport._connection.ice_controlling = True
    return transport


class MediaTransport:
    """DTLS-SRTP over `ice`, with SCTP on top; received packets go to the handlers undecoded."""

    dtls: Any
    """An RTCDtlsTransport with methods of ours in the place of its own."""

    def __init__(self, ice: RTCIceTransport, on_rtp: PacketHandler, on_rtcp: PacketHandler) -> None:
        self.dtls = RTCDtlsTransport(ice, [RTCCertificate.generateCertificate()])

        async def on_rtp_data(data: bytes, arrival_time_ms: int) -> None:
            await on_rtp(data)

        self.dtls._handle_rtp_data, self.dtls._handle_rtcp_data = on_rtp_data, on_rtcp
        self.sctp = RTCSctpTransport(self.dtls)

    @property
    def fingerprint(self) -> str:
        """SHA-256, as an SDP has it."""
        return next(str(f.value) for f in self.dtls.getLocalParameters().fingerprints if f.algorithm == "sha-256")

    @property
    def is_connected(self) -> bool:
        return bool(self.dtls.state == "connected")

    async def connect(self, parameters: Any) -> bool:
        """Does the handshake in the role that the answer leaves to us, and starts SCTP."""
        self.dtls._set_role("server" if parameters.role == "client" else "client")
        await self.dtls.start(parameters)
        if self.is_connected:
            await self.sctp.start(None, 5000)  # aiortc reads none of the other end's limits
        return self.is_connected

    async def send(self, packet: bytes) -> None:
        """RTP or RTCP; ConnectionError when the transport is closed."""
        await self.dtls._send_rtp(packet)

    async def close(self) -> None:
        await self.sctp.stop()
        await self.dtls.stop()
