"""What a leg offers, read back as the server reads it, and what it reads from the server's answer."""

from __future__ import annotations

import pytest
from aiortc import RTCIceParameters

from lab.server.sdp import parse_offer
from transfer.relay.sdp import read_answer, write_offer

ANSWER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 AA:BB
a=setup:active
a=mid:0
a=sctp-port:5000
a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host
a=candidate:2 1 tcp 1518280447 192.0.2.1 7881 typ host tcptype passive
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:1
a=recvonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:2
a=sendonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=msid:PA_x|TR_y TR_y
a=ssrc:77 cname:x
""".replace("\n", "\r\n")


def test_the_offer_has_data_each_track_and_sections_to_receive_in_and_opus_alone() -> None:
    ice = RTCIceParameters(usernameFragment="user", password="password")
    text = write_offer(
        version=1, ice=ice, fingerprint="AA:BB", candidates=[], sending=[("one", 5), ("two", 6)], receiving=2
    )
    offer = parse_offer(text)
    assert (offer.ufrag, offer.fingerprint) == ("user", "AA:BB")
    assert [s.mid for s in offer.sections] == ["0", "1", "2", "3", "4"]
    assert [(s.direction, s.track_cid, s.ssrcs) for s in offer.audio] == [
        ("sendonly", "one", [5]),
        ("sendonly", "two", [6]),
        ("recvonly", "", []),
        ("recvonly", "", []),
    ]
    assert {codec for section in offer.audio for codec in section.rtpmaps.values()} == {"opus/48000/2"}


def test_the_answer_names_the_transport_and_what_each_stream_carries() -> None:
    answer = read_answer(ANSWER, {})
    assert answer.ice.usernameFragment == "abcd"
    assert [candidate.protocol for candidate in answer.candidates] == ["udp"]
    assert answer.tracks == {77: "TR_y"}
    assert read_answer(ANSWER, {"2": "TR_z"}).tracks == {77: "TR_z"}


def test_an_answer_without_a_transport_is_refused() -> None:
    with pytest.raises(ValueError, match="names no transport"):
        read_answer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", {})
