"""RTP and RTCP headers, and the numbers that a forwarded stream carries on with. Nothing here knows the content of a packet."""

from __future__ import annotations

import secrets
import struct
import time
from typing import NamedTuple

CLOCK = 48000
"""Ticks of the Opus RTP clock in a second (RFC 7587)."""
FRAME = CLOCK // 50
"""Ticks of a 20 ms frame."""
SENDER_REPORT, RECEIVER_REPORT = 200, 201
NTP_EPOCH = 2208988800
"""Seconds from 1900 to 1970."""


class RtpPacket(NamedTuple):
    """One packet without its header extensions and padding."""

    ssrc: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket | None:
        """None for data that is no whole RTP packet."""
        try:
            first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
            start, end = 12 + 4 * (first & 0x0F), len(data)
            if first & 0x10:
                start += 4 + 4 * struct.unpack_from("!H", data, start + 2)[0]
        except struct.error:
            return None
        if first & 0x20:
            end -= data[-1]
        return cls(ssrc, sequence, timestamp, bool(second >> 7), data[start:end])


class Outgoing:
    """The one stream that a leg sends: own SSRC, own sequence numbers, own clock, whatever source it carries.

    Gaps in a source's numbers stay gaps: loss and discontinuous transmission look to the receiver as they did to us.
    """

    def __init__(self, payload_type: int) -> None:
        self.ssrc = secrets.randbits(32)
        self.packets = self.octets = 0
        self._payload_type = payload_type
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(32)
        self._sent_at: float | None = None
        self._source: int | None = None
        self._sequence_offset = self._timestamp_offset = 0

    def restamp(self, packet: RtpPacket, now: float) -> bytes:
        """`packet` as our stream's next one, or in its old place when it is late. `now`: `time.monotonic()`, seconds."""
        marker = packet.marker
        if packet.ssrc != self._source:
            self._continue_with(packet, now)
            marker = True
        sequence = (packet.sequence + self._sequence_offset) & 0xFFFF
        timestamp = (packet.timestamp + self._timestamp_offset) & 0xFFFFFFFF
        if (sequence - self._sequence) & 0xFFFF < 0x8000:
            self._sequence, self._timestamp, self._sent_at = sequence, timestamp, now
        self.packets += 1
        self.octets += len(packet.payload)
        second = marker << 7 | self._payload_type
        return struct.pack("!BBHII", 0x80, second, sequence, timestamp, self.ssrc) + packet.payload

    def _continue_with(self, packet: RtpPacket, now: float) -> None:
        """A new source goes on where the old one was, later by the whole frames that have passed since."""
        frames = max(1, round((now - self._sent_at) * CLOCK / FRAME)) if self._sent_at is not None else 0
        self._source = packet.ssrc
        self._sequence_offset = self._sequence + 1 - packet.sequence
        self._timestamp_offset = self._timestamp + frames * FRAME - packet.timestamp

    def sender_info(self, now: float) -> bytes:
        """The sender information of a sender report (RFC 3550, 6.4.1), without its header."""
        wall = time.time() + NTP_EPOCH
        since = now - self._sent_at if self._sent_at is not None else 0.0
        return struct.pack(
            "!IIIII",
            int(wall) & 0xFFFFFFFF,
            int(wall % 1 * 2**32),
            (self._timestamp + int(since * CLOCK)) & 0xFFFFFFFF,
            self.packets & 0xFFFFFFFF,
            self.octets & 0xFFFFFFFF,
        )


class Incoming:
    """The contents of a receiver report about one incoming stream (RFC 3550, 6.4.1 and A.3, A.8)."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        self._first = self._highest = -1
        self._expected_before = self._received_before = 0
        self._jitter = self._transit = 0.0
        self._last_report, self._last_report_at = 0, 0.0

    @property
    def lost(self) -> int:
        """Packets that never came."""
        return max(0, self._highest - self._first + 1 - self.received) if self.received else 0

    def count(self, packet: RtpPacket, now: float) -> None:
        if not self.received:
            self._first = self._highest = packet.sequence
        else:
            ahead = (packet.sequence - self._highest) & 0xFFFF
            self._highest += ahead if ahead < 0x8000 else 0
        transit = now * CLOCK - packet.timestamp
        if self.received:
            difference = abs(transit - self._transit)
            if difference < CLOCK:  # a pause or a wrap of the clock is no jitter
                self._jitter += (difference - self._jitter) / 16
        self._transit = transit
        self.received += 1

    def on_sender_report(self, data: bytes, now: float) -> None:
        self._last_report, self._last_report_at = struct.unpack_from("!I", data, 10)[0], now

    def report_block(self, now: float) -> bytes:
        expected = self._highest - self._first + 1
        interval = expected - self._expected_before
        missing = interval - (self.received - self._received_before)
        self._expected_before, self._received_before = expected, self.received
        fraction = min(255, missing * 256 // interval) if interval > 0 and missing > 0 else 0
        delay = int((now - self._last_report_at) * 65536) & 0xFFFFFFFF if self._last_report else 0
        return struct.pack(
            "!IIIIII",
            self.ssrc,
            fraction << 24 | self.lost & 0xFFFFFF,
            self._highest & 0xFFFFFFFF,
            int(self._jitter) & 0xFFFFFFFF,
            self._last_report,
            delay,
        )


def report(outgoing: Outgoing, incoming: list[Incoming], now: float) -> bytes:
    """A sender report, or a receiver report of a leg that has sent nothing yet."""
    blocks = [stream.report_block(now) for stream in incoming if stream.received][:31]
    info = outgoing.sender_info(now) if outgoing.packets else b""
    kind = SENDER_REPORT if info else RECEIVER_REPORT
    body = struct.pack("!I", outgoing.ssrc) + info + b"".join(blocks)
    return struct.pack("!BBH", 0x80 | len(blocks), kind, len(body) // 4) + body


def sender_reports(data: bytes) -> list[tuple[int, bytes]]:
    """SSRC and packet of each sender report in a compound RTCP packet."""
    found, start = [], 0
    while start + 4 <= len(data):
        _, kind, words = struct.unpack_from("!BBH", data, start)
        packet = data[start : start + 4 * (words + 1)]
        if kind == SENDER_REPORT and len(packet) >= 28:
            found.append((struct.unpack_from("!I", packet, 4)[0], packet))
        start += 4 * (words + 1)
    return found
