"""The sound of one call: RTP with G.711, and keys as RFC 4733 events, over a UDP socket of its own."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Callable
from typing import cast

import numpy as np

from lab.sip import g711
from lab.sip.sdp import AudioDescription
from lab.udp import widen

KEYS = "0123456789*#ABCD"
"""Event code = position (RFC 4733 section 3.2)."""
KEY_FRAMES = 12
"""20 ms packets of one key press: 240 ms."""
KEY_END_REPEATS = 3
KEY_GAP = 0.25
"""Seconds between two keys."""
PAUSE = 0.5
"""Seconds that a `w` among the keys waits."""


class RtpSession(asyncio.DatagramProtocol):
    """Callbacks: `on_audio(samples, timestamp, sequence)`, `on_key(key)`, `on_closed()`."""

    def __init__(self) -> None:
        self.on_audio: Callable[[np.ndarray, int, int], None] = lambda samples, timestamp, sequence: None
        self.on_key: Callable[[str], None] = lambda key: None
        self.on_closed: Callable[[], None] = lambda: None
        self.port = 0
        self._socket: asyncio.DatagramTransport | None = None
        self._remote: AudioDescription | None = None
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(31)
        self._first = True
        self._last_key_event: int | None = None
        self._pressing = asyncio.Lock()
        self._key_down = False
        self._unwanted = False
        self._closed: asyncio.Future[None] | None = None

    async def open(self, host: str) -> None:
        """Raises OSError when no port can be had."""
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        try:
            await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        except OSError:
            self._closed.set_result(None)
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)
        widen(transport)
        self.port = transport.get_extra_info("sockname")[1]
        if self._unwanted:
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._closed and not self._closed.done():
            self._closed.set_result(None)
        self.on_closed()

    def connect(self, remote: AudioDescription) -> None:
        """Sends to `remote` from now on."""
        self._remote = remote

    @property
    def connected(self) -> bool:
        return self._remote is not None

    def close(self) -> None:
        """May be called before or during opening, too."""
        self._unwanted = True
        if self._socket:
            self._socket.close()

    async def closed(self) -> None:
        """Returns when the socket is gone."""
        if self._closed:
            await asyncio.shield(self._closed)

    # -- in

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self._remote is None or len(data) < 12 or data[0] >> 6 != 2:
            return
        payload_type = data[1] & 0x7F
        sequence, timestamp = struct.unpack_from("!HI", data, 2)
        payload = data[12 + 4 * (data[0] & 0x0F) :]
        if payload_type == self._remote.keys_payload_type:
            self._on_key_event(payload, timestamp)
        elif payload_type in (g711.PCMU, g711.PCMA):
            self.on_audio(g711.decode(payload, payload_type), timestamp, sequence)

    def _on_key_event(self, payload: bytes, timestamp: int) -> None:
        """All packets of one press carry one timestamp."""
        if timestamp != self._last_key_event and payload and payload[0] < len(KEYS):
            self._last_key_event = timestamp
            self.on_key(KEYS[payload[0]])

    # -- out

    def _send(self, payload_type: int, payload: bytes, timestamp: int, marker: bool) -> None:
        if self._remote is None or self._socket is None or self._socket.is_closing():
            return
        self._sequence = (self._sequence + 1) & 0xFFFF
        header = struct.pack("!BBHII", 0x80, marker << 7 | payload_type, self._sequence, timestamp, self._ssrc)
        self._socket.sendto(header + payload, (self._remote.host, self._remote.port))

    def send_audio(self, samples: np.ndarray) -> None:
        """One frame of 160 samples. While a key is pressed only the time goes on."""
        if self._remote and not self._key_down:
            self._send(self._remote.law, g711.encode(samples, self._remote.law), self._timestamp, self._first)
            self._first = False
        self._timestamp = (self._timestamp + len(samples)) & 0xFFFFFFFF

    async def press(self, keys: str) -> None:
        """Presses `keys` one after the other, after those of earlier calls; `w` waits half a second."""
        async with self._pressing:
            for key in keys.upper():
                if key == "W":
                    await asyncio.sleep(PAUSE)
                elif key in KEYS:
                    self._key_down = True
                    try:
                        await self._press_one(KEYS.index(key))
                    finally:
                        self._key_down = False
                    await asyncio.sleep(KEY_GAP)

    async def _press_one(self, code: int) -> None:
        if self._remote is None or self._remote.keys_payload_type is None:
            return
        timestamp = self._timestamp = (self._timestamp + g711.FRAME) & 0xFFFFFFFF  # each press has its own
        for number in range(1, KEY_FRAMES + KEY_END_REPEATS):
            ended = number >= KEY_FRAMES
            duration = g711.FRAME * min(number, KEY_FRAMES)
            payload = struct.pack("!BBH", code, ended << 7 | 10, duration)
            self._send(self._remote.keys_payload_type, payload, timestamp, number == 1)
            await asyncio.sleep(0.02)
