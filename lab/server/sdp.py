"""The two SDP jobs of a `/rtc/v1` server: read the client's offer, write the answer. Audio and data; video is answered inactive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.server.transport import PeerTransport

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass
class MediaSection:
    """One m-line of an offer."""

    kind: str
    payload_types: list[str]
    mid: str = ""
    direction: str = "sendrecv"
    track_cid: str = ""
    """The client's own id of the track that it wants to publish here."""
    ssrcs: list[int] = field(default_factory=list)
    rtpmaps: dict[str, str] = field(default_factory=dict)

    @property
    def opus_payload_type(self) -> str | None:
        return next((pt for pt, codec in self.rtpmaps.items() if codec.lower().startswith("opus/48000")), None)

    @property
    def sends(self) -> bool:
        return self.direction in ("sendonly", "sendrecv")


@dataclass
class Offer:
    sections: list[MediaSection]
    ufrag: str
    fingerprint: str

    @property
    def audio(self) -> list[MediaSection]:
        return [section for section in self.sections if section.kind == "audio"]


@dataclass(frozen=True)
class Receive:
    """The server receives the client's track in this section."""

    dtx: bool


@dataclass(frozen=True)
class Send:
    """The server sends a subscribed track in this section."""

    ssrc: int
    stream_id: str
    track_id: str


Role = Receive | Send | None


def parse_offer(sdp: str) -> Offer:
    offer = Offer([], "", "")
    for line in sdp.splitlines():
        kind, _, value = line.strip().partition("=")
        if kind == "m":
            media, _port, _protocol, *payload_types = value.split()
            offer.sections.append(MediaSection(media, payload_types))
        elif kind == "a":
            _read_attribute(offer, value)
    return offer


def _read_attribute(offer: Offer, attribute: str) -> None:
    name, _, value = attribute.partition(":")
    if name == "ice-ufrag":
        offer.ufrag = offer.ufrag or value
    elif name == "fingerprint" and value.lower().startswith("sha-256 "):
        offer.fingerprint = offer.fingerprint or value.split()[1]
    elif offer.sections:
        _read_media_attribute(offer.sections[-1], name, value)


def _read_media_attribute(section: MediaSection, name: str, value: str) -> None:
    if name == "mid":
        section.mid = value
    elif name in DIRECTIONS:
        section.direction = name
    elif name == "msid":
        section.track_cid = value.split()[-1]
    elif name == "ssrc":
        if (ssrc := int(value.split()[0])) not in section.ssrcs:
            section.ssrcs.append(ssrc)
    elif name == "rtpmap":
        payload_type, codec = value.split(maxsplit=1)
        section.rtpmaps[payload_type] = codec


def write_answer(offer: Offer, version: int, transport: PeerTransport, role_of: Callable[[MediaSection], Role]) -> str:
    """The answer to `offer`; `role_of` gives the server's role in an audio section."""
    mids = " ".join(section.mid for section in offer.sections)
    lines = ["v=0", f"o=- 1 {version} IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite", f"a=group:BUNDLE {mids}"]
    lines.append("a=msid-semantic: WMS *")
    for index, section in enumerate(offer.sections):
        lines += _section_lines(section, transport, role_of(section) if section.kind == "audio" else None)
        if index == 0:
            multiplexer = transport.multiplexer
            lines.append(f"a=candidate:1 1 udp 2130706431 {multiplexer.host} {multiplexer.port} typ host")
            lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"


def _section_lines(section: MediaSection, transport: PeerTransport, role: Role) -> list[str]:
    common = [
        "c=IN IP4 0.0.0.0",
        f"a=ice-ufrag:{transport.ufrag}",
        f"a=ice-pwd:{transport.password}",
        f"a=fingerprint:sha-256 {transport.multiplexer.fingerprint}",
        "a=setup:active",
        f"a=mid:{section.mid}",
    ]
    if section.kind == "application":
        media = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
        return [media, *common, "a=sctp-port:5000", "a=max-message-size:65535"]
    payload_type = section.opus_payload_type if section.kind == "audio" else None
    payload_type = payload_type or section.payload_types[0]
    lines = [f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {payload_type}", *common, "a=rtcp-mux"]
    if codec := section.rtpmaps.get(payload_type):
        lines.append(f"a=rtpmap:{payload_type} {codec}")
    if section.kind == "audio":
        # Only Opus is accepted: without RED, NACK and header extensions the SDK sends plain Opus and is content.
        dtx = ";usedtx=1" if isinstance(role, Receive) and role.dtx else ""
        lines.append(f"a=fmtp:{payload_type} minptime=10;useinbandfec=1{dtx}")
    return lines + _role_lines(role)


def _role_lines(role: Role) -> list[str]:
    if isinstance(role, Receive):
        return ["a=recvonly"]
    if isinstance(role, Send):
        msid = f"{role.stream_id} {role.track_id}"
        return [
            "a=sendonly",
            f"a=msid:{msid}",
            f"a=ssrc:{role.ssrc} cname:{role.stream_id}",
            f"a=ssrc:{role.ssrc} msid:{msid}",
        ]
    # Never port 0: a rejected section would be recycled and its mid change.
    return ["a=inactive"]
