"""Many bridged calls at once: how far the packet engine goes on this machine, and which limit it reaches first.

One call of each row is between telephones and is heard; beside it there is one more, in one room, to compare with. The
others are packets without a telephone: their speakers send Opus to the server every 20 ms, in the server's own process,
and it is never decoded. Telephones would use up the machine long before the relays do.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

import numpy as np
import psutil
from livekit.protocol import models

from bench.beeps import TICK, holes, median_heard
from bench.bridged import (
    SETTLE,
    SIDES,
    Bridge,
    Delays,
    PhoneCall,
    RelayLab,
    WarmProcess,
    bridge,
    cpu_seconds,
    new_rooms,
    open_lab,
    phone_call,
    telephones,
)
from lab.naming import new_sid
from lab.play.machine import FOREIGN, Load, LoadMeter
from lab.server import Participant, Room, Track
from lab.sip.playout import Pacer

ROWS = (1, 5, 10, 20)
SECONDS = 10.0
"""Of each row, after everything has settled."""
PAYLOAD = 60
"""Bytes of a packet: 24 kbit/s."""
LAUNCHED_AT_ONCE = 2
"""Processes; each takes about a second of a core to begin."""
GRACE = 0.5
"""Seconds that a packet may take before it counts as lost."""
LATE = TICK
"""Seconds that a packet may take through the relay: a telephone with three frames in hand misses a later packet."""
LOSS = 0.001
"""Share of packets: on a loopback none is lost, but one stall of a shared machine is no limit yet."""
FULL = 0.85
"""Share of a core at which a process of one thread is at its limit, and of the machine at which the machine is."""


class Transit:
    """One direction through a relay: the time of its packets from the server and back to it, and the lost ones."""

    def __init__(self) -> None:
        self.sent = 0
        self.seconds: list[float] = []
        self.counting = False
        self._under_way: dict[bytes, float] = {}

    def leaves(self, payload: bytes) -> None:
        if self.counting:
            self.sent += 1
            self._under_way[payload] = time.monotonic()

    def comes(self, payload: bytes) -> None:
        if (at := self._under_way.pop(payload, None)) is not None:
            self.seconds.append(time.monotonic() - at)

    @property
    def lost(self) -> int:
        return self.sent - len(self.seconds)


class Departures:
    """Beside the subscribers of a speaker's track."""

    def __init__(self, transit: Transit) -> None:
        self._note = transit.leaves

    def on_packet(self, track: Track, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        self._note(payload)

    def on_sender_report(self, track: Track, sender_info: bytes) -> None:
        """Carries no sound."""


class Arrivals(Departures):
    """Beside the subscribers of the relay's track in the other room."""

    def __init__(self, transit: Transit) -> None:
        self._note = transit.comes


class Speaker(Participant):
    """A participant that is nothing but a track, and hears nothing."""

    def __init__(self, room: Room, identity: str) -> None:
        super().__init__(room, identity, kind=models.ParticipantInfo.SIP)
        self.state, self.auto_subscribe = models.ParticipantInfo.ACTIVE, False
        info = models.TrackInfo(
            sid=new_sid("TR_"), type=models.AUDIO, source=models.MICROPHONE, mime_type="audio/opus", disable_red=True
        )
        self._track = self.tracks[info.sid] = Track(self, info)
        self._sent = 0

    def speak(self) -> None:
        """One packet, unlike all others of its track."""
        self._sent += 1
        payload = struct.pack("!I", self._sent).ljust(PAYLOAD, b"\x55")
        self._track.forward(self._sent == 1, self._sent & 0xFFFF, self._sent * 960 & 0xFFFFFFFF, payload)

    def subscribe(self, track: Track) -> None:
        """Does nothing: a speaker has no ears."""

    def unsubscribe(self, track: Track) -> None:
        """Does nothing: a speaker has no ears."""

    def receive_data(self, packet: models.DataPacket, reliable: bool) -> None:
        """Does nothing: a speaker has no ears."""

    async def close(self, reason: models.DisconnectReason) -> None:
        """There is no connection."""


async def speak_on(speakers: list[Speaker]) -> None:
    """Lets each speak every 20 ms."""
    pacer = Pacer(time.monotonic())
    while True:
        await asyncio.sleep(max(0.0, pacer.next - time.monotonic()))
        for _ in range(pacer.due(time.monotonic())):
            for speaker in speakers:
                speaker.speak()


def watch(lab: RelayLab, rooms: tuple[str, str]) -> list[Transit]:
    """Both directions of a bridged call."""
    transits = []
    for here, there in (rooms, rooms[::-1]):
        transit = Transit()
        for room, probe in ((here, Departures(transit)), (there, Arrivals(transit))):
            found = lab.server.rooms.get(room)
            assert found
            for participant in found.participants.values():
                if participant.is_agent == isinstance(probe, Arrivals):
                    for track in participant.tracks.values():
                        track.sinks["bench"] = probe
        transits.append(transit)
    return transits


@dataclass
class Row:
    """One number of bridged calls at once. Shares are of one core, times seconds."""

    calls: int
    relay_cpu: float
    """Of all relay processes together."""
    relay_cpu_per_call: float
    relay_cpu_most: float
    """Of the relay process that used most."""
    added_delay: float
    """From phone to phone, beyond the direct call beside it; mean of both directions, which come in steps of 20 ms."""
    packet_delay: float
    """Median of the way through the relay, from the server and back to it."""
    packet_delay_worst: float
    """Of the slowest packet in a hundred."""
    packets: int
    lost: int
    holes: int
    """Frames of 20 ms in which the phones of the bridged call heard nothing."""
    holes_direct: int
    """The same in the call without a relay."""
    lab_cpu: float
    """Of the process with the server, the telephones and the speakers; it cannot take more than one core."""
    machine: float
    """Share of all cores that was busy, with any process."""
    others: float
    """The part of it that neither the relays nor the lab used."""

    @property
    def breaks(self) -> bool:
        return self.lost > LOSS * self.packets or self.packet_delay_worst > LATE

    @property
    def limit(self) -> str:
        """The resource at its limit; the lab and other processes on the machine are not taken for the relay."""
        full = []
        if self.lab_cpu >= FULL:
            full.append("the lab: its one process carries the packets of all calls")
        if self.relay_cpu_most >= FULL:
            full.append("a relay process")
        if self.others >= FOREIGN:
            full.append(f"others, who took {self.others:.0%} of the machine")
        elif self.machine >= FULL:
            full.append(f"the machine, {self.machine:.0%} busy, of which the relays took {self.relay_cpu:.2f} cores")
        return " and ".join(full) or "none that this shows: no process was full, nor the machine"


def mean_delay(directions: Delays) -> float:
    """Of the medians of both directions; NaN where one heard nothing."""
    medians = [median_heard(direction) for direction in directions]
    return sum(float("nan") if median is None else median for median in medians) / len(medians)


@dataclass
class Measured:
    """From the beginning to the end of the seconds that count."""

    start: float
    end: float
    relays: list[float]
    """CPU seconds of each."""
    lab: float
    load: Load

    @classmethod
    async def over(cls, seconds: float, relays: list[psutil.Process]) -> Measured:
        """Measures for `seconds` from now."""
        here, meter = psutil.Process(), LoadMeter()
        meter.start()
        before, lab, start = [cpu_seconds(relay) for relay in relays], cpu_seconds(here), time.monotonic()
        await asyncio.sleep(seconds)
        end = time.monotonic()
        used = [cpu_seconds(relay) - then for relay, then in zip(relays, before, strict=True)]
        return cls(start, end, used, cpu_seconds(here) - lab, await asyncio.to_thread(meter.stop))

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass
class Crowd:
    """The calls without telephones."""

    bridges: list[Bridge] = field(default_factory=list)
    transits: list[Transit] = field(default_factory=list)


@contextlib.asynccontextmanager
async def crowd(lab: RelayLab, calls: int) -> AsyncIterator[Crowd]:
    """This many bridged calls, each with packets both ways."""
    made = Crowd()
    processes: list[WarmProcess] = []
    speaking: list[asyncio.Task[None]] = []
    try:
        while len(processes) < calls:
            count = min(LAUNCHED_AT_ONCE, calls - len(processes))
            processes += await asyncio.gather(*(WarmProcess.warmed() for _ in range(count)))
        for process in processes:
            rooms = new_rooms("packet")
            speakers = [
                Speaker(lab.server.rooms.get_or_create(room), name) for room, name in zip(rooms, SIDES, strict=True)
            ]
            for speaker in speakers:
                speaker.room.add(speaker)
            made.bridges.append(await bridge(lab, rooms, "packet", process))
            made.transits += watch(lab, rooms)
            speaking.append(asyncio.create_task(speak_on(speakers)))
            await asyncio.sleep(TICK / calls)  # no two calls speak at the same moment
        yield made
    finally:
        for task in speaking:
            task.cancel()
        await asyncio.gather(*speaking, return_exceptions=True)
        await asyncio.gather(*(running.relay.stop() for running in made.bridges))
        await asyncio.gather(*(process.stop() for process in processes[len(made.bridges) :]))


async def play(lab: RelayLab, calls: int, seconds: float = SECONDS) -> Row:
    """One row of the table."""
    async with (
        telephones(0.0) as exchanges,
        telephones(0.0) as others,
        crowd(lab, calls - 1) as beside,
        phone_call(lab, exchanges, "packet") as bridged,
        phone_call(lab, others, "direct") as direct,
    ):
        assert bridged.bridge
        for call in (bridged, direct):
            call.talk(SETTLE + seconds + 1)
        await asyncio.sleep(SETTLE)
        transits = [*watch(lab, bridged.rooms), *beside.transits]
        for transit in transits:
            transit.counting = True
        found = await Measured.over(seconds, [made.process for made in (bridged.bridge, *beside.bridges)])
        for transit in transits:
            transit.counting = False
        await asyncio.sleep(GRACE)
        return await judge(calls, found, transits, bridged, direct)


async def judge(calls: int, found: Measured, transits: list[Transit], bridged: PhoneCall, direct: PhoneCall) -> Row:
    start, end = found.start, found.end
    times = [value for transit in transits for value in transit.seconds] or [float("nan")]
    return Row(
        calls=calls,
        relay_cpu=sum(found.relays) / found.seconds,
        relay_cpu_per_call=sum(found.relays) / found.seconds / calls,
        relay_cpu_most=max(found.relays) / found.seconds,
        added_delay=mean_delay(await bridged.delays(start, end)) - mean_delay(await direct.delays(start, end)),
        packet_delay=statistics.median(times),
        packet_delay_worst=float(np.percentile(times, 99)),
        packets=sum(transit.sent for transit in transits),
        lost=sum(transit.lost for transit in transits),
        holes=sum(holes(ear) for ear in bridged.ears(start, end)),
        holes_direct=sum(holes(ear) for ear in direct.ears(start, end)),
        lab_cpu=found.lab / found.seconds,
        machine=found.load.busy,
        others=found.load.foreign,
    )


def show_head() -> None:
    print(
        f"\n{'calls':>5}  {'relays: CPU':>11} {'per call':>8}  {'added':>6}  {'packet':>6} {'1 in 100':>8}"
        f"  {'lost':>11}  {'holes':>5} {'direct':>6}  {'lab CPU':>7} {'machine':>7} {'others':>6}"
    )


def show(row: Row) -> None:
    print(
        f"{row.calls:5}  {row.relay_cpu:11.3f} {row.relay_cpu_per_call:8.3f}  {row.added_delay * 1000:6.1f}"
        f"  {row.packet_delay * 1000:6.2f} {row.packet_delay_worst * 1000:8.2f}  {f'{row.lost}/{row.packets}':>11}"
        f"  {row.holes:5} {row.holes_direct:6}  {row.lab_cpu:7.2f} {row.machine:7.0%} {row.others:6.0%}",
        flush=True,
    )


async def run(rows: tuple[int, ...] = ROWS, seconds: float = SECONDS) -> list[dict[str, object]]:
    """Plays and prints the table; returns its part of `out/bench.json`."""
    print("\nbridged calls at once (packet engine), one of them between telephones, the rest packets without any")
    show_head()
    played: list[Row] = []
    async with open_lab() as lab:
        for calls in rows:
            played.append(await play(lab, calls, seconds))
            show(played[-1])
    print("CPU: cores; delays: ms; machine: share of all cores that was busy, others: what neither relays nor lab took")
    for row in played:
        if row.breaks:
            print(f"{row.calls} at once: packets are late or lost; the limit is {row.limit}")
    carried = [row.calls for row in played if not row.breaks]
    print(f"carried with no packet late or lost: {max(carried, default=0)} at once")
    last = played[-1]
    print(
        f"at {last.calls} the machine was {last.machine:.0%} busy;"
        f" of it the relays took {last.relay_cpu:.2f} of a core, the lab {last.lab_cpu:.2f}"
    )
    return [
        {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in {**asdict(row), "breaks": row.breaks, "limit": row.limit if row.breaks else ""}.items()
        }
        for row in played
    ]
