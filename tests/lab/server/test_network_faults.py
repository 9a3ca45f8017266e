"""A bad network on demand: the same in every run, another for every participant."""

from __future__ import annotations

import asyncio
import time

from lab.server import LabServer, Track
from lab.server.faults import NetworkFaults
from tests.lab.support import Ear, Tone, client, is_near, until


def survivors(faults: NetworkFaults, packets: int = 200) -> list[int]:
    passed: list[int] = []
    for number in range(packets):
        faults.pass_on(bytes([number]), lambda data: passed.append(data[0]))
    return passed


def lossy(seed: int, identity: str) -> NetworkFaults:
    faults = NetworkFaults(seed, identity)
    faults.loss = 0.3
    return faults


def test_loss_repeats_itself_for_one_participant_and_differs_between_two() -> None:
    first = survivors(lossy(1, "alice"))
    assert 100 < len(first) < 180
    assert survivors(lossy(1, "alice")) == first
    assert survivors(lossy(1, "bob")) != first
    assert survivors(lossy(2, "alice")) != first


async def test_jitter_delays_within_its_limit_and_loses_nothing() -> None:
    faults = NetworkFaults(1, "alice")
    faults.jitter = 0.05
    arrivals: list[int] = []
    start = time.monotonic()
    for number in range(50):
        faults.pass_on(bytes([number]), lambda data: arrivals.append(data[0]))
    assert not arrivals
    await until(lambda: len(arrivals) == 50, "every packet arrives")
    assert time.monotonic() - start > 0.02
    assert arrivals != sorted(arrivals), "packets overtake each other"


def test_a_cut_stops_everything() -> None:
    faults = NetworkFaults(1, "alice")
    faults.cut = True
    assert survivors(faults) == []


class Counter:
    """A listener in the server that counts packets."""

    def __init__(self) -> None:
        self.packets = 0
        self.sequences: list[int] = []

    def on_packet(self, track: Track, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        self.sequences.append(sequence)

    def on_sender_report(self, track: Track, sender_info: bytes) -> None:
        pass

    async def one_second(self) -> list[int]:
        self.sequences = []
        await asyncio.sleep(1.0)
        return self.sequences


async def test_the_switches_act_on_a_real_call(server: LabServer) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob, Ear(bob) as ear, Tone(alice, 700):
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice")
        room = server.rooms.get("room")
        assert room
        publisher, counter = room.participants["alice"], Counter()
        (track,) = publisher.tracks.values()
        track.sinks["counter"] = counter
        publisher.network.loss = 0.5
        lost = await counter.one_second()
        assert 8 <= len(lost) <= 42, "about half of 50 packets arrive"
        publisher.network.loss, publisher.network.jitter = 0.0, 0.2
        jittered = await counter.one_second()
        assert jittered != sorted(jittered), "packets overtake each other"
        publisher.network.jitter, publisher.network.cut = 0.0, True
        await asyncio.sleep(0.25)  # what the jitter held back arrives
        assert await counter.one_second() == []
        publisher.network.cut = False
        ear.heard.clear()
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice again")
