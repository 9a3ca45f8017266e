"""A WebRTC participant on `/rtc/v1`: one websocket at a time, one transport, the client always offers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import struct
import time
from typing import Any

from aiohttp import web
from livekit.protocol import models, rtc

from lab.naming import mask, new_sid
from lab.server.room import Participant, Room, Track
from lab.server.sdp import MediaSection, Offer, Receive, Role, Send, parse_offer, write_answer
from lab.server.transport import PeerTransport, RtpPacket, UdpMultiplexer
from lab.tasks import TaskSet

logger = logging.getLogger("lab.server.webrtc")

REPORT_INTERVAL = 2.0
"""Seconds between RTCP receiver reports."""
DEBOUNCE = 0.005
"""Seconds within which several changes become one request for an offer."""
SENDER_REPORT, RECEIVER_REPORT = 200, 201


class Subscription:
    """One track on its way to one client: a section of the client's offer and an SSRC of its own."""

    def __init__(self, peer: PeerTransport, track: Track) -> None:
        self.track = track
        self.ssrc = secrets.randbits(32)
        self.mid: str | None = None
        self.payload_type = 111
        self.live = False
        self._peer = peer

    def on_packet(self, track: Track, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        # Sequence numbers and timestamps pass untouched: each subscription has a fresh SSRC.
        if self.live:
            header = struct.pack("!BBHII", 0x80, marker << 7 | self.payload_type, sequence, timestamp, self.ssrc)
            self._peer.send_rtp(header + payload)

    def on_sender_report(self, track: Track, sender_info: bytes) -> None:
        if self.live:
            self._peer.send_rtcp(struct.pack("!BBHI", 0x80, SENDER_REPORT, 6, self.ssrc) + sender_info)


class Reception:
    """The state of one incoming stream that receiver reports need."""

    def __init__(self, first_sequence: int) -> None:
        self.first = self.highest = first_sequence
        self.received = 0
        self.last_report = 0
        self.last_report_at = 0.0

    def count(self, sequence: int) -> None:
        ahead = (sequence - self.highest) & 0xFFFF
        if ahead < 0x8000:
            self.highest += ahead
        self.received += 1

    def report(self, ssrc: int, reporter: int) -> bytes:
        lost = max(0, self.highest - self.first + 1 - self.received) & 0xFFFFFF
        delay = int((time.monotonic() - self.last_report_at) * 65536) & 0xFFFFFFFF if self.last_report else 0
        highest = self.highest & 0xFFFFFFFF
        return struct.pack(
            "!BBHIIIIIII", 0x81, RECEIVER_REPORT, 7, reporter, ssrc, lost, highest, 0, self.last_report, delay
        )


class WebRtcParticipant(Participant):
    """A client of the SDK, or a worker's agent."""

    def __init__(self, room: Room, multiplexer: UdpMultiplexer, identity: str, **values: Any) -> None:
        super().__init__(room, identity, **values)
        self.peer = PeerTransport(multiplexer, self.network)
        self.peer.on_rtp, self.peer.on_rtcp = self._on_rtp, self._on_rtcp
        self.peer.sctp.on("datachannel", self._on_channel)
        self.websocket: web.WebSocketResponse | None = None
        self.heard = time.monotonic()
        """When the last message came."""
        self.disposed = False
        """True once nothing of the connection is left."""
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._tasks = TaskSet()
        self._subscriptions: dict[str, Subscription] = {}
        self.ignores_new_tracks = False
        """For tests: its requests to publish get no answer."""
        self._closing_mids: set[str] = set()
        """Sections that the next answer makes inactive; free again after it."""
        self._receiving_sections = 0
        """Number of sections that the client has or was asked for."""
        self._published: dict[str, Track | None] = {}
        """By mid; a section that once carried a track never carries a subscription."""
        self._by_ssrc: dict[int, Track] = {}
        self._receptions: dict[int, Reception] = {}
        self._channels: dict[str, Any] = {}
        self._backlog: list[bytes] = []
        """Reliable packets that wait for the data channels to open."""
        self._remote_ufrag = ""
        self._answers = 0
        self._kick: asyncio.TimerHandle | None = None

    # -- signalling out

    def attach(self, websocket: web.WebSocketResponse | None) -> None:
        """Signals on `websocket` from now on; None while the client is away."""
        self._outbox.put_nowait(None)
        self.websocket, self._outbox, self.heard = websocket, asyncio.Queue(), time.monotonic()
        if websocket is not None:
            self._tasks.spawn(self._write(websocket, self._outbox))

    def signal(self, **message: Any) -> None:
        if self.websocket is not None:
            self._outbox.put_nowait(rtc.SignalResponse(**message).SerializeToString())

    @staticmethod
    async def _write(websocket: web.WebSocketResponse, outbox: asyncio.Queue[bytes | None]) -> None:
        with contextlib.suppress(ConnectionError):
            while (message := await outbox.get()) is not None:
                await websocket.send_bytes(message)

    # -- signalling in

    async def on_request(self, request: rtc.SignalRequest) -> None:
        self.heard = time.monotonic()
        match request.WhichOneof("message"):
            case "offer":
                self.on_offer(request.offer)
            case "add_track":
                self.on_add_track(request.add_track)
            case "mute":
                self._on_mute(request.mute)
            case "subscription":
                self._on_subscription(request.subscription)
            case "update_metadata":
                self._on_update_metadata(request.update_metadata)
            case "ping":
                self.signal(pong=int(time.time() * 1000))
            case "ping_req":
                pong = rtc.Pong(last_ping_timestamp=request.ping_req.timestamp, timestamp=int(time.time() * 1000))
                self.signal(pong_resp=pong)
            case "leave":
                await self.room.remove(self, models.CLIENT_INITIATED)

    def on_add_track(self, request: rtc.AddTrackRequest) -> None:
        if not self.permission.can_publish or self.ignores_new_tracks:
            # The real server says nothing; the SDK's publish fails by its own time limit of 10 s.
            logger.info("%s may not publish", mask(self.identity))
            return
        info = models.TrackInfo(
            sid=new_sid("TR_"),
            type=request.type,
            name=request.name,
            source=request.source,
            muted=request.muted,
            mime_type="audio/opus",
            stream=request.stream or "camera",
            disable_dtx=request.disable_dtx,
            stereo=request.stereo,
            disable_red=True,
            encryption=request.encryption,
        )
        self.tracks[info.sid] = Track(self, info, request.cid)
        self.signal(track_published=rtc.TrackPublishedResponse(cid=request.cid, track=info))

    def _on_mute(self, request: rtc.MuteTrackRequest) -> None:
        if track := self.tracks.get(request.sid):
            track.info.muted = request.muted
            self.room.update(self)

    def _on_subscription(self, request: rtc.UpdateSubscription) -> None:
        sids = [*request.track_sids, *(sid for group in request.participant_tracks for sid in group.track_sids)]
        for sid in sids:
            if track := self.room.find_track(sid):
                self.room.set_subscribed(self, track, request.subscribe)

    def _on_update_metadata(self, request: rtc.UpdateParticipantMetadata) -> None:
        if self.permission.can_update_metadata:
            self.metadata, self.name = request.metadata or self.metadata, request.name or self.name
            # Before the response: the SDK's setter returns on the response.
            self.set_attributes(dict(request.attributes))
        # Without the grant the setter nevertheless says ok, and nothing changes.
        self.signal(request_response=rtc.RequestResponse(request_id=request.request_id))

    # -- offer and answer

    def on_offer(self, description: rtc.SessionDescription) -> None:
        offer = parse_offer(description.sdp)
        if not self._remote_ufrag:
            self._tasks.spawn(self._connect(offer.fingerprint))
        elif offer.ufrag != self._remote_ufrag:
            self.peer.restart_ice()
        self._remote_ufrag = offer.ufrag
        new, gone = self._match_publications(offer)
        carried = self._assign_sections(offer)
        self._answers += 1
        self.signal(
            answer=rtc.SessionDescription(
                type="answer",
                sdp=write_answer(offer, self._answers, self.peer, lambda section: self._role(section, carried)),
                id=description.id,
                mid_to_track_id={mid: subscription.track.sid for mid, subscription in carried.items()},
            )
        )
        self._closing_mids.clear()
        for subscription in carried.values():
            subscription.live = True
            subscription.track.mark_subscribed()
        for track in gone:
            self._by_ssrc = {ssrc: t for ssrc, t in self._by_ssrc.items() if t is not track}
            self.room.unpublish(track)
        for track in new:
            self.room.publish(track)
        if any(subscription.mid is None for subscription in self._subscriptions.values()):
            self._want_offer()

    def _match_publications(self, offer: Offer) -> tuple[list[Track], list[Track]]:
        """Tracks that this offer publishes, and those that it ends: unpublishing has no message of its own."""
        new, gone = [], []
        for section in offer.audio:
            track = next((t for t in self.tracks.values() if section.sends and t.cid == section.track_cid), None)
            known = section.mid in self._published
            old = self._published.get(section.mid)
            if not (known or section.sends):
                continue
            if old is not track:
                gone += [old] if old else []
                if track:
                    track.info.mid = section.mid
                    new.append(track)
            self._published[section.mid] = track
            if track:
                self._by_ssrc.update(dict.fromkeys(section.ssrcs, track))
        return new, gone

    def _assign_sections(self, offer: Offer) -> dict[str, Subscription]:
        """Gives waiting subscriptions a free section; returns all that have one, by mid."""
        mids = [s.mid for s in offer.audio if s.direction == "recvonly" and s.mid not in self._published]
        self._receiving_sections = max(self._receiving_sections, len(mids))
        taken = {subscription.mid for subscription in self._subscriptions.values()} | self._closing_mids
        free = [mid for mid in mids if mid not in taken]
        for subscription in self._subscriptions.values():
            if subscription.mid is None and free:
                subscription.mid = free.pop(0)
        return {s.mid: s for s in self._subscriptions.values() if s.mid is not None}

    def _role(self, section: MediaSection, carried: dict[str, Subscription]) -> Role:
        if track := self._published.get(section.mid):
            return Receive(dtx=not track.info.disable_dtx)
        if subscription := carried.get(section.mid):
            subscription.payload_type = int(section.opus_payload_type or 111)
            track = subscription.track
            return Send(subscription.ssrc, f"{track.owner.sid}|{track.sid}", track.sid)
        return None

    def _want_offer(self) -> None:
        if self._kick is None and self._remote_ufrag:
            self._kick = asyncio.get_running_loop().call_later(DEBOUNCE, self._ask_for_offer)

    def _ask_for_offer(self) -> None:
        """Empty while the client has free sections ("offer again"), else the number that is missing."""
        self._kick = None
        missing = max(0, len(self._subscriptions) + len(self._closing_mids) - self._receiving_sections)
        self._receiving_sections += missing
        self.signal(media_sections_requirement=rtc.MediaSectionsRequirement(num_audios=missing))

    # -- subscriptions

    def subscribe(self, track: Track) -> None:
        if track.sid in self._subscriptions or self.state == models.ParticipantInfo.DISCONNECTED:
            return
        track.sinks[self.identity] = self._subscriptions[track.sid] = Subscription(self.peer, track)
        self._want_offer()

    def unsubscribe(self, track: Track) -> None:
        track.sinks.pop(self.identity, None)
        if subscription := self._subscriptions.pop(track.sid, None):
            subscription.live = False
            if subscription.mid is not None:
                self._closing_mids.add(subscription.mid)
                self._want_offer()

    def on_track_subscribed(self, track: Track) -> None:
        self.signal(track_subscribed=rtc.TrackSubscribed(track_sid=track.sid))

    def on_muted_by_server(self, track: Track) -> None:
        self.signal(mute=rtc.MuteTrackRequest(sid=track.sid, muted=True))

    def on_unpublished_by_server(self, track: Track) -> None:
        self.signal(track_unpublished=rtc.TrackUnpublishedResponse(track_sid=track.sid))

    # -- transport

    async def _connect(self, fingerprint: str) -> None:
        if await self.peer.connect(fingerprint):
            await self._send_reports()
        else:
            logger.warning("%s: the media connection failed", mask(self.identity))

    async def _send_reports(self) -> None:
        """Receiver reports to the publisher: its statistics and round-trip time come from them."""
        reporter = secrets.randbits(32)
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            for ssrc in self._by_ssrc:
                if reception := self._receptions.get(ssrc):
                    self.peer.send_rtcp(reception.report(ssrc, reporter))

    @property
    def media_silent_for(self) -> float:
        """Seconds since the last connectivity check of the media."""
        return time.monotonic() - self.peer.seen

    @property
    def signal_silent_for(self) -> float:
        """Seconds since the last message came."""
        return time.monotonic() - self.heard

    def _on_rtp(self, packet: RtpPacket) -> None:
        track = self._by_ssrc.get(packet.ssrc)
        if track is None:
            return
        self._receptions.setdefault(packet.ssrc, Reception(packet.sequence)).count(packet.sequence)
        if packet.payload:
            track.forward(packet.marker, packet.sequence, packet.timestamp, packet.payload)

    def _on_rtcp(self, data: bytes) -> None:
        if len(data) < 28 or data[1] != SENDER_REPORT:
            return
        ssrc = struct.unpack_from("!I", data, 4)[0]
        if track := self._by_ssrc.get(ssrc):
            if reception := self._receptions.get(ssrc):
                reception.last_report = struct.unpack_from("!I", data, 10)[0]
                reception.last_report_at = time.monotonic()
            track.forward_sender_report(data[8:28])

    # -- data

    def _on_channel(self, channel: Any) -> None:
        self._channels[channel.label] = channel
        reliable = channel.label == "_reliable"
        if channel.label in ("_reliable", "_lossy"):
            channel.on("message", lambda message: self._on_message(message, reliable))
        if reliable:
            for raw in self._backlog:
                channel.send(raw)
            self._backlog = []
        if {"_reliable", "_lossy"} <= set(self._channels) and self.state == models.ParticipantInfo.JOINED:
            self.state = models.ParticipantInfo.ACTIVE
            self.room.announce(self)

    def _on_message(self, message: bytes | str, reliable: bool) -> None:
        if isinstance(message, bytes) and self.permission.can_publish_data:
            self.room.route_data(self, models.DataPacket.FromString(message), reliable)

    def receive_data(self, packet: models.DataPacket, reliable: bool) -> None:
        channel = self._channels.get("_reliable" if reliable else "_lossy")
        if channel is not None and channel.readyState == "open":
            channel.send(packet.SerializeToString())
        elif reliable and self.state == models.ParticipantInfo.JOINED:
            # connect() of the SDK returns before SCTP is open.
            self._backlog.append(packet.SerializeToString())

    # -- the end

    async def close(self, reason: models.DisconnectReason) -> None:
        self.signal(leave=rtc.LeaveRequest(reason=reason, action=rtc.LeaveRequest.DISCONNECT))
        if self._kick:
            self._kick.cancel()
        self._outbox.put_nowait(None)
        websocket, self.websocket = self.websocket, None
        self.room.tasks.spawn(self._end(websocket))

    async def _end(self, websocket: web.WebSocketResponse | None) -> None:
        try:
            await asyncio.sleep(0.1)  # the last message goes out before the connection does
            if websocket is not None:
                await websocket.close()
        finally:
            await self.dispose()

    async def dispose(self) -> None:
        """Ends the rest of the connection, without a goodbye; harmless when it has ended."""
        if self._kick:
            self._kick.cancel()
        await self._tasks.close()
        await self.peer.close()
        self.disposed = True

    @property
    def running_tasks(self) -> int:
        return len(self._tasks)
