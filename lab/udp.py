"""The common part of all UDP sockets of the lab that carry sound."""

from __future__ import annotations

import asyncio
import socket

RECEIVE_BUFFER = 4 << 20
"""Bytes requested; the system gives net.core.rmem_max at most. The usual 200 kB hold 250 packets: with all of a call's
streams on one socket, half a second in which this process does not get the CPU loses sound."""


def widen(transport: asyncio.BaseTransport) -> None:
    """Lets more packets wait for us."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
