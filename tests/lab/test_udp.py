"""Sound waits for a lab that does not get the CPU for a moment."""

from __future__ import annotations

import socket

import pytest

from lab.server.transport import UdpMultiplexer
from lab.sip.rtp import RtpSession
from tests.lab.support import until

PACKETS = 500
"""Of five streams in two seconds."""


async def test_what_comes_while_nobody_reads_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    server, phone = UdpMultiplexer(), RtpSession()
    await server.open("127.0.0.1", 0)
    await phone.open("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        for ear in (server, phone):
            heard: list[bytes] = []
            monkeypatch.setattr(ear, "datagram_received", lambda data, address, heard=heard: heard.append(data))
            for _ in range(PACKETS):  # nothing is read meanwhile: this loop is ours
                mouth.sendto(bytes(172), ("127.0.0.1", ear.port))
            await until(lambda heard=heard: len(heard) == PACKETS, "every packet is there")  # type: ignore[misc]
            ear.close()
