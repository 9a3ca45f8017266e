"""The offer of a leg, and the parts that it reads of the answer: data, the tracks that it sends, and sections to receive in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiortc import RTCIceCandidate, RTCIceParameters
from aiortc.sdp import SessionDescription, candidate_to_sdp

PAYLOAD_TYPE = 111
"""Of Opus, in both rooms, because both offers are ours."""


@dataclass(frozen=True)
class Answer:
    """The server's decisions."""

    ice: RTCIceParameters
    dtls: Any
    """Fingerprints and role of the server's end."""
    candidates: list[RTCIceCandidate]
    tracks: dict[int, str]
    """Id of the track that each SSRC carries to us."""


def write_offer(
    *,
    version: int,
    ice: RTCIceParameters,
    fingerprint: str,
    candidates: Sequence[RTCIceCandidate],
    sending: Sequence[tuple[str, int]],
    receiving: int,
) -> str:
    """One data section, one for each track that we send (its id and SSRC), `receiving` that receive.

    Opus alone is offered: no RED, NACK or header extensions, so what arrives can be passed on as it is.
    """
    common = [
        "c=IN IP4 0.0.0.0",
        f"a=ice-ufrag:{ice.usernameFragment}",
        f"a=ice-pwd:{ice.password}",
        f"a=fingerprint:sha-256 {fingerprint}",
        "a=setup:actpass",
    ]
    audio = [
        f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}",
        *common,
        "a=rtcp-mux",
        f"a=rtpmap:{PAYLOAD_TYPE} opus/48000/2",
        f"a=fmtp:{PAYLOAD_TYPE} minptime=10;useinbandfec=1",
    ]
    last = 1 + len(sending) + receiving
    lines = ["v=0", f"o=- 1 {version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += ["a=group:BUNDLE " + " ".join(str(mid) for mid in range(last)), "a=msid-semantic: WMS *"]
    lines += ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", *common, "a=mid:0", "a=sctp-port:5000"]
    lines += [f"a=candidate:{candidate_to_sdp(candidate)}" for candidate in candidates]
    for mid, (track, ssrc) in enumerate(sending, 1):
        lines += [*audio, f"a=mid:{mid}", "a=sendonly", f"a=msid:relay {track}"]
        lines += [f"a=ssrc:{ssrc} cname:relay", f"a=ssrc:{ssrc} msid:relay {track}"]
    for mid in range(last - receiving, last):
        lines += [*audio, f"a=mid:{mid}", "a=recvonly"]
    return "\r\n".join(lines) + "\r\n"


def read_answer(sdp: str, mid_to_track: dict[str, str]) -> Answer:
    """ValueError for an answer without a transport."""
    description = SessionDescription.parse(sdp)
    first = description.media[0] if description.media else None
    if first is None or first.dtls is None or first.ice is None:
        raise ValueError("the server's answer names no transport")
    tracks = {}
    for media in description.media:
        if media.kind == "audio" and media.direction in ("sendonly", "sendrecv") and media.msid:
            track = mid_to_track.get(media.rtp.muxId) or media.msid.split()[-1]
            tracks.update({stream.ssrc: track for stream in media.ssrc})
    return Answer(first.ice, first.dtls, [c for c in first.ice_candidates if c.protocol == "udp"], tracks)
