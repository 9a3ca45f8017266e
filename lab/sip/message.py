"""SIP messages (RFC 3261): reading, writing, and the few header fields that have structure."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field

from lab.naming import mask

Address = tuple[str, int]
"""Host and port."""

COMPACT = {
    "v": "Via",
    "f": "From",
    "t": "To",
    "i": "Call-ID",
    "m": "Contact",
    "l": "Content-Length",
    "c": "Content-Type",
}
"""RFC 3261 section 7.3.3."""

REASONS = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    416: "Unsupported URI Scheme",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    603: "Decline",
}


class MalformedMessage(ValueError):
    """The datagram is no SIP message."""


@dataclass
class SipMessage:
    """A request (`method` and `uri`) or a response (`status` and `reason`)."""

    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def is_request(self) -> bool:
        return bool(self.method)

    def get(self, name: str) -> str:
        """The first value of the header, or an empty string."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def listed(self, name: str) -> list[str]:
        """All values of a header that holds addresses, including several on one line, separated by commas."""
        return [address.strip() for line in self.all(name) for address in re.findall(r"[^,<]*<[^>]*>[^,]*", line)]

    def add(self, name: str, value: str) -> None:
        self.headers.append((name, value))

    @property
    def call_id(self) -> str:
        return self.get("Call-ID")

    @property
    def cseq(self) -> tuple[int, str]:
        number, _, method = self.get("CSeq").partition(" ")
        return int(number), method.strip()

    @property
    def branch(self) -> str:
        return parameter(self.get("Via"), "branch")

    def __bytes__(self) -> bytes:
        start = f"{self.method} {self.uri} SIP/2.0" if self.is_request else f"SIP/2.0 {self.status} {self.reason}"
        lines = [start, *(f"{name}: {value}" for name, value in self.headers), f"Content-Length: {len(self.body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body

    @classmethod
    def parse(cls, data: bytes) -> SipMessage:
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator:
            raise MalformedMessage("no end of the header")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode(errors="replace")).split("\r\n")
        message = cls._parse_start_line(lines[0])
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise MalformedMessage(f"header line without a colon: {mask(line)[:40]!r}")
            name = COMPACT.get(name.strip().lower(), name.strip())
            if name.lower() == "content-length":
                body = body[: int(value)]
            else:
                message.add(name, value.strip())
        if not (message.call_id and re.fullmatch(r"\d+ +\w+", message.get("CSeq")) and message.get("Via")):
            raise MalformedMessage("Call-ID, CSeq or Via is missing")
        message.body = body
        return message

    @classmethod
    def _parse_start_line(cls, line: str) -> SipMessage:
        if match := re.fullmatch(r"SIP/2\.0 (\d{3}) ?(.*)", line):
            return cls(status=int(match[1]), reason=match[2])
        if match := re.fullmatch(r"([A-Z]+) (\S+) SIP/2\.0", line):
            return cls(method=match[1], uri=match[2])
        raise MalformedMessage(f"not a SIP start line: {mask(line)[:40]!r}")

    def respond(self, status: int, reason: str = "", *, to_tag: str = "") -> SipMessage:
        """A response with the headers that RFC 3261 section 8.2.6 copies from the request."""
        response = SipMessage(status=status, reason=reason or REASONS.get(status, "Unknown"))
        for name in ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq"):
            for value in self.all(name):
                if name == "To" and to_tag and not parameter(value, "tag"):
                    value = f"{value};tag={to_tag}"
                response.add(name, value)
        return response


def parameter(value: str, name: str) -> str:
    """A `;name=…` parameter that stands outside the angle brackets."""
    tail = value.rpartition(">")[2] if ">" in value else value
    match = re.search(rf";\s*{name}\s*=\s*\"?([^;\s\",]+)", tail, re.IGNORECASE)
    return match[1] if match else ""


def uri_in(value: str) -> str:
    """The URI of a From, To or Contact value."""
    match = re.search(r"<([^>]+)>", value)
    return match[1] if match else value.partition(";")[0].strip()


@dataclass(frozen=True)
class SipUri:
    user: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Raises ValueError for anything but `sip:[user@]host[:port]` with parameters."""
        match = re.match(r"sips?:(?:([^@;]*)@)?([^:;?>]+)(?::(\d+))?", text)
        if not match:
            raise ValueError(f"not a SIP URI: {mask(text)!r}")
        return cls((match[1] or "").partition(":")[0], match[2], int(match[3] or 5060))


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)
