"""Real SDK clients meet in a room of the lab's server: sound, data, attributes."""

from __future__ import annotations

import asyncio

from livekit import rtc

from lab.server import LabServer
from tests.lab.support import Ear, Tone, client, is_near, until


async def test_a_published_tone_is_heard_by_the_other_and_stops_when_it_is_unpublished(server: LabServer) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob, Ear(bob) as ear:
        unpublished: list[str] = []
        bob.on("track_unpublished", lambda publication, participant: unpublished.append(participant.identity))
        async with Tone(alice, 700):
            await until(lambda: is_near(700)(ear.hertz()), "bob hears 700 Hz")
        await until(lambda: unpublished == ["alice"], "bob is told that the track is gone")
        async with Tone(alice, 1100) as again:
            assert again.publication
            sid = again.publication.sid
            await until(lambda: is_near(1100)(ear.hertz(sid)), "bob hears the track published anew")


async def test_a_newcomer_hears_the_track_that_was_there_before(server: LabServer) -> None:
    async with client(server, "alice") as alice, Tone(alice, 500), client(server, "bob") as bob, Ear(bob) as ear:
        await until(lambda: is_near(500)(ear.hertz()), "bob hears 500 Hz")


async def test_encrypted_media_and_keys_are_for_those_who_have_the_key(server: LabServer) -> None:
    async with (
        client(server, "alice", shared_key="secret") as alice,
        client(server, "bob", shared_key="secret") as bob,
        client(server, "eve") as eve,
        Ear(bob) as ear,
        Ear(eve) as noise,
        Tone(alice, 500),
    ):
        pressed: list[str] = []
        bob.on("sip_dtmf_received", lambda event: pressed.append(event.digit))
        await until(lambda: is_near(500)(ear.hertz()), "bob hears alice")
        (publication,) = eve.remote_participants["alice"].track_publications.values()
        assert publication.encryption_type == rtc.EncryptionType.GCM
        heard = []
        for _ in range(10):
            heard.append(is_near(500)(noise.hertz()))
            await asyncio.sleep(0.1)
        assert sum(heard) <= 2  # what she hears is noise, whose loudest tone may be this one for a moment
        await alice.local_participant.publish_dtmf(code=5, digit="5")
        await until(lambda: pressed == ["5"], "bob gets the key")


async def test_text_data_and_remote_calls_reach_the_other(server: LabServer) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob:
        texts: list[str] = []
        packets: list[bytes] = []

        async def read(reader: rtc.TextStreamReader) -> None:
            texts.append(await reader.read_all())

        readers: list[asyncio.Task[None]] = []
        bob.register_text_stream_handler("notes", lambda reader, who: readers.append(asyncio.create_task(read(reader))))
        bob.on("data_received", lambda packet: packets.append(packet.data))
        await until(lambda: "bob" in alice.remote_participants, "alice knows bob")
        long_text = "word " * 20000
        await alice.local_participant.send_text(long_text, topic="notes")
        await alice.local_participant.publish_data(b"hello", destination_identities=["bob"])
        await until(lambda: texts == [long_text], "the long text arrives whole")
        await until(lambda: packets == [b"hello"], "the packet arrives")

        async def double(call: rtc.RpcInvocationData) -> str:
            return call.payload * 2

        bob.local_participant.register_rpc_method("double", double)

        answer = await alice.local_participant.perform_rpc(destination_identity="bob", method="double", payload="ab")
        assert answer == "abab"


async def test_attributes_are_seen_at_once_and_muting_too(server: LabServer) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob, Tone(alice, 500) as tone:
        seen: list[dict[str, str]] = []
        muted: list[str] = []
        bob.on("participant_attributes_changed", lambda changed, participant: seen.append(dict(changed)))
        bob.on("track_muted", lambda participant, publication: muted.append(participant.identity))
        await until(lambda: "alice" in bob.remote_participants, "bob knows alice")
        await alice.local_participant.set_attributes({"mood": "good"})
        await until(lambda: {"mood": "good"} in seen, "bob sees the attribute")
        assert tone.publication and tone.publication.track
        track = tone.publication.track
        assert isinstance(track, rtc.LocalAudioTrack)
        track.mute()
        await until(lambda: muted == ["alice"], "bob sees the mute")
