"""WebRTC transport of the server: one UDP socket for all clients, ICE-lite, DTLS-SRTP.

Knows nothing of LiveKit. A packet is decrypted, handed on and encrypted again within one step of the event loop.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pylibsrtp
from aiortc import RTCCertificate

from lab.server.aiortc_hooks import BindingRequest, DtlsSession
from lab.server.faults import NetworkFaults
from lab.udp import widen

logger = logging.getLogger("lab.server.transport")

Address = tuple[str, int]


@dataclass(frozen=True)
class RtpPacket:
    """One RTP packet without its header extensions and padding."""

    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        start, end = 12 + 4 * (first & 0x0F), len(data)
        if first & 0x10:
            start += 4 + 4 * struct.unpack_from("!H", data, start + 2)[0]
        if first & 0x20:
            end -= data[-1]
        return cls(bool(second >> 7), sequence, timestamp, ssrc, data[start:end])


class UdpMultiplexer(asyncio.DatagramProtocol):
    """The socket. STUN finds the client by its user name; everything else by the address that STUN came from."""

    def __init__(self) -> None:
        self.certificate = RTCCertificate.generateCertificate()
        self.by_ufrag: dict[str, PeerTransport] = {}
        self.by_address: dict[Address, PeerTransport] = {}
        self.host, self.port = "", 0
        self._socket: asyncio.DatagramTransport | None = None

    @property
    def fingerprint(self) -> str:
        return next(f.value for f in self.certificate.getFingerprints() if f.algorithm == "sha-256")

    async def open(self, host: str, port: int) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, port))

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: on CPython 3.11 the selector transport is no subclass of DatagramTransport.
        self._socket = cast(asyncio.DatagramTransport, transport)
        widen(transport)
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def send(self, data: bytes, address: Address) -> None:
        if self._socket and not self._socket.is_closing():
            self._socket.sendto(data, address)

    def datagram_received(self, data: bytes, address: Address) -> None:
        if not data:
            return
        if data[0] < 4:
            self._on_stun(data, address)
        elif (peer := self.by_address.get(address)) and peer.faults.lets_through(address):
            peer.faults.take_time(functools.partial(peer.receive, data))

    def _on_stun(self, data: bytes, address: Address) -> None:
        """Answers a connectivity check: an ICE-lite agent does no more."""
        request = BindingRequest.parse(data)
        peer = self.by_ufrag.get(request.ufrag) if request else None
        if request is None or peer is None or peer.faults.cut or not peer.faults.lets_through(address):
            return
        password = peer.passwords[request.ufrag]
        if not request.is_signed_with(password):
            return
        peer.faults.take_time(functools.partial(self._answer, request, peer, address))

    def _answer(self, request: BindingRequest, peer: PeerTransport, address: Address) -> None:
        self.send(request.answer(address, peer.passwords[request.ufrag]), address)
        self.by_address[address] = peer
        peer.checked(address, nominated=request.nominates and request.ufrag == peer.ufrag)


class PeerTransport:
    """The server's end of one client's bundled transport. An ICE restart is one more ufrag; DTLS never notices."""

    role = "controlled"

    def __init__(self, multiplexer: UdpMultiplexer, faults: NetworkFaults) -> None:
        self.multiplexer = multiplexer
        self.faults = faults
        self.passwords: dict[str, bytes] = {}
        self.ufrag = ""
        self.seen = time.monotonic()
        self.on_rtp: Callable[[RtpPacket], None] = lambda packet: None
        self.on_rtcp: Callable[[bytes], None] = lambda data: None
        self._address: Address | None = None
        self._reachable = asyncio.Event()
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._session = DtlsSession(self, multiplexer.certificate)
        self.sctp = self._session.sctp
        self._closed = False
        self.restart_ice()

    def restart_ice(self) -> None:
        self.ufrag = secrets.token_hex(4)
        self.passwords[self.ufrag] = secrets.token_hex(16).encode()
        self.multiplexer.by_ufrag[self.ufrag] = self

    @property
    def password(self) -> str:
        return self.passwords[self.ufrag].decode()

    def checked(self, address: Address, *, nominated: bool) -> None:
        """A valid connectivity check came from `address`."""
        self.seen = time.monotonic()
        if self._address is None or nominated:
            self._address = address
            self._reachable.set()

    async def connect(self, fingerprint: str) -> bool:
        await self._reachable.wait()
        return await self._session.connect(fingerprint)

    def receive(self, data: bytes) -> None:
        if 127 < data[0] < 192:
            self.faults.pass_on(data, self._on_srtp)
        elif 19 < data[0] < 64 and not self.faults.cut:
            self._inbox.put_nowait(data)

    def _on_srtp(self, data: bytes) -> None:
        if not self._session.keyed or self._closed:
            return
        try:
            if 191 < data[1] < 224:
                self.on_rtcp(self._session.unprotect_rtcp(data))
            else:
                self.on_rtp(RtpPacket.parse(self._session.unprotect_rtp(data)))
        except (pylibsrtp.Error, struct.error, IndexError) as error:
            logger.debug("dropped a media packet: %s", error)

    def send_rtp(self, data: bytes) -> None:
        if self._session.connected and not self._closed:
            self.faults.pass_on(self._session.protect_rtp(data), self._send_now)

    def send_rtcp(self, data: bytes) -> None:
        if self._session.connected and not self._closed:
            self.faults.pass_on(self._session.protect_rtcp(data), self._send_now)

    def _send_now(self, data: bytes) -> None:
        if self._address and not self._closed and self.faults.lets_through(self._address):
            self.multiplexer.send(data, self._address)

    async def _recv(self) -> bytes:
        data = await self._inbox.get()
        if data is None:
            raise ConnectionError("the transport is closed")
        return data

    async def _send(self, data: bytes) -> None:
        if self._closed:
            raise ConnectionError("the transport is closed")
        if not self.faults.cut:
            self._send_now(data)

    async def close(self) -> None:
        if self._closed:
            return
        try:
            if self._address:
                await self._session.close()
        except ConnectionError:
            logger.debug("closed a transport that was gone")
        finally:
            self._closed = True
            self._inbox.put_nowait(None)
            for ufrag in self.passwords:
                self.multiplexer.by_ufrag.pop(ufrag, None)
            for address in [a for a, peer in self.multiplexer.by_address.items() if peer is self]:
                del self.multiplexer.by_address[address]
