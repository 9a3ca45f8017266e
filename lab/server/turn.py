"""A TURN server (RFC 8656) over UDP, for clients whose own packets do not get through to the media port.

It relays to loopback addresses and never to any other, and counts allocations and packets for each user.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self, cast

from aioice import stun

from lab.server.settings import IceServer

Address = tuple[str, int]

ALLOCATION_LIFETIME = 600
"""Seconds of an allocation that is not refreshed (RFC 8656, 7.2)."""
PERMISSION_LIFETIME, CHANNEL_LIFETIME = 300.0, 600.0
"""Seconds (RFC 8656, 9 and 12)."""
CHANNELS = range(0x4000, 0x5000)
UDP = 17
"""As REQUESTED-TRANSPORT has it, in its first byte."""
REALM = "lab"


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Allocation:
    """The relayed socket of one client, and who may send to it."""

    def __init__(self, host: str, user: str, transaction: bytes, on_packet: Callable[[bytes, Address], None]) -> None:
        self.user, self.transaction = user, transaction
        self._on_packet = on_packet
        self._permitted: dict[str, float] = {}
        """Until when, by the peer's host."""
        self._channels: dict[int, tuple[Address, float]] = {}
        """The peer, and until when."""
        self._expiry: asyncio.TimerHandle | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self.address: Address = self._socket.getsockname()
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def expire_after(self, seconds: float, then: Callable[[], None]) -> None:
        if self._expiry:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(seconds, then)

    def close(self) -> None:
        if self._expiry:
            self._expiry.cancel()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def permit(self, peer: Address) -> None:
        self._permitted[peer[0]] = time.monotonic() + PERMISSION_LIFETIME

    def _permits(self, peer: Address) -> bool:
        return self._permitted.get(peer[0], 0.0) > time.monotonic()

    def bind(self, channel: int, peer: Address) -> None:
        """Refused where the channel belongs to another peer, or the peer has another channel."""
        if channel not in CHANNELS or self.channel_of(peer) not in (None, channel):
            raise Refused(400, "Bad Request")
        if self.peer_of(channel) not in (None, peer):
            raise Refused(400, "Bad Request")
        self._channels[channel] = peer, time.monotonic() + CHANNEL_LIFETIME
        self.permit(peer)

    def peer_of(self, channel: int) -> Address | None:
        peer, until = self._channels.get(channel, (None, 0.0))
        return peer if until > time.monotonic() else None

    def channel_of(self, peer: Address) -> int | None:
        return next((channel for channel in self._channels if self.peer_of(channel) == peer), None)

    def send(self, data: bytes, peer: Address) -> bool:
        """False where the client has no permission to."""
        if not self._permits(peer):
            return False
        with contextlib.suppress(OSError):  # lost, as any datagram may be
            self._socket.sendto(data, peer)
        return True

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            data, peer = self._socket.recvfrom(65535)
            if self._permits(peer):
                self._on_packet(data, peer)


class TurnServer(asyncio.DatagramProtocol):
    """Start it, put its `ice_server` into the settings of a LabServer, stop it: nothing is left."""

    def __init__(self, *, credential: str = "turn-secret", lifetime: int = ALLOCATION_LIFETIME) -> None:
        """Accepts any user name with the `credential`. `lifetime`: seconds of an allocation."""
        self.allocated: Counter[str] = Counter()
        """How many allocations each user has made so far."""
        self.relayed: Counter[str] = Counter()
        """How many packets have been relayed from and to each user."""
        self.addresses: set[Address] = set()
        """Addresses of the relayed sockets that are open."""
        self._host, self._port = "127.0.0.1", 0
        self._credential, self._lifetime = credential, lifetime
        self._nonce = secrets.token_hex(8).encode()
        self._allocations: dict[Address, Allocation] = {}
        """By the client's address."""
        self._socket: asyncio.DatagramTransport | None = None

    @property
    def ice_server(self) -> IceServer:
        """The server as a LabServer offers it to its clients, each as its own user."""
        return IceServer((f"turn:{self._host}:{self._port}?transport=udp",), credential=self._credential)

    @property
    def address(self) -> Address:
        return self._host, self._port

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(self._host, 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in list(self._allocations):
            self._free(client)
        if self._socket:
            self._socket.close()
            self._socket = None

    def leftovers(self) -> dict[str, int]:
        """The number of each kind still alive; empty after the block, and once every client has freed its allocations."""
        counts = {"allocations": len(self._allocations), "sockets": len(self.addresses) + int(self._socket is not None)}
        return {kind: count for kind, count in counts.items() if count}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)
        self._port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, client: Address) -> None:
        if len(data) >= 4 and data[0] & 0xC0 == 0x40:
            self._on_channel_data(data, client)
            return
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            return
        if message.message_class == stun.Class.REQUEST:
            self._on_request(message, client)
        elif message.message_class == stun.Class.INDICATION and message.message_method == stun.Method.SEND:
            self._on_send(message, client)

    def _send(self, data: bytes, client: Address) -> None:
        if self._socket:
            self._socket.sendto(data, client)

    # -- requests

    def _on_request(self, request: stun.Message, client: Address) -> None:
        key: bytes | None = None
        try:
            if request.message_method == stun.Method.BINDING:
                answer: dict[str, Any] = {"XOR-MAPPED-ADDRESS": client}
            else:
                key = self._key_of(request)
                answer = self._serve(request, client)
            kind = stun.Class.RESPONSE
        except Refused as refused:
            kind, answer = stun.Class.ERROR, {"ERROR-CODE": (refused.code, refused.reason)}
            if refused.code in (401, 438):
                answer |= {"REALM": REALM, "NONCE": self._nonce}
        response = stun.Message(request.message_method, kind, request.transaction_id, answer)
        if key:
            response.add_message_integrity(key)
        self._send(bytes(response), client)

    def _key_of(self, request: stun.Message) -> bytes:
        """The key that the request is signed with; Refused where it is not the user's (RFC 8489, 9.2.4)."""
        if "MESSAGE-INTEGRITY" not in request.attributes:
            raise Refused(401, "Unauthorized")
        if not {"USERNAME", "REALM", "NONCE"} <= request.attributes.keys():
            raise Refused(400, "Bad Request")
        if request.attributes["NONCE"] != self._nonce:
            raise Refused(438, "Stale Nonce")
        key = hashlib.md5(f"{request.attributes['USERNAME']}:{REALM}:{self._credential}".encode()).digest()
        if not request.check_message_integrity(key):
            raise Refused(401, "Unauthorized")
        return key

    def _serve(self, request: stun.Message, client: Address) -> dict[str, Any]:
        """Serves a signed request; returns the attributes of the answer."""
        if request.message_method == stun.Method.ALLOCATE:
            return self._allocate(request, client)
        allocation = self._allocations.get(client)
        if allocation is None:
            raise Refused(437, "Allocation Mismatch")
        if request.attributes["USERNAME"] != allocation.user:
            raise Refused(441, "Wrong Credentials")
        match request.message_method:
            case stun.Method.REFRESH:
                return self._refresh(request, client)
            case stun.Method.CREATE_PERMISSION:
                allocation.permit(self._peer_in(request))
            case stun.Method.CHANNEL_BIND:
                allocation.bind(request.attributes.get("CHANNEL-NUMBER", 0), self._peer_in(request))
            case _:
                raise Refused(400, "Bad Request")
        return {}

    def _allocate(self, request: stun.Message, client: Address) -> dict[str, Any]:
        allocation = self._allocations.get(client)
        if allocation and allocation.transaction != request.transaction_id:
            raise Refused(437, "Allocation Mismatch")
        if request.attributes.get("REQUESTED-TRANSPORT", 0) >> 24 != UDP:
            raise Refused(442, "Unsupported Transport Protocol")
        if allocation is None:  # otherwise the request has been sent twice
            user = request.attributes["USERNAME"]
            allocation = self._allocations[client] = Allocation(
                self._host, user, request.transaction_id, lambda data, peer: self._on_packet(data, peer, client)
            )
            self.addresses.add(allocation.address)
            self.allocated[user] += 1
        mapped = {"XOR-RELAYED-ADDRESS": allocation.address, "XOR-MAPPED-ADDRESS": client}
        return mapped | self._refresh(request, client)

    def _refresh(self, request: stun.Message, client: Address) -> dict[str, Any]:
        lifetime = min(request.attributes.get("LIFETIME", self._lifetime), self._lifetime)
        if lifetime:
            self._allocations[client].expire_after(lifetime, lambda: self._free(client))
        else:
            self._free(client)
        return {"LIFETIME": lifetime}

    def _free(self, client: Address) -> None:
        allocation = self._allocations.pop(client)
        self.addresses.discard(allocation.address)
        allocation.close()

    @staticmethod
    def _peer_in(request: stun.Message) -> Address:
        peer: Address | None = request.attributes.get("XOR-PEER-ADDRESS")
        if peer is None:
            raise Refused(400, "Bad Request")
        if not ipaddress.ip_address(peer[0]).is_loopback:
            raise Refused(403, "Forbidden")
        return peer

    # -- the relayed packets

    def _on_channel_data(self, data: bytes, client: Address) -> None:
        channel, length = struct.unpack_from("!HH", data)
        allocation = self._allocations.get(client)
        peer = allocation.peer_of(channel) if allocation else None
        if allocation and peer and len(data) >= 4 + length and allocation.send(data[4 : 4 + length], peer):
            self.relayed[allocation.user] += 1

    def _on_send(self, indication: stun.Message, client: Address) -> None:
        allocation = self._allocations.get(client)
        peer, data = indication.attributes.get("XOR-PEER-ADDRESS"), indication.attributes.get("DATA")
        if allocation and peer and data is not None and allocation.send(data, peer):
            self.relayed[allocation.user] += 1

    def _on_packet(self, data: bytes, peer: Address, client: Address) -> None:
        """A peer's packet, on its way to the client."""
        allocation = self._allocations[client]
        self.relayed[allocation.user] += 1
        if channel := allocation.channel_of(peer):
            self._send(struct.pack("!HH", channel, len(data)) + data, client)
        else:
            attributes = {"XOR-PEER-ADDRESS": peer, "DATA": data}
            self._send(bytes(stun.Message(stun.Method.DATA, stun.Class.INDICATION, attributes=attributes)), client)
