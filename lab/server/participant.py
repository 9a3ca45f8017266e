"""A participant of a room and its tracks, whatever it is: a WebRTC client or a telephone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from livekit.protocol import models

from lab.naming import new_sid
from lab.server.faults import NetworkFaults

if TYPE_CHECKING:
    from lab.server.rooms import Room

State = models.ParticipantInfo.State


class TrackSink(Protocol):
    """Somebody who gets the packets of a track."""

    def on_packet(self, track: Track, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        """One Opus packet; `timestamp` counts at 48 kHz."""

    def on_sender_report(self, track: Track, sender_info: bytes) -> None:
        """The twenty bytes of an RTCP sender report that relate the timestamps to the wall clock."""


class Track:
    """A published audio track; fans its packets out to those who subscribed."""

    ANNOUNCE_AFTER = 0.1
    """Seconds of media before the publisher is told that somebody subscribed. The SDK drops that message when it
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
        """Somebody hears the track now; its publisher is told once media has been flowing."""
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
    """The part that all kinds share. Subclasses bring the media."""

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
        """Merges `changes` (an empty value removes the key) and tells the room at once."""
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
        """A data packet that somebody sent to the room."""
        raise NotImplementedError

    def on_track_subscribed(self, track: Track) -> None:
        """Somebody hears this participant's `track`."""

    def on_muted_by_server(self, track: Track) -> None:
        """The server API muted this participant's `track`."""

    def on_unpublished_by_server(self, track: Track) -> None:
        """The right to publish `track` was taken away."""

    can_move = False
    """Whether MoveParticipant can take it to another room."""

    def move_to(self, room: Room) -> None:
        """Goes on in `room`, having been taken out of its own: a new sid, the tracks keep theirs."""
        self.room = room
        self.sid = new_sid("PA_")
        self.state = models.ParticipantInfo.ACTIVE
        self.disconnect_reason = models.UNKNOWN_REASON
        room.add(self)

    async def close(self, reason: models.DisconnectReason) -> None:
        """The participant has been taken out of its room for `reason`: end its connection."""
        raise NotImplementedError
