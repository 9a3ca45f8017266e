"""A room, its participants and their tracks: who is in it, which news reaches whom and when, and how long it lives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from livekit.protocol import agent_dispatch, models, rtc

from lab.naming import mask, new_sid
from lab.server.faults import NetworkFaults
from lab.server.settings import ServerSettings
from lab.tasks import TaskSet

logger = logging.getLogger("lab.server.rooms")

State = models.ParticipantInfo.State


class TrackSink(Protocol):
    """A receiver of a track's packets."""

    def on_packet(self, track: Track, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        """One Opus packet; `timestamp` counts at 48 kHz."""

    def on_sender_report(self, track: Track, sender_info: bytes) -> None:
        """The twenty bytes of an RTCP sender report that relate the timestamps to the wall clock."""


class Track:
    """A published audio track; fans its packets out to its subscribers."""

    ANNOUNCE_AFTER = 0.1
    """Seconds of media before a subscription is reported to the publisher. The SDK drops that message when it
    overtakes its own bookkeeping of the publication, and an agent then never speaks."""

    def __init__(self, owner: Participant, info: models.TrackInfo, cid: str = "") -> None:
        self.owner = owner
        self.info = info
        self.cid = cid
        """The publishing client's own id for it."""
        self.sinks: dict[str, TrackSink] = {}
        """By the subscriber's identity."""
        self._subscribed = False
        self._told = False
        self._flowing_since = 0.0

    @property
    def sid(self) -> str:
        return self.info.sid

    def mark_subscribed(self) -> None:
        """The track has a subscriber now; this is reported to its publisher once media has been flowing."""
        self._subscribed = True

    def forward(self, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        if self.info.muted:
            return  # the server mutes by dropping; the publisher may well go on sending
        if self._subscribed and not self._told:
            self._tell_publisher()
        for sink in list(self.sinks.values()):
            sink.on_packet(self, marker, sequence, timestamp, payload)

    def forward_sender_report(self, sender_info: bytes) -> None:
        for sink in list(self.sinks.values()):
            sink.on_sender_report(self, sender_info)

    def _tell_publisher(self) -> None:
        now = time.monotonic()
        self._flowing_since = self._flowing_since or now
        if now - self._flowing_since >= self.ANNOUNCE_AFTER:
            self._told = True
            self.owner.on_track_subscribed(self)


class Participant:
    """A WebRTC client or a telephone: the part that all kinds share. Subclasses bring the media."""

    def __init__(
        self,
        room: Room,
        identity: str,
        *,
        name: str = "",
        kind: models.ParticipantInfo.Kind = models.ParticipantInfo.STANDARD,
        attributes: dict[str, str] | None = None,
        metadata: str = "",
        permission: models.ParticipantPermission | None = None,
    ) -> None:
        self.room = room
        self.identity = identity
        self.name = name
        self.kind = kind
        self.attributes = dict(attributes or {})
        self.metadata = metadata
        self.permission = permission or models.ParticipantPermission(
            can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=True
        )
        self.sid = new_sid("PA_")
        self.tracks: dict[str, Track] = {}
        self.state: State = models.ParticipantInfo.JOINED
        self.auto_subscribe = True
        self.client_protocol = 0
        self.disconnect_reason: models.DisconnectReason = models.UNKNOWN_REASON
        self.network = NetworkFaults(room.settings.seed, identity)
        self._version = 0
        self._joined_at = time.time()

    @property
    def is_agent(self) -> bool:
        return self.kind == models.ParticipantInfo.AGENT

    @property
    def active(self) -> bool:
        return self.state == models.ParticipantInfo.ACTIVE

    def info(self) -> models.ParticipantInfo:
        self._version += 1
        return models.ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=self.name,
            state=self.state,
            kind=self.kind,
            attributes=self.attributes,
            metadata=self.metadata,
            tracks=[track.info for track in self.tracks.values()],
            version=self._version,
            joined_at=int(self._joined_at),
            joined_at_ms=int(self._joined_at * 1000),
            is_publisher=bool(self.tracks),
            disconnect_reason=self.disconnect_reason,
            client_protocol=self.client_protocol,
            permission=self.permission,
        )

    def set_attributes(self, changes: dict[str, str]) -> None:
        """Merges `changes` (an empty value removes the key) and reports them to the room at once."""
        for key, value in changes.items():
            self.attributes[key] = value
            if not value:
                del self.attributes[key]
        self.room.update(self)

    def signal(self, **message: Any) -> None:
        """Sends one SignalResponse to a participant that has signalling."""

    def subscribe(self, track: Track) -> None:
        """Starts to hear `track`."""
        raise NotImplementedError

    def unsubscribe(self, track: Track) -> None:
        raise NotImplementedError

    def receive_data(self, packet: models.DataPacket, reliable: bool) -> None:
        """A data packet that was sent to the room."""
        raise NotImplementedError

    def on_track_subscribed(self, track: Track) -> None:
        """This participant's `track` has a subscriber."""

    def on_muted_by_server(self, track: Track) -> None:
        """The server API muted this participant's `track`."""

    def on_unpublished_by_server(self, track: Track) -> None:
        """The right to publish `track` was taken away."""

    can_move = False
    """Whether MoveParticipant can take it to another room."""

    def move_to(self, room: Room) -> None:
        """Continues in `room` after its removal from its own: it gets a new sid, the tracks keep theirs."""
        self.room = room
        self.sid = new_sid("PA_")
        self.state = models.ParticipantInfo.ACTIVE
        self.disconnect_reason = models.UNKNOWN_REASON
        room.add(self)

    async def close(self, reason: models.DisconnectReason) -> None:
        """The participant has been taken out of its room for `reason`: end its connection."""
        raise NotImplementedError


class Room:
    """One room. Agents do not keep it alive."""

    def __init__(
        self,
        name: str,
        settings: ServerSettings,
        tasks: TaskSet,
        on_closed: Callable[[Room], None],
        *,
        empty_timeout: float | None = None,
        departure_timeout: float | None = None,
        metadata: str = "",
    ) -> None:
        self.name = name
        self.sid = new_sid("RM_")
        self.settings = settings
        self.metadata = metadata
        self.empty_timeout = settings.empty_timeout if empty_timeout is None else empty_timeout
        self.departure_timeout = settings.departure_timeout if departure_timeout is None else departure_timeout
        self.participants: dict[str, Participant] = {}
        self.dispatches: dict[str, agent_dispatch.AgentDispatch] = {}
        self._created_at = time.time()
        self.tasks = tasks
        self._on_closed = on_closed
        self._announced: set[str] = set()
        """Sids of the participants that the others know of."""
        self._batch: dict[str, models.ParticipantInfo | None] = {}
        """Sids that wait for the next batch: None for a join, the last info for a leave."""
        self._replaced_quietly: set[str] = set()
        """Identities whose participant was replaced by a newer one before it ever published."""
        self._batch_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._end_after(self.empty_timeout)

    def info(self) -> models.Room:
        return models.Room(
            sid=self.sid,
            name=self.name,
            empty_timeout=int(self.empty_timeout),
            departure_timeout=int(self.departure_timeout),
            creation_time=int(self._created_at),
            creation_time_ms=int(self._created_at * 1000),
            metadata=self.metadata,
            num_participants=sum(not p.permission.hidden for p in self.participants.values()),
            enabled_codecs=[models.Codec(mime="audio/opus")],
        )

    def visible_to(self, viewer: Participant) -> Iterator[Participant]:
        """The participants that `viewer` may know of, itself not among them."""
        return (p for p in self.participants.values() if p is not viewer and p.active and not p.permission.hidden)

    def find_track(self, sid: str) -> Track | None:
        return next((p.tracks[sid] for p in self.participants.values() if sid in p.tracks), None)

    # -- news to participants

    def set_metadata(self, metadata: str) -> None:
        self.metadata = metadata
        update = rtc.RoomUpdate(room=self.info())
        for participant in list(self.participants.values()):
            participant.signal(room_update=update)

    def update(self, participant: Participant) -> None:
        """Sends everybody, at once, the present state of `participant`."""
        self._batch.pop(participant.sid, None)
        self._announced.add(participant.sid)
        self._tell(participant, participant.info())

    def _tell(self, about: Participant | None, info: models.ParticipantInfo) -> None:
        message = rtc.ParticipantUpdate(participants=[info])
        for participant in list(self.participants.values()):
            if participant is about or not info.permission.hidden:
                participant.signal(update=message)

    def announce(self, participant: Participant) -> None:
        """Makes a newcomer known: one with a track at once, one without in the next batch, as the real server does, which
        also sends the replacement of an entry of that batch at once."""
        participant.signal(update=rtc.ParticipantUpdate(participants=[participant.info()]))
        replaces = participant.identity in self._replaced_quietly
        self._replaced_quietly.discard(participant.identity)
        if participant.tracks or replaces:
            self.update(participant)
        else:
            self._enqueue(participant.sid, None)

    def _announce_leave(self, participant: Participant, published: bool) -> None:
        known = participant.sid in self._announced
        self._announced.discard(participant.sid)
        if participant.disconnect_reason == models.DUPLICATE_IDENTITY:
            # No message about the old one: the identity's new sid shows clients that it has left (livekit-server's
            # IsCloseNotifySkippable), so they know no reason.
            self._batch.pop(participant.sid, None)
            if not published:
                self._replaced_quietly.add(participant.identity)
            return
        if not known:
            self._batch.pop(participant.sid, None)
        elif published:
            self._tell(None, participant.info())
        else:
            self._enqueue(participant.sid, participant.info())

    def _enqueue(self, sid: str, info: models.ParticipantInfo | None) -> None:
        self._batch[sid] = info
        if self._batch_timer is None:
            loop = asyncio.get_running_loop()
            self._batch_timer = loop.call_later(self.settings.announce_interval, self._flush)

    def _flush(self) -> None:
        self._batch_timer = None
        batch, self._batch = self._batch, {}
        present = {p.sid: p for p in self.participants.values()}
        for sid, info in batch.items():
            if info is not None:
                self._tell(None, info)
            elif sid in present:
                self.update(present[sid])

    # -- who is here

    def add(self, participant: Participant) -> None:
        """Lets `participant` in and wires the subscriptions both ways. A client announces itself once it is active."""
        self.participants[participant.identity] = participant
        if not participant.is_agent:
            self._cancel_end()
        if participant.active:
            self.announce(participant)
        for other in list(self.participants.values()):
            if other is not participant:
                self._wire(participant, other)
                self._wire(other, participant)

    def set_permission(self, participant: Participant, permission: models.ParticipantPermission) -> None:
        """Gives and takes rights: subscriptions and publications that are no longer allowed end at once."""
        participant.permission.CopyFrom(permission)
        for other in list(self.participants.values()):
            if other is participant:
                continue
            if permission.can_subscribe:
                self._wire(participant, other)
                continue
            for track in list(other.tracks.values()):
                participant.unsubscribe(track)
        if not permission.can_publish:
            for track in list(participant.tracks.values()):
                participant.on_unpublished_by_server(track)
                self.unpublish(track)

    @staticmethod
    def set_subscribed(listener: Participant, track: Track, wanted: bool) -> None:
        """Does as `listener`, or the server API for it, asks; without the right to subscribe it gets nothing."""
        if not wanted:
            listener.unsubscribe(track)
        elif listener.permission.can_subscribe:
            listener.subscribe(track)

    @staticmethod
    def _wire(listener: Participant, speaker: Participant) -> None:
        if listener.auto_subscribe and listener.permission.can_subscribe:
            for track in list(speaker.tracks.values()):
                listener.subscribe(track)

    def take_out(self, participant: Participant, reason: models.DisconnectReason) -> bool:
        """Removes `participant` from the room without ending its connection; False when it has left already."""
        if self.participants.get(participant.identity) is not participant:
            return False
        published = bool(participant.tracks)
        participant.state, participant.disconnect_reason = models.ParticipantInfo.DISCONNECTED, reason
        del self.participants[participant.identity]
        for other in list(self.participants.values()):
            for track in list(participant.tracks.values()):
                other.unsubscribe(track)
            for track in list(other.tracks.values()):
                participant.unsubscribe(track)
        self._announce_leave(participant, published)
        if not participant.is_agent and all(p.is_agent for p in self.participants.values()):
            self._end_after(self.departure_timeout)
        return True

    async def remove(self, participant: Participant, reason: models.DisconnectReason) -> None:
        if self.take_out(participant, reason):
            logger.info("%s left %s", mask(participant.identity), mask(self.name))
            await participant.close(reason)

    # -- tracks and data

    def publish(self, track: Track) -> None:
        self.update(track.owner)
        for listener in list(self.participants.values()):
            if listener is not track.owner:
                self._wire(listener, track.owner)

    def unpublish(self, track: Track) -> None:
        if track.owner.tracks.pop(track.sid, None):
            self.update(track.owner)
        for participant in list(self.participants.values()):
            participant.unsubscribe(track)

    def mute(self, track: Track) -> None:
        """Silences `track` from the server's side; only its publisher can undo it."""
        track.info.muted = True
        track.owner.on_muted_by_server(track)
        self.update(track.owner)

    def route_data(self, sender: Participant | None, packet: models.DataPacket, reliable: bool) -> None:
        """Carries a data packet to its destinations, or to everybody else; the server's own have no sender."""
        if sender:
            packet.participant_identity, packet.participant_sid = sender.identity, sender.sid
        destinations = set(packet.destination_identities)
        for participant in list(self.participants.values()):
            if participant is not sender and (not destinations or participant.identity in destinations):
                participant.receive_data(packet, reliable)

    # -- how long it lives

    def _end_after(self, seconds: float) -> None:
        """Agents do not matter: only a participant that is no agent stops the clock."""
        self._cancel_end()
        self._end_timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _cancel_end(self) -> None:
        if self._end_timer:
            self._end_timer.cancel()
            self._end_timer = None

    def _expire(self) -> None:
        self.tasks.spawn(self.close(models.ROOM_CLOSED))

    async def close(self, reason: models.DisconnectReason) -> None:
        """Ends the room: everybody is disconnected for `reason`."""
        self._on_closed(self)
        for participant in list(self.participants.values()):
            await self.remove(participant, reason)
        for timer in (self._batch_timer, self._end_timer):
            if timer:
                timer.cancel()
