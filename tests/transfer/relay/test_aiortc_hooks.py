"""The insides of aiortc and aioice that the relay leans on are still what it takes them for."""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version

import aioice.ice
import pytest
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceServer, RTCIceTransport

from tests.lab.support import Path
from transfer.relay.aiortc_hooks import MediaTransport, is_loopback, is_turn, make_ice, prepare_process

RTP = bytes.fromhex("806f0001000003c000001234") + b"opus"
RTCP = bytes.fromhex("80c8000600001234") + bytes(20)


def test_the_version_is_the_one_whose_insides_are_known() -> None:
    assert version("aiortc") == "1.16.0"


@pytest.mark.parametrize(
    "method, parameters",
    [
        ("_handle_rtp_data", ["self", "data", "arrival_time_ms"]),
        ("_handle_rtcp_data", ["self", "data"]),
        ("_send_rtp", ["self", "data"]),
        ("_set_role", ["self", "role"]),
    ],
)
def test_the_dtls_transport_has_these_methods(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(RTCDtlsTransport, method)).parameters) == parameters


def test_the_ice_transport_has_a_connection_that_can_be_told_to_control() -> None:
    assert isinstance(make_ice([]), RTCIceTransport)
    assert make_ice([])._connection.ice_controlling is True


def test_aioice_reads_its_constants_and_addresses_when_it_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONSENT_INTERVAL", "CONSENT_FAILURES", "get_host_addresses"):
        monkeypatch.setattr(aioice.ice, name, getattr(aioice.ice, name))
    source = inspect.getsource(aioice.ice.Connection)
    assert "CONSENT_INTERVAL" in source and "CONSENT_FAILURES" in source
    assert "get_host_addresses(" in source
    prepare_process("ws://127.0.0.1:7880")
    assert aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True) == ["127.0.0.1"]


@pytest.mark.parametrize(
    "url, expected",
    [
        ("ws://127.0.0.1:7880", True),
        ("wss://localhost", True),
        ("ws://[::1]:80", True),
        ("wss://livekit.example.org", False),
        ("ws://192.0.2.7:7880", False),
    ],
)
def test_a_loopback_server_is_known_by_its_address(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    "url, expected",
    [
        ("turn:127.0.0.1:3478?transport=udp", True),
        ("turns:turn.example.org:443?transport=tcp", True),
        ("turn:[2001:db8::1]:3478?transport=udp", False),
        ("stun:127.0.0.1:3478", False),
        ("https://example.org", False),
    ],
)
def test_a_turn_server_that_aiortc_cannot_use_is_left_out(url: str, expected: bool) -> None:
    assert is_turn(url) is expected
    if expected:
        assert make_ice([RTCIceServer(urls=[url], username="a", credential="b")])._connection.turn_server


async def test_packets_pass_both_ways_undecoded_once_the_handshake_is_done() -> None:
    here, there = Path.both_ends("controlling")
    media: list[bytes] = []
    reports: list[bytes] = []

    async def on_rtp(data: bytes) -> None:
        media.append(data)

    async def on_rtcp(data: bytes) -> None:
        reports.append(data)

    transport = MediaTransport(here, on_rtp, on_rtcp)
    peer = RTCDtlsTransport(there, [RTCCertificate.generateCertificate()])
    peer._set_role("server")
    theirs = peer.getLocalParameters()
    theirs.role = "server"
    transport.dtls._set_role("client")
    await asyncio.gather(transport.dtls.start(theirs), peer.start(transport.dtls.getLocalParameters()))
    assert transport.is_connected
    await peer._send_rtp(RTP)
    await peer._send_rtp(RTCP)
    await transport.send(RTP)
    for _ in range(100):
        await asyncio.sleep(0.01)
        if media and reports:
            break
    assert (media, reports) == ([RTP], [RTCP])
    await transport.dtls.stop()
    await peer.stop()
