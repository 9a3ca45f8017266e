"""Who may do what, and how a refusal reads."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from livekit import api, rtc
from livekit.protocol import agent_dispatch, models
from livekit.protocol import room as protocol

from lab.server import LabServer
from tests.lab.server.conftest import StartServer
from tests.lab.support import Ear, Tone, client, granted, is_near, server_api, twirp, until

ROOM_ADMIN = {"room_admin": True, "room": "room"}
SOMEBODY = protocol.RoomParticipantIdentity(room="room", identity="alice")
MOVE = protocol.MoveParticipantRequest(room="room", identity="alice", destination_room="other")

REFUSED = (401, "unauthenticated")
GONE = (503, "unavailable")
UNKNOWN = (404, "not_found")

METHODS: list[tuple[str, Message, dict[str, Any], tuple[int, str]]] = [
    ("RoomService/CreateRoom", protocol.CreateRoomRequest(name="made"), {"room_create": True}, (200, "ok")),
    ("RoomService/ListRooms", protocol.ListRoomsRequest(), {"room_list": True}, (200, "ok")),
    ("RoomService/DeleteRoom", protocol.DeleteRoomRequest(room="room"), {"room_create": True}, UNKNOWN),
    ("RoomService/ListParticipants", protocol.ListParticipantsRequest(room="room"), ROOM_ADMIN, (200, "ok")),
    ("RoomService/GetParticipant", SOMEBODY, ROOM_ADMIN, UNKNOWN),
    ("RoomService/RemoveParticipant", SOMEBODY, ROOM_ADMIN, UNKNOWN),
    ("RoomService/SendData", protocol.SendDataRequest(room="room"), ROOM_ADMIN, GONE),
    ("RoomService/MoveParticipant", MOVE, {**ROOM_ADMIN, "destination_room": "other"}, GONE),
    ("AgentDispatchService/ListDispatch", agent_dispatch.ListAgentDispatchRequest(room="room"), ROOM_ADMIN, GONE),
    ("AgentDispatchService/DeleteDispatch", agent_dispatch.DeleteAgentDispatchRequest(room="room"), ROOM_ADMIN, GONE),
    ("RoomService/Nothing", protocol.ListRoomsRequest(), {}, (404, "bad_route")),
]
"""Method, request, the grants that it takes, and the answer where there is no room."""


async def test_each_method_wants_its_grant_and_knows_a_room_that_is_not_there(server: LabServer) -> None:
    for path, request, grants, answer in METHODS:
        assert await twirp(server, path, request, granted(server, **grants)) == answer, path
        assert await twirp(server, path, request, "no token") == REFUSED, path
        if grants:
            assert await twirp(server, path, request, granted(server, can_publish=True)) == REFUSED, path
        if "room" in grants:
            elsewhere = granted(server, **{**grants, "room": "elsewhere"})
            assert await twirp(server, path, request, elsewhere) == REFUSED, path


async def test_a_token_is_good_for_a_minute_after_its_end(server: LabServer) -> None:
    def expired(seconds: float) -> str:
        made = api.AccessToken(server.settings.api_key, server.settings.api_secret).with_identity("late")
        made = made.with_ttl(datetime.timedelta(seconds=-seconds))
        return made.with_grants(api.VideoGrants(room_list=True)).to_jwt()

    request = protocol.ListRoomsRequest()
    assert await twirp(server, "RoomService/ListRooms", request, expired(10)) == (200, "ok")
    assert await twirp(server, "RoomService/ListRooms", request, expired(50)) == (200, "ok")
    assert await twirp(server, "RoomService/ListRooms", request, expired(70)) == REFUSED


async def test_nobody_joins_without_the_grant(server: LabServer) -> None:
    room = rtc.Room()
    with pytest.raises(rtc.ConnectError):
        await room.connect(server.url, granted(server, room="room"))
    assert not server.rooms.all()


@pytest.mark.parametrize(("edition", "answer"), [("oss", (500, "unknown")), ("cloud", (412, "failed_precondition"))])
async def test_a_client_that_cannot_be_moved_disturbs_no_other_room(
    start_server: StartServer, edition: str, answer: tuple[int, str]
) -> None:
    server = await start_server(edition=edition)
    async with client(server, "alice"):
        allowed = granted(server, **ROOM_ADMIN, destination_room="other")
        assert await twirp(server, "RoomService/MoveParticipant", MOVE, allowed) == answer
        assert server.rooms.get("other") is None
        async with client(server, "alice", "other") as namesake:
            assert await twirp(server, "RoomService/MoveParticipant", MOVE, allowed) == answer
            assert namesake.isconnected()
            room = server.rooms.get("other")
            assert room and "alice" in room.participants
        same = protocol.MoveParticipantRequest(room="room", identity="alice", destination_room="room")
        allowed = granted(server, **ROOM_ADMIN, destination_room="room")
        assert await twirp(server, "RoomService/MoveParticipant", same, allowed) == (400, "invalid_argument")


async def test_the_open_source_edition_says_that_moving_is_not_implemented(start_server: StartServer) -> None:
    server = await start_server(edition="oss")
    async with client(server, "alice"), server_api(server) as calls:
        for call in (
            calls.room.move_participant(MOVE),
            calls.room.forward_participant(
                api.ForwardParticipantRequest(room="room", identity="alice", destination_room="other")
            ),
        ):
            with pytest.raises(api.ServerError) as caught:
                await call
            assert (caught.value.code, caught.value.status) == ("unknown", 500)
            assert "not implemented" in caught.value.message
        nobody = protocol.MoveParticipantRequest(room="room", identity="nobody", destination_room="other")
        allowed = granted(server, **ROOM_ADMIN, destination_room="other")
        assert await twirp(server, "RoomService/MoveParticipant", nobody, allowed) == GONE


async def test_the_server_mutes_for_good_and_only_the_publisher_unmutes(server: LabServer) -> None:
    async with (
        client(server, "alice") as alice,
        client(server, "bob") as bob,
        Ear(bob) as ear,
        Tone(alice, 700) as tone,
    ):
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice")
        muted: set[str] = set()
        alice.on("track_muted", lambda participant, publication: muted.add("alice knows"))
        bob.on("track_muted", lambda participant, publication: muted.add("bob knows"))
        assert tone.publication
        request = api.MuteRoomTrackRequest(room="room", identity="alice", track_sid=tone.publication.sid, muted=True)
        async with server_api(server) as calls:
            await calls.room.mute_published_track(request)
            await until(lambda: muted == {"alice knows", "bob knows"}, "both are told")
            await until(lambda: ear.hertz() is None, "bob hears nothing")
            request.muted = False
            with pytest.raises(api.ServerError) as caught:
                await calls.room.mute_published_track(request)
        assert (caught.value.code, caught.value.status) == ("failed_precondition", 412)
        assert isinstance(tone.publication.track, rtc.LocalAudioTrack)
        tone.publication.track.unmute()
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice again")


class Listener:
    """Stands for a listener of a track in the server."""

    def __init__(self) -> None:
        self.packets = 0

    def on_packet(self, *_: object) -> None:
        self.packets += 1

    def on_sender_report(self, *_: object) -> None:
        pass


async def test_a_muted_track_forwards_nothing_even_if_its_publisher_goes_on(server: LabServer) -> None:
    async with client(server, "alice") as alice, Tone(alice, 700):
        room = server.rooms.get("room")
        assert room
        (track,) = room.participants["alice"].tracks.values()
        track.sinks["listener"] = listener = Listener()
        track.forward(False, 1, 960, b"opus")
        assert listener.packets == 1
        track.info.muted = True
        track.forward(False, 2, 1920, b"opus")
        assert listener.packets == 1
        track.info.muted = False


async def test_without_the_right_to_subscribe_nothing_is_heard_until_it_is_given(server: LabServer) -> None:
    async with (
        client(server, "alice") as alice,
        client(server, "bob", can_subscribe=False) as bob,
        Ear(bob) as ear,
        Tone(alice, 700) as tone,
        server_api(server) as calls,
    ):
        assert tone.publication
        sid = tone.publication.sid
        publication = await until(
            lambda: bob.remote_participants["alice"].track_publications.get(sid) if bob.remote_participants else None,
            "bob knows of the track",
        )
        assert publication
        room = server.rooms.get("room")
        assert room
        (track,) = room.participants["alice"].tracks.values()
        publication.set_subscribed(True)
        await calls.room.update_subscriptions(
            api.UpdateSubscriptionsRequest(room="room", identity="bob", track_sids=[sid], subscribe=True)
        )
        await asyncio.sleep(0.3)  # the client's own wish has arrived
        assert not track.sinks
        for allowed in (True, False):
            permission = models.ParticipantPermission(can_subscribe=allowed, can_publish=True, can_publish_data=True)
            await calls.room.update_participant(
                api.UpdateParticipantRequest(room="room", identity="bob", permission=permission)
            )
            assert ("bob" in track.sinks) is allowed
            if allowed:
                await until(lambda: is_near(700)(ear.hertz(sid)), "bob hears alice")


async def test_a_right_to_publish_that_is_taken_away_ends_the_track(server: LabServer) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob, Ear(bob) as ear, Tone(alice, 700):
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice")
        unpublished: list[str] = []
        bob.on("track_unpublished", lambda publication, participant: unpublished.append(participant.identity))
        permission = models.ParticipantPermission(can_subscribe=True, can_publish=False)
        async with server_api(server) as calls:
            await calls.room.update_participant(
                api.UpdateParticipantRequest(room="room", identity="alice", permission=permission)
            )
        await until(lambda: unpublished == ["alice"], "bob is told")
        await alice.disconnect()  # before the tone ends: there is nothing left to unpublish


async def test_own_attributes_without_the_grant_change_nothing(server: LabServer) -> None:
    async with client(server, "alice", can_update_own_metadata=False) as alice:
        await alice.local_participant.set_attributes({"mood": "good"})
        room = server.rooms.get("room")
        assert room and room.participants["alice"].attributes == {}
