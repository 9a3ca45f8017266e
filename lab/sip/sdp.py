"""Session descriptions of telephone calls (RFC 4566, 3264): G.711 and telephone-event, nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.sip import g711

KEYS_PAYLOAD_TYPE = 101


class NoCommonCodec(ValueError):
    """The offer has no G.711."""


@dataclass(frozen=True)
class AudioDescription:
    """Where the other side wants its sound, and in what."""

    host: str
    port: int
    law: int
    keys_payload_type: int | None

    @classmethod
    def parse(cls, body: bytes) -> AudioDescription:
        """Raises NoCommonCodec, or ValueError for a body that is no description."""
        text = body.decode(errors="replace")
        media = re.search(r"^m=audio (\d+) RTP/AVP ([\d ]+)\s*$", text, re.MULTILINE)
        if not media:
            raise NoCommonCodec("no RTP audio in the description")
        hosts = re.findall(r"^c=IN IP4 (\S+)", text[media.start() :], re.MULTILINE)
        host = hosts or re.findall(r"^c=IN IP4 (\S+)", text, re.MULTILINE)
        law = next((int(pt) for pt in media[2].split() if int(pt) in (g711.PCMU, g711.PCMA)), None)
        if law is None or not host:
            raise NoCommonCodec("neither PCMU nor PCMA is offered")
        keys = re.search(r"^a=rtpmap:(\d+) telephone-event/8000", text, re.MULTILINE)
        return cls(host[0], int(media[1]), law, int(keys[1]) if keys else None)


def write(
    host: str, port: int, laws: tuple[int, ...] = (g711.PCMU, g711.PCMA), keys: int | None = KEYS_PAYLOAD_TYPE
) -> bytes:
    """An offer, or with one law an answer."""
    names = {g711.PCMU: "PCMU/8000", g711.PCMA: "PCMA/8000"}
    types = [str(law) for law in laws] + ([str(keys)] if keys else [])
    lines = [
        "v=0",
        f"o=- {port} 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(types)}",
    ]
    lines += [f"a=rtpmap:{law} {names[law]}" for law in laws]
    if keys:
        lines += [f"a=rtpmap:{keys} telephone-event/8000", f"a=fmtp:{keys} 0-16"]
    lines += ["a=ptime:20", "a=sendrecv", ""]
    return "\r\n".join(lines).encode()
