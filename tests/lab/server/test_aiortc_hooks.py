"""The insides of aiortc and aioice that the server leans on are still what it takes them for."""

from __future__ import annotations

import asyncio
import struct

from aioice import stun
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport

from lab.server.aiortc_hooks import SRTP_NAMES, BindingRequest, DtlsSession
from tests.lab.support import Path


def fingerprint(certificate: RTCCertificate) -> str:
    return next(f.value for f in certificate.getFingerprints() if f.algorithm == "sha-256")


async def test_a_handshake_leaves_keys_with_which_media_passes_both_ways() -> None:
    ours, theirs = RTCCertificate.generateCertificate(), RTCCertificate.generateCertificate()
    here, there = Path.both_ends("controlled")
    session = DtlsSession(here, ours)
    peer = RTCDtlsTransport(there, [theirs])
    for name in SRTP_NAMES:
        assert hasattr(peer, name), name
    assert not session.keyed
    peer._set_role("server")
    parameters = RTCDtlsParameters([RTCDtlsFingerprint("sha-256", fingerprint(ours))])
    connected, _ = await asyncio.gather(session.connect(fingerprint(theirs)), peer.start(parameters))
    assert connected and session.connected and session.keyed
    rtp = struct.pack("!BBHII", 0x80, 111, 1, 960, 0x1234) + b"opus"
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, 0x1234, 1, 2, 3, 4)
    assert session.unprotect_rtp(peer._tx_srtp.protect(rtp)) == rtp
    assert session.unprotect_rtcp(peer._tx_srtp.protect_rtcp(report)) == report
    assert peer._rx_srtp.unprotect(session.protect_rtp(rtp)) == rtp
    assert peer._rx_srtp.unprotect_rtcp(session.protect_rtcp(report)) == report
    await session.close()
    await peer.stop()
    await asyncio.sleep(0)  # the reader of the association ends
    assert not session.connected


async def test_a_wrong_fingerprint_is_refused() -> None:
    ours, theirs = RTCCertificate.generateCertificate(), RTCCertificate.generateCertificate()
    here, there = Path.both_ends("controlled")
    session = DtlsSession(here, ours)
    peer = RTCDtlsTransport(there, [theirs])
    peer._set_role("server")
    parameters = RTCDtlsParameters([RTCDtlsFingerprint("sha-256", fingerprint(ours))])
    connected, _ = await asyncio.gather(session.connect(fingerprint(ours)), peer.start(parameters))
    assert not connected
    await peer.stop()
    await session.close()


def test_a_connectivity_check_is_read_and_answered() -> None:
    check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    check.attributes["USERNAME"] = "ours:theirs"
    check.attributes["USE-CANDIDATE"] = None
    check.add_message_integrity(b"password")
    request = BindingRequest.parse(bytes(check))
    assert request and request.ufrag == "ours" and request.nominates
    assert request.is_signed_with(b"password")
    assert not request.is_signed_with(b"another")
    answer = stun.parse_message(request.answer(("127.0.0.1", 4000), b"password"))
    assert answer.check_message_integrity(b"password")
    assert answer.message_class == stun.Class.RESPONSE
    assert answer.transaction_id == check.transaction_id
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == ("127.0.0.1", 4000)


def test_what_is_no_connectivity_check_is_none() -> None:
    nameless = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)
    answer.attributes["USERNAME"] = "ours:theirs"
    assert [BindingRequest.parse(data) for data in (b"", b"\x00\x01", bytes(nameless), bytes(answer))] == [None] * 4
