"""The relay on bad networks: closed to UDP, lossy, cut; in encrypted rooms; and where its legs are not let in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Container

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web

from lab.server import IceServer, LabServer, Participant, Track
from lab.server.tokens import Claims
from lab.server.turn import Address, TurnServer
from tests.lab.support import Tone, client, until
from tests.transfer.relay.support import (
    CALLER,
    ENGINES,
    HUMAN,
    Person,
    are_alone_again,
    hear_each_other,
    is_leg,
    lab_server,
    legs,
    person,
    relayed,
    two_people,
)
from transfer.relay import RelayError, RelayFailure, Side
from transfer.relay.order import EngineChoice
from transfer.relay.packets import CONNECT_LIMIT

MARGIN = 1.0
"""Seconds more than a limit says that a busy machine may take."""
NOWHERE: Container[Address] = ()


@pytest_asyncio.fixture
async def turn() -> AsyncIterator[TurnServer]:
    async with TurnServer() as made:
        yield made
        await until(lambda: not made.addresses, "every allocation is freed", 3.0)


class Firewall:
    """Lets the packets of the relay's legs pass from and to some addresses only; people's own pass always."""

    def __init__(self, server: LabServer, only_with: Container[Address], joins: int = 100) -> None:
        """`joins`: so many joins of a leg meet it."""
        self._only_with, self._joins = only_with, joins
        self.met = 0
        self._first_at = 0.0
        server.on_join = self._meet

    def _meet(self, participant: Participant) -> None:
        if is_leg(participant) and self.met < self._joins:
            self.met += 1
            self._first_at = self._first_at or time.monotonic()
            participant.network.only_with = self._only_with

    @property
    def seconds(self) -> float:
        """Since a leg joined first."""
        return time.monotonic() - self._first_at


# -- ways through


async def test_the_direct_way_is_taken_where_it_is_open(turn: TurnServer) -> None:
    async with (
        lab_server(ice_servers=(turn.ice_server,)) as server,
        two_people(server) as (caller, human),
        relayed(server, "packet"),
    ):
        await hear_each_other(caller, human)
        assert not any(user.startswith("relay-") for user in turn.allocated)


async def test_where_the_direct_way_is_closed_packets_go_through_the_turn_server(turn: TurnServer) -> None:
    async with lab_server(ice_servers=(turn.ice_server,)) as server, two_people(server) as (caller, human):
        firewall = Firewall(server, turn.addresses)
        async with relayed(server, "packet") as relay:
            assert firewall.seconds < CONNECT_LIMIT + MARGIN
            assert relay.engine == "packet"
            await hear_each_other(caller, human)
            users = [user for user in turn.allocated if user.startswith("relay-")]
            assert [turn.allocated[user] for user in users] == [1, 1]
            await until(lambda: all(turn.relayed[user] > 200 for user in users), "both legs go on through it")
        await until(lambda: not server.rooms.all(), "no room is left", 3.0)


async def test_without_a_way_through_the_packet_engine_gives_up_in_time(server: LabServer) -> None:
    async with two_people(server):
        firewall = Firewall(server, NOWHERE)
        with pytest.raises(RelayError) as caught:
            async with relayed(server, "packet"):
                pass
        assert caught.value.failure is RelayFailure.NO_MEDIA
        assert CONNECT_LIMIT - MARGIN < firewall.seconds < CONNECT_LIMIT + 2 * MARGIN
        await are_alone_again(server)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "[2001:db8::1]:3478"])
async def test_a_turn_server_that_cannot_be_used_is_no_way_through_and_no_harm(host: str) -> None:
    useless = IceServer((f"turn:{host}?transport=udp",), credential="secret")
    async with lab_server(ice_servers=(useless,)) as server, two_people(server):
        firewall = Firewall(server, NOWHERE)
        with pytest.raises(RelayError) as caught:
            async with relayed(server, "packet"):
                pass
        assert caught.value.failure is RelayFailure.NO_MEDIA
        assert firewall.seconds < CONNECT_LIMIT + 2 * MARGIN
        await are_alone_again(server)


async def test_where_only_the_sdk_gets_through_it_takes_over(server: LabServer) -> None:
    async with two_people(server) as (caller, human):
        Firewall(server, NOWHERE, joins=2)  # both legs of the packet engine; the SDK's come after them
        async with relayed(server, "auto") as relay:
            assert relay.engine == "sdk"
            assert "no_media" in relay.why and "not connected within 3 s" in relay.why
            await hear_each_other(caller, human)
            assert len(legs(server)) == 2, "the first two have left"


# -- cuts


@pytest.mark.parametrize("room", ["call", "consult"])
async def test_after_a_short_loss_of_its_network_the_audio_comes_back_by_itself(server: LabServer, room: str) -> None:
    async with two_people(server) as (caller, human), relayed(server, "packet"):
        await hear_each_other(caller, human)
        leg = legs(server)[room]
        leg.network.cut = True
        await asyncio.sleep(2.0)
        assert not (caller.hears(HUMAN) or human.hears(CALLER))
        leg.network.cut = False
        await hear_each_other(caller, human, 2.0)
        assert legs(server)[room] is leg


@pytest.mark.parametrize("room", ["call", "consult"])
async def test_a_leg_that_has_lost_its_network_for_good_is_replaced(server: LabServer, room: str) -> None:
    async with two_people(server) as (caller, human), relayed(server, "packet") as relay:
        await hear_each_other(caller, human)
        leg = legs(server)[room]
        leg.network.cut = True
        cut_at = time.monotonic()
        await until(lambda: not (caller.hears(HUMAN) or human.hears(CALLER)), "nothing is heard")
        await hear_each_other(caller, human)
        assert time.monotonic() - cut_at < 10.0
        await until(lambda: leg.identity not in server.rooms.get(room).participants, "the old one is gone", 3.0)  # type: ignore[union-attr]
        assert legs(server)[room].identity != leg.identity
        assert relay.engine == "packet" and not relay.ended.done()


# -- loss and jitter


async def delay(speaker: Person, listener: Person, hertz: float) -> float:
    """Seconds until the listener hears that the speaker sounds otherwise, the speaker's own buffer included."""
    speaker.tone.hertz, start = hertz, time.monotonic()
    await until(lambda: listener.hears(hertz), f"{hertz} Hz is heard", every=0.02)
    return time.monotonic() - start


@pytest.mark.parametrize("loss, jitter", [(0.02, 0.0), (0.1, 0.0), (0.0, 0.05), (0.1, 0.05)])
async def test_loss_and_jitter_neither_end_the_talk_nor_add_up_to_delay(
    server: LabServer, loss: float, jitter: float
) -> None:
    async with two_people(server) as (caller, human), relayed(server, "packet") as relay:
        await hear_each_other(caller, human)
        there = legs(server)
        for leg in there.values():
            leg.network.loss, leg.network.jitter = loss, jitter
        early = await asyncio.gather(delay(caller, human, 500.0), delay(human, caller, 1000.0))
        await asyncio.sleep(4.0)
        late = await asyncio.gather(delay(caller, human, CALLER), delay(human, caller, HUMAN))
        assert all(after < before + 0.5 for before, after in zip(early, late, strict=True)), (early, late)
        assert legs(server) == there and not relay.ended.done()


class Listener:
    """Gets what a track carries, in the server."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, int]] = []
        """Sequence number and timestamp."""

    def on_packet(self, track: Track, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        self.packets.append((sequence, timestamp))

    def on_sender_report(self, track: Track, sender_info: bytes) -> None:
        pass


async def test_a_lost_packet_is_a_gap_in_the_other_room_and_not_time_that_is_missing(server: LabServer) -> None:
    async with two_people(server) as (caller, human), relayed(server, "packet"):
        await hear_each_other(caller, human)
        listener = Listener()
        (track,) = legs(server)["consult"].tracks.values()
        track.sinks["listener"] = listener
        legs(server)["call"].network.loss = 0.2
        await until(lambda: len(listener.packets) == 100, "100 packets come")
        first, started = listener.packets[0]
        last = listener.packets[-1][0]
        assert 110 < (last - first + 1) & 0xFFFF < 150, "every fifth is missing"
        frames = [(timestamp - started & 0xFFFFFFFF) / 960 for _, timestamp in listener.packets]
        assert frames == [(sequence - first) & 0xFFFF for sequence, _ in listener.packets], "20 ms each, lost or not"


# -- encrypted rooms

KEY = "the call's own"


async def test_packets_of_an_encrypted_room_are_not_passed_on(server: LabServer) -> None:
    async with two_people(server, shared_key=KEY):
        with pytest.raises(RelayError) as caught:
            async with relayed(server, "packet", first=Side("call", "caller", shared_key=KEY)):
                pass
        assert (caught.value.failure, caught.value.side) == (RelayFailure.ENCRYPTED, "first")
        await are_alone_again(server)


async def test_encrypted_audio_that_comes_late_is_not_passed_on_either(server: LabServer) -> None:
    async with client(server, "caller", "call", shared_key=KEY) as caller, person(server, "human", "consult", HUMAN):

        async def speak_late() -> None:
            await until(lambda: len(legs(server)) == 2, "both legs have joined")
            await asyncio.sleep(0.5)
            async with Tone(caller, CALLER):
                await until(lambda: not legs(server), "both legs have left")

        late = asyncio.create_task(speak_late())
        with pytest.raises(RelayError) as caught:
            async with relayed(server, "packet"):
                pass
        await late
        assert (caught.value.failure, caught.value.side) == (RelayFailure.ENCRYPTED, "first")
        await are_alone_again(server)


async def test_who_comes_back_encrypted_in_the_middle_of_the_talk_is_silent_and_no_noise(server: LabServer) -> None:
    async with two_people(server) as (caller, human), relayed(server, "packet"):
        await hear_each_other(caller, human)
        async with client(server, "caller", "call", shared_key=KEY) as again, Tone(again, CALLER):
            await until(lambda: not caller.room.isconnected(), "the first connection is replaced")
            await asyncio.sleep(1.5)
            assert all(np.abs(heard[-9600:]).max() < 100 for heard in human.ear.heard.values())


async def test_with_the_key_the_sdk_carries_an_encrypted_room(server: LabServer) -> None:
    async with (
        two_people(server, shared_key=KEY) as (caller, human),
        person(server, "friend", "call", 660.0, shared_key=KEY) as friend,
        relayed(server, first=Side("call", "caller", shared_key=KEY)) as relay,
    ):
        assert relay.engine == "sdk" and "encrypted" in relay.why
        await hear_each_other(caller, human)
        await until(lambda: friend.hears(HUMAN), "whoever has the key hears the human")
        await caller.room.local_participant.publish_dtmf(code=5, digit="5")
        await human.room.local_participant.publish_dtmf(code=11, digit="#")
        await until(lambda: (human.keys, caller.keys) == (["5"], ["#"]), "each hears the other's key")


@pytest.mark.parametrize("engine", ["auto", "sdk"])
async def test_without_the_key_an_encrypted_room_is_a_typed_error(server: LabServer, engine: EngineChoice) -> None:
    async with two_people(server, shared_key=KEY):
        with pytest.raises(RelayError) as caught:
            async with relayed(server, engine):
                pass
        assert (caught.value.failure, caught.value.side) == (RelayFailure.ENCRYPTED, "first")
        await are_alone_again(server)


# -- not let in


REFUSALS = [
    (web.HTTPUnauthorized, RelayFailure.NOT_ALLOWED),
    (web.HTTPServiceUnavailable, RelayFailure.UNREACHABLE),
]


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
@pytest.mark.parametrize("answer, failure", REFUSALS)
async def test_legs_that_are_not_let_in_are_a_typed_error_in_time(
    server: LabServer, engine: EngineChoice, answer: type[web.HTTPException], failure: RelayFailure
) -> None:
    def refuse(claims: Claims) -> bool:
        if claims.identity.startswith("relay-"):
            raise answer
        return False

    async with two_people(server):
        server.refuses = refuse
        start = time.monotonic()
        with pytest.raises(RelayError) as caught:
            async with relayed(server, engine):
                pass
        assert caught.value.failure is failure
        assert time.monotonic() - start < CONNECT_LIMIT + 2 * MARGIN
        await are_alone_again(server)


async def test_a_server_that_lets_nobody_in_for_a_moment_is_asked_again(server: LabServer) -> None:
    refused: list[str] = []

    def refuse(claims: Claims) -> bool:
        """Each side's first leg."""
        again = claims.room in refused
        if claims.identity.startswith("relay-"):
            refused.append(claims.room)
        return claims.identity.startswith("relay-") and not again

    async with two_people(server) as (caller, human):
        server.refuses = refuse
        async with relayed(server, "packet"):
            await hear_each_other(caller, human)
        assert sorted(refused) == ["call", "call", "consult", "consult"]
