"""Two rooms that hear each other: with SDK clients that play tones, on both editions' server, with both engines."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from lab.server import LabServer
from tests.lab.support import LIMIT, Tone, until
from tests.transfer.relay.support import (
    CALLER,
    ENGINES,
    HUMAN,
    Person,
    are_alone_again,
    ends,
    hear_each_other,
    legs,
    order,
    person,
    relayed,
    rooms_end,
    two_people,
)
from transfer.relay import Ended, Relay, RelayError, RelayFailure, RelayProcess, Side, relay_rooms
from transfer.relay.errors import SideName
from transfer.relay.order import EngineChoice
from transfer.relay.rooms import RELAY_ATTRIBUTE


@pytest.mark.parametrize("engine", ENGINES)
async def test_both_hear_each_other_until_the_block_is_left(server: LabServer, engine: EngineChoice) -> None:
    async with two_people(server) as (caller, human):
        async with relayed(server, engine) as relay:
            assert relay.engine == engine
            await hear_each_other(caller, human)
        assert await ends(relay) == Ended(None, "stopped")
        await rooms_end(server)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("side", "unheard"), [("first", False), ("second", False), ("second", True)])
async def test_it_ends_with_both_rooms_when_one_of_the_two_leaves(
    server: LabServer, engine: EngineChoice, side: SideName, unheard: bool
) -> None:
    """`unheard`: a telephone hangs up, and stays in the room."""
    async with two_people(server) as (caller, human), relayed(server, engine) as relay:
        await hear_each_other(caller, human)
        room = (caller if side == "first" else human).room
        if unheard:
            await room.local_participant.set_attributes({"sip.callStatus": "hangup"})
        else:
            await room.disconnect()
        assert await ends(relay) == Ended(side, "left")
        await rooms_end(server)


@pytest.mark.parametrize("engine", ENGINES)
async def test_legs_tell_which_room_s_audio_they_bring(server: LabServer, engine: EngineChoice) -> None:
    async with two_people(server) as (caller, human), relayed(server, engine) as relay:
        await hear_each_other(caller, human)
        sids = {room.name: room.sid for room in server.rooms.all()}
        told = {room: leg.attributes for room, leg in legs(server).items()}
        assert told == {"call": {RELAY_ATTRIBUTE: sids["consult"]}, "consult": {RELAY_ATTRIBUTE: sids["call"]}}
        seen = {who.identity: dict(who.attributes) for who in caller.room.remote_participants.values()}
        assert list(seen.values()) == [told["call"]], "the people in the room see it, too"
        assert relay.engine == engine


async def test_who_stops_waiting_for_the_end_takes_it_from_nobody(server: LabServer) -> None:
    async with two_people(server) as (_caller, human), relayed(server) as relay:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(relay.ended, 0.01)
        await human.room.disconnect()
        assert await ends(relay) == Ended("second", "left")


@pytest.mark.parametrize("room", ["call", "consult"])
async def test_it_ends_when_a_room_is_deleted(server: LabServer, room: str) -> None:
    async with two_people(server) as (caller, human), relayed(server) as relay:
        await hear_each_other(caller, human)
        await server.rooms.get(room).close(5)  # type: ignore[union-attr, arg-type]  # ROOM_DELETED
        assert await ends(relay) == Ended("first" if room == "call" else "second", "room_deleted")
        await rooms_end(server)


async def test_a_room_that_is_kept_stays_when_the_other_side_hangs_up(server: LabServer) -> None:
    async with two_people(server) as (caller, human):
        async with relayed(server, first=Side("call", "caller", keep=True)) as relay:
            await hear_each_other(caller, human)
            await human.room.disconnect()
            assert await ends(relay) == Ended("second", "left")
        await until(lambda: [r.name for r in server.rooms.all()] == ["call"], "the call alone is left", 3.0)
        assert list(server.rooms.get("call").participants) == ["caller"]  # type: ignore[union-attr]


@pytest.mark.parametrize("engine", ENGINES)
async def test_keypad_tones_pass_once_both_ways(server: LabServer, engine: EngineChoice) -> None:
    async with two_people(server) as (caller, human), relayed(server, engine):
        await hear_each_other(caller, human)
        await caller.room.local_participant.publish_dtmf(code=5, digit="5")
        await human.room.local_participant.publish_dtmf(code=11, digit="#")
        await until(lambda: (human.keys, caller.keys) == (["5"], ["#"]), "each hears the other's key")
        await asyncio.sleep(0.5)
        assert (human.keys, caller.keys) == (["5"], ["#"])


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_mute_is_shown_in_the_other_room(server: LabServer, engine: EngineChoice) -> None:
    async with two_people(server) as (caller, human), relayed(server, engine):
        await hear_each_other(caller, human)

        def muted() -> list[bool]:
            return [
                publication.muted
                for participant in human.room.remote_participants.values()
                for publication in participant.track_publications.values()
            ]

        assert caller.tone.publication and caller.tone.publication.track
        caller.tone.publication.track.mute()
        await until(lambda: muted() == [True], "the human sees that the caller is muted")
        caller.tone.publication.track.unmute()
        await until(lambda: muted() == [False], "and that they are not any more")
        await until(lambda: human.hears(CALLER), "and hears them again")


async def test_others_of_a_room_are_carried_in_tracks_of_their_own(server: LabServer) -> None:
    async with two_people(server) as (caller, human), person(server, "agent", "call", 660.0):
        first = Side("call", "caller", also=("agent",))
        async with relayed(server, first=first):
            await hear_each_other(caller, human)
            await until(lambda: human.hears(660.0) and human.hears(CALLER), "the human hears both at once")


async def test_a_new_track_of_a_participant_goes_on_where_the_old_one_was(server: LabServer) -> None:
    async with two_people(server) as (caller, human), relayed(server):
        await hear_each_other(caller, human)
        await caller.tone.__aexit__()
        async with Tone(caller.room, 550.0) as caller.tone:
            await until(lambda: human.hears(550.0), "the new track is heard")
        caller.tone = await Tone(caller.room, CALLER).__aenter__()
        await until(lambda: human.hears(CALLER), "and another one")


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_two_talk_on_when_whoever_began_it_is_gone(server: LabServer, engine: EngineChoice) -> None:
    async with (
        two_people(server) as (caller, human),
        relayed(server, engine, first=Side("call", "caller", keep=True)) as relay,
    ):
        await hear_each_other(caller, human)
        relay.let_go()  # all that it sees of our death
        await asyncio.sleep(0.3)
        assert caller.hears(HUMAN) and human.hears(CALLER)
        await human.room.disconnect()
        await rooms_end(server)


async def test_a_process_that_is_killed_is_replaced(server: LabServer) -> None:
    async with two_people(server) as (caller, human), relayed(server) as relay:
        await hear_each_other(caller, human)
        first = relay.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: not (caller.hears(HUMAN) or human.hears(CALLER)), "nothing is heard")
        await until(lambda: relay.pid != first, "another process is there")
        await hear_each_other(caller, human)


async def lag(caller: Person, human: Person, hertz: float) -> float:
    """Seconds until the human hears that the caller's tone has become another one; the ear itself takes 0.1 to 0.2."""
    caller.tone.hertz = hertz
    began = time.monotonic()
    await until(lambda: human.hears(hertz), "the new tone is heard")
    return time.monotonic() - began


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_process_that_was_held_up_for_a_second_is_not_late_for_ever(
    server: LabServer, engine: EngineChoice
) -> None:
    """What comes in a burst is played faster by whoever hears it."""
    async with two_people(server) as (caller, human), relayed(server, engine) as relay:
        await hear_each_other(caller, human)
        before = await lag(caller, human, 550.0)
        os.kill(relay.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)
        os.kill(relay.pid, signal.SIGCONT)
        limit = time.monotonic() + LIMIT
        while await lag(caller, human, 770.0 if caller.tone.hertz == 660.0 else 660.0) > before + 0.2:
            assert time.monotonic() < limit


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_signalling_connection_that_is_cut_is_made_anew(server: LabServer, engine: EngineChoice) -> None:
    async with two_people(server) as (caller, human), relayed(server, engine):
        await hear_each_other(caller, human)
        legs = [p.identity for room in server.rooms.all() for p in room.participants.values() if p.is_agent]
        for leg in legs:
            await server.cut_signalling(0.0, leg)
        await asyncio.sleep(1.0)
        await hear_each_other(caller, human)


BAD = [
    ({"first": Side("nowhere", "caller")}, RelayFailure.NO_ROOM, "first"),
    ({"second": Side("nowhere", "human")}, RelayFailure.NO_ROOM, "second"),
    ({"first": Side("call", "nobody")}, RelayFailure.NO_PARTICIPANT, "first"),
    ({"second": Side("consult", "nobody")}, RelayFailure.NO_PARTICIPANT, "second"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sides, failure, side", BAD)
async def test_who_is_not_there_is_a_typed_error_and_nothing_is_left(
    server: LabServer, engine: EngineChoice, sides: dict[str, Side], failure: RelayFailure, side: str
) -> None:
    async with two_people(server):
        with pytest.raises(RelayError) as caught:
            async with relayed(server, engine, **sides):
                pass
        assert (caught.value.failure, caught.value.side) == (failure, side)
        await are_alone_again(server)


async def test_a_wrong_address_or_key_is_a_typed_error(server: LabServer) -> None:
    async with two_people(server):
        for url, secret, failure in (
            ("ws://127.0.0.1:1", server.settings.api_secret, RelayFailure.UNREACHABLE),
            (server.url, "not-the-secret-not-the-secret-not-it", RelayFailure.NOT_ALLOWED),
        ):
            with pytest.raises(RelayError) as caught:
                async with relay_rooms(
                    Side("call", "caller"), Side("consult", "human"), url=url, api_key="devkey", api_secret=secret
                ):
                    pass
            assert caught.value.failure is failure


async def test_a_token_s_end_is_not_the_call_s(server: LabServer) -> None:
    """A leg that has to join again much later gets a new token."""
    async with two_people(server) as (caller, human):
        relay = Relay(order(server, token_life=1.0), RelayProcess.launch())
        await relay.start()
        await hear_each_other(caller, human)
        await asyncio.sleep(12.0)  # with the leeway of 10 s the first tokens are worth nothing now
        await server.cut_signalling(0.0, next(p for p in server.rooms.get("call").participants if "relay" in p))  # type: ignore[union-attr]
        await asyncio.sleep(1.0)
        await hear_each_other(caller, human)
        await relay.stop()


async def test_a_server_that_answers_no_media_is_a_typed_error_and_nothing_is_left(server: LabServer) -> None:
    async with two_people(server):
        server._multiplexer.datagram_received = lambda data, address: None  # type: ignore[method-assign]
        with pytest.raises(RelayError) as caught:
            async with relayed(server, "packet"):
                pass
        assert caught.value.failure is RelayFailure.NO_MEDIA
        await are_alone_again(server)
