"""Sound waits for a lab that does not get the CPU for a moment."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lab.server.transport import UdpMultiplexer
from lab.sip.rtp import RtpSession
from tests.lab.support import until

PACKETS = 500
"""Of five streams in two seconds."""


@pytest.mark.parametrize("kind", [UdpMultiplexer, RtpSession])
async def test_what_comes_while_nobody_reads_is_not_lost(kind: type[asyncio.DatagramProtocol]) -> None:
    heard: list[bytes] = []
    ear = kind()
    ear.datagram_received = lambda data, address: heard.append(data)  # type: ignore[method-assign]
    await (ear.open("127.0.0.1", 0) if isinstance(ear, UdpMultiplexer) else ear.open("127.0.0.1"))  # type: ignore[attr-defined]
    mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range(PACKETS):  # nothing is read meanwhile: this loop is ours
        mouth.sendto(number.to_bytes(2, "big") + bytes(170), ("127.0.0.1", ear.port))  # type: ignore[attr-defined]
    await until(lambda: len(heard) == PACKETS, "every packet is there")
    mouth.close()
    ear.close()  # type: ignore[attr-defined]
