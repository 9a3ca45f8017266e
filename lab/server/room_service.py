"""The RoomService of LiveKit's server API, with the grants and the errors of the real server (1.13)."""

from __future__ import annotations

from livekit.protocol import models
from livekit.protocol import room as protocol

from lab.server.room import Participant, Room
from lab.server.rooms import RoomRegistry
from lab.server.settings import Edition
from lab.server.tokens import Claims
from lab.server.twirp import TwirpError, require
from lab.server.workers import Dispatcher
from lab.tasks import TaskSet


class RoomService:
    def __init__(self, rooms: RoomRegistry, dispatcher: Dispatcher, edition: Edition, tasks: TaskSet) -> None:
        self._rooms = rooms
        self._dispatcher = dispatcher
        self._edition = edition
        self._tasks = tasks

    # -- rooms

    async def CreateRoom(self, request: protocol.CreateRoomRequest, claims: Claims) -> models.Room:
        require(bool(claims.video.get("roomCreate")))
        if not request.name:
            raise TwirpError("invalid_argument", "room name is required")
        fresh = self._rooms.get(request.name) is None
        room = self._rooms.get_or_create(
            request.name,
            empty_timeout=request.empty_timeout or None,
            departure_timeout=request.departure_timeout or None,
            metadata=request.metadata,
        )
        if fresh:
            for agent in request.agents:
                self._tasks.spawn(self._dispatcher.dispatch(room, agent.agent_name, agent.metadata))
        return room.info()

    async def ListRooms(self, request: protocol.ListRoomsRequest, claims: Claims) -> protocol.ListRoomsResponse:
        require(bool(claims.video.get("roomList")))
        rooms = [room.info() for room in self._rooms.all() if not request.names or room.name in request.names]
        return protocol.ListRoomsResponse(rooms=rooms)

    async def DeleteRoom(self, request: protocol.DeleteRoomRequest, claims: Claims) -> protocol.DeleteRoomResponse:
        require(bool(claims.video.get("roomCreate")))
        room = self._rooms.get(request.room)
        if room is None:
            raise TwirpError("not_found", "requested room does not exist")
        await room.close(models.ROOM_DELETED)
        return protocol.DeleteRoomResponse()

    async def UpdateRoomMetadata(self, request: protocol.UpdateRoomMetadataRequest, claims: Claims) -> models.Room:
        room = self._administered(request.room, claims)
        room.set_metadata(request.metadata)
        return room.info()

    async def SendData(self, request: protocol.SendDataRequest, claims: Claims) -> protocol.SendDataResponse:
        room = self._administered(request.room, claims)
        packet = models.DataPacket(
            kind=request.kind,
            destination_identities=request.destination_identities,
            user=models.UserPacket(payload=request.data, topic=request.topic or None),
        )
        room.route_data(None, packet, request.kind == models.DataPacket.RELIABLE)
        return protocol.SendDataResponse()

    def _administered(self, name: str, claims: Claims) -> Room:
        require(claims.may_admin(name))
        room = self._rooms.get(name)
        if room is None:
            raise TwirpError("unavailable", "no response from servers")
        return room

    # -- participants

    def _participant(self, room: str, identity: str, claims: Claims) -> Participant:
        require(claims.may_admin(room))
        found = self._rooms.get(room)
        participant = found.participants.get(identity) if found else None
        if participant is None:
            raise TwirpError("not_found", "participant does not exist")
        return participant

    async def ListParticipants(
        self, request: protocol.ListParticipantsRequest, claims: Claims
    ) -> protocol.ListParticipantsResponse:
        require(claims.may_admin(request.room))
        room = self._rooms.get(request.room)
        participants = [p.info() for p in room.participants.values()] if room else []
        return protocol.ListParticipantsResponse(participants=participants)

    async def GetParticipant(self, request: protocol.RoomParticipantIdentity, claims: Claims) -> models.ParticipantInfo:
        return self._participant(request.room, request.identity, claims).info()

    async def RemoveParticipant(
        self, request: protocol.RoomParticipantIdentity, claims: Claims
    ) -> protocol.RemoveParticipantResponse:
        participant = self._participant(request.room, request.identity, claims)
        await participant.room.remove(participant, models.PARTICIPANT_REMOVED)
        return protocol.RemoveParticipantResponse()

    async def UpdateParticipant(
        self, request: protocol.UpdateParticipantRequest, claims: Claims
    ) -> models.ParticipantInfo:
        participant = self._participant(request.room, request.identity, claims)
        participant.metadata = request.metadata or participant.metadata
        participant.name = request.name or participant.name
        if request.HasField("permission"):
            participant.room.set_permission(participant, request.permission)
        participant.set_attributes(dict(request.attributes))
        return participant.info()

    async def MutePublishedTrack(
        self, request: protocol.MuteRoomTrackRequest, claims: Claims
    ) -> protocol.MuteRoomTrackResponse:
        participant = self._participant(request.room, request.identity, claims)
        track = participant.tracks.get(request.track_sid)
        if track is None:
            raise TwirpError("not_found", "track is not found")
        if not request.muted:
            raise TwirpError("failed_precondition", "remote unmute not enabled")
        participant.room.mute(track)
        return protocol.MuteRoomTrackResponse(track=track.info)

    async def UpdateSubscriptions(
        self, request: protocol.UpdateSubscriptionsRequest, claims: Claims
    ) -> protocol.UpdateSubscriptionsResponse:
        participant = self._participant(request.room, request.identity, claims)
        sids = [*request.track_sids, *(sid for group in request.participant_tracks for sid in group.track_sids)]
        for sid in sids:
            if track := participant.room.find_track(sid):
                participant.room.set_subscribed(participant, track, request.subscribe)
        return protocol.UpdateSubscriptionsResponse()

    # -- between rooms

    async def MoveParticipant(
        self, request: protocol.MoveParticipantRequest, claims: Claims
    ) -> protocol.MoveParticipantResponse:
        source, participant = self._before_a_move(request.room, request.identity, request.destination_room, claims)
        if not participant.can_move:
            raise TwirpError("failed_precondition", "the lab moves telephones only")
        destination = self._rooms.get_or_create(request.destination_room)
        if present := destination.participants.get(request.identity):
            await destination.remove(present, models.DUPLICATE_IDENTITY)
        source.take_out(participant, models.ROOM_CLOSED)
        participant.move_to(destination)
        return protocol.MoveParticipantResponse()

    async def ForwardParticipant(
        self, request: protocol.ForwardParticipantRequest, claims: Claims
    ) -> protocol.ForwardParticipantResponse:
        self._before_a_move(request.room, request.identity, request.destination_room, claims)
        raise TwirpError("unimplemented", "the lab does not forward participants")

    def _before_a_move(self, room: str, identity: str, destination: str, claims: Claims) -> tuple[Room, Participant]:
        require(claims.may_move(room, destination))
        if room == destination:
            raise TwirpError("invalid_argument", "source and destination room cannot be the same")
        source = self._rooms.get(room)
        participant = source.participants.get(identity) if source else None
        if source is None or participant is None:
            raise TwirpError("unavailable", "no response from servers")
        if self._edition == "oss":
            raise TwirpError("unknown", "not implemented")
        return source, participant
