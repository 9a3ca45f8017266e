"""Packets are passed on as they are; only their numbers are our own."""

from __future__ import annotations

import itertools
import struct

from transfer.relay.rtp import FRAME, Incoming, Outgoing, RtpPacket, report, sender_reports

OPUS = b"opus"


def packet(sequence: int, timestamp: int, *, ssrc: int = 1, marker: bool = False) -> RtpPacket:
    return RtpPacket(ssrc, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, marker, OPUS)


def sent(outgoing: Outgoing, given: RtpPacket, now: float) -> RtpPacket:
    made = RtpPacket.parse(outgoing.restamp(given, now))
    assert made and made.ssrc == outgoing.ssrc and made.payload == given.payload
    return made


def steps(packets: list[RtpPacket]) -> list[tuple[int, int]]:
    """From one packet to the next: of the sequence number, and of the timestamp in frames."""
    return [
        ((b.sequence - a.sequence) & 0xFFFF, ((b.timestamp - a.timestamp) & 0xFFFFFFFF) // FRAME)
        for a, b in itertools.pairwise(packets)
    ]


def test_a_header_is_read_past_its_contributing_sources_extensions_and_padding() -> None:
    header = struct.pack("!BBHII", 0x80 | 0x20 | 0x10 | 2, 0x80 | 111, 7, 960, 42)
    extension = struct.pack("!HH4s", 0xBEDE, 1, b"\x10\xff\0\0")
    data = header + b"csrccsrc" + extension + OPUS + b"\0\0\x03"
    assert RtpPacket.parse(data) == RtpPacket(42, 7, 960, True, OPUS)
    assert RtpPacket.parse(b"\x80\x6f\0") is None


def test_loss_and_pauses_stay_what_they_are_across_the_wrap_of_the_numbers() -> None:
    outgoing = Outgoing(111)
    given = [packet(0xFFFE + n, 0xFFFFFFFF - 960 + FRAME * t) for n, t in ((0, 0), (1, 1), (3, 3), (4, 20))]
    made = [sent(outgoing, one, n / 50) for n, one in enumerate(given)]
    assert steps(made) == [(1, 1), (2, 2), (1, 17)]


def test_a_late_packet_goes_into_its_old_place() -> None:
    outgoing = Outgoing(111)
    made = [sent(outgoing, packet(n, n * FRAME), 0.0) for n in (10, 12, 11, 13)]
    assert [(one.sequence - made[0].sequence) & 0xFFFF for one in made] == [0, 2, 1, 3]


def test_a_new_source_goes_on_where_the_old_one_was_after_the_time_that_has_passed() -> None:
    outgoing = Outgoing(111)
    made = [
        sent(outgoing, packet(100, 5000), 1.0),
        sent(outgoing, packet(101, 5000 + FRAME), 1.02),
        sent(outgoing, packet(7, 999_999, ssrc=2), 2.02),
        sent(outgoing, packet(8, 999_999 + FRAME, ssrc=2), 2.04),
    ]
    assert steps(made) == [(1, 1), (1, 50), (1, 1)]
    assert made[2].marker, "a new talk spurt"


def test_a_receiver_report_counts_what_is_missing() -> None:
    stream = Incoming(9)
    for n in (1, 2, 4, 5):
        stream.count(packet(n, n * FRAME), n / 50)
    ssrc, lost, highest = struct.unpack_from("!III", stream.report_block(1.0))
    assert (ssrc, lost >> 24, lost & 0xFFFFFF, highest) == (9, 256 // 5, 1, 5)
    assert stream.lost == 1


def test_a_sender_report_is_found_by_its_ssrc_and_answered() -> None:
    outgoing = Outgoing(111)
    sent(outgoing, packet(1, FRAME), 1.0)
    stream = Incoming(9)
    stream.count(packet(1, FRAME), 1.0)
    made = report(outgoing, [stream], 1.5)
    (ssrc, whole), *rest = sender_reports(made)
    assert not rest and ssrc == outgoing.ssrc
    packets, octets = struct.unpack_from("!II", whole, 20)
    assert (packets, octets) == (1, len(OPUS))
    theirs = struct.pack("!BBHIIIIII", 0x80, 200, 6, 9, 0x11112222, 0x33334444, 0, 0, 0)
    stream.on_sender_report(theirs, 2.0)
    last, delay = struct.unpack_from("!II", stream.report_block(3.0), 16)
    assert (last, delay) == (0x22223333, 65536)
