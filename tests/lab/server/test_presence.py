"""Who is told of whom and when; cuts, come-backs and those who vanish."""

from __future__ import annotations

import asyncio

from livekit import api, rtc
from livekit.protocol import models

from lab.server import LabServer
from lab.server.webrtc import WebRtcParticipant
from tests.lab.server.conftest import StartServer
from tests.lab.support import Ear, Tone, client, is_near, server_api, until


def departures(room: rtc.Room) -> dict[str, str | None]:
    """Collects the reasons that a client is told, by identity."""
    seen: dict[str, str | None] = {}

    def note(participant: rtc.RemoteParticipant) -> None:
        reason = participant.disconnect_reason
        seen[participant.identity] = None if reason is None else rtc.DisconnectReason.Name(reason)

    room.on("participant_disconnected", note)
    return seen


async def test_the_second_of_one_identity_throws_out_the_first(server: LabServer) -> None:
    async with client(server, "watcher") as watcher, client(server, "alice") as first:
        reasons: list[rtc.DisconnectReason.ValueType] = []
        first.on("disconnected", lambda reason: reasons.append(reason))
        await until(lambda: "alice" in watcher.remote_participants, "the watcher knows alice")
        old = watcher.remote_participants["alice"].sid
        async with client(server, "alice") as second, Tone(second, 500):
            await until(lambda: reasons == [rtc.DisconnectReason.DUPLICATE_IDENTITY], "the first is told why")
            # In between, the watcher knows none of that name.
            await until(
                lambda: (alice := watcher.remote_participants.get("alice")) and alice.sid != old,
                "the watcher knows the second, under a new sid",
            )
            assert second.isconnected()


async def test_a_publisher_is_announced_at_once_and_others_in_the_next_batch(start_server: StartServer) -> None:
    server = await start_server(announce_interval=2.5)
    async with client(server, "watcher") as watcher:
        packets: list[rtc.DataPacket] = []
        watcher.on("data_received", packets.append)
        async with (
            client(server, "quiet") as quiet,
            client(server, "brief") as brief,
            client(server, "loud") as loud,
            Tone(loud, 500),
        ):
            await until(lambda: "loud" in watcher.remote_participants, "the publisher is known")
            assert "quiet" not in watcher.remote_participants
            await quiet.local_participant.publish_data(b"here I am")
            await until(lambda: packets, "the packet arrives")
            assert packets[0].data == b"here I am"
            assert packets[0].participant is None, "its sender has not been announced"
            await brief.disconnect()
            await until(lambda: "quiet" in watcher.remote_participants, "the batch comes")
            assert "brief" not in watcher.remote_participants, "came and went within one batch"


async def test_a_client_whose_signalling_is_cut_resumes_with_its_sid_and_its_sound(server: LabServer) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob, Ear(bob) as ear, Tone(alice, 700):
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice")
        gone = departures(alice)
        room = server.rooms.get("room")
        assert room
        before = room.participants["bob"]
        assert isinstance(before, WebRtcParticipant)
        first = before.websocket
        await server.cut_signalling(0.0, "bob")
        await until(lambda: before.websocket not in (None, first), "bob is back")
        ear.heard.clear()
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice again")
        assert room.participants["bob"] is before
        assert bob.local_participant.sid == before.sid
        await bob.local_participant.set_attributes({"signalling": "works"})
        await until(lambda: alice.remote_participants["bob"].attributes, "what bob says arrives")
        assert not gone


async def test_whoever_loses_media_or_signalling_for_good_is_gone_after_the_timeout(start_server: StartServer) -> None:
    server = await start_server(vanish_timeout=3.5)
    async with client(server, "watcher") as watcher, client(server, "bob") as bob, client(server, "carol"):
        gone = departures(watcher)
        await until(lambda: len(watcher.remote_participants) == 2, "the watcher knows both")
        room = server.rooms.get("room")
        assert room
        loop = asyncio.get_running_loop()
        begun = loop.time()
        room.participants["bob"].network.cut = True
        await server.cut_signalling(4.5, "carol")
        await until(lambda: "bob" in gone and "carol" in gone, "both are gone")
        assert loop.time() - begun > 3.0
        assert gone == {"bob": "CONNECTION_TIMEOUT", "carol": "CONNECTION_TIMEOUT"}
        assert list(watcher.remote_participants) == []
        assert room.participants["watcher"].state == models.ParticipantInfo.ACTIVE
        await until(lambda: not bob.isconnected(), "bob is told")


async def test_new_metadata_of_a_room_reaches_who_is_in_it(server: LabServer) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob, server_api(server) as calls:
        told: dict[str, tuple[str, str]] = {}
        alice.on("room_metadata_changed", lambda old, new: told.update(alice=(old, new)))
        bob.on("room_metadata_changed", lambda old, new: told.update(bob=(old, new)))
        await calls.room.update_room_metadata(api.UpdateRoomMetadataRequest(room="room", metadata="open"))
        await until(lambda: told == {"alice": ("", "open"), "bob": ("", "open")}, "both are told")
        assert (alice.metadata, bob.metadata) == ("open", "open")


async def test_watchers_of_a_replaced_identity_are_told_no_reason(server: LabServer) -> None:
    """Whether the first one has published or not."""
    async with client(server, "watcher") as watcher, client(server, "quiet") as quiet, client(server, "loud") as loud:
        await until(lambda: len(watcher.remote_participants) == 2, "the watcher knows both")
        gone, kicked = departures(watcher), set[str]()
        quiet.on("disconnected", lambda reason: kicked.add(f"quiet {rtc.DisconnectReason.Name(reason)}"))
        loud.on("disconnected", lambda reason: kicked.add(f"loud {rtc.DisconnectReason.Name(reason)}"))
        async with Tone(loud, 500):
            await until(lambda: watcher.remote_participants["loud"].track_publications, "loud has published")
            async with client(server, "quiet"), client(server, "loud"):
                await until(lambda: set(gone) == {"quiet", "loud"}, "the watcher is told", limit=2)
                await until(lambda: len(watcher.remote_participants) == 2, "and knows those who came instead")
        assert set(gone.values()) <= {None, "UNKNOWN_REASON"}
        assert kicked == {"quiet DUPLICATE_IDENTITY", "loud DUPLICATE_IDENTITY"}
