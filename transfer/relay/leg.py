"""One room's side of the packet engine: a LiveKit client that hears some participants and publishes a track for each
participant of the other room."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCIceServer
from aiortc.sdp import candidate_from_sdp
from livekit.protocol import models, rtc

from transfer.relay.aiortc_hooks import MediaTransport, is_turn, make_ice
from transfer.relay.closing import to_the_end
from transfer.relay.errors import RelayError, RelayFailure
from transfer.relay.rtp import Incoming, Outgoing, RtpPacket, report, sender_reports
from transfer.relay.sdp import PAYLOAD_TYPE, read_answer, write_offer
from transfer.server_api import has_hung_up

logger = logging.getLogger("transfer.relay")

REPORT_INTERVAL = 2.0
"""Seconds between two RTCP reports."""
PING_INTERVAL, PING_TIMEOUT = 5.0, 15.0
"""Seconds, where the server names none."""
SIGNAL_LIMIT = 3.0
"""Seconds until a signalling connection that is not answered is given up."""
PROTOCOL = 16
"""Version of the signalling, as livekit-client sends it."""
GOODBYE_LIMIT = 0.5
"""Seconds that each step of leaving may take."""

Closed = str
LOST: tuple[Closed, ...] = ("signalling lost", "media lost", "no answer to pings", "told to reconnect")
"""Reasons for closing after which a leg may join again."""
ROOM_GONE: Closed = "the room is gone"
LEFT: Closed = "left"


ROOM_ENDS = (models.ROOM_DELETED, models.ROOM_CLOSED)
NO_LEAVE = (models.DUPLICATE_IDENTITY, *ROOM_ENDS)
"""A participant who joins again makes their own old connection leave; and a room that ends takes us out of it next."""


@dataclass
class LegEvents:
    """Reports of a leg; the first argument is the identity that it is about, where there is one."""

    on_packet: Callable[[str, RtpPacket], Coroutine[Any, Any, None]]
    on_keys: Callable[[models.SipDTMF], None]
    """Keypad tones of the first of those that are heard."""
    on_mute: Callable[[str, bool], None]
    on_left: Callable[[], None]
    """The first of those that are heard has left the room."""
    on_closed: Callable[[Closed], None]
    """With the reason, once."""


@dataclass
class _HeardTrack:
    """One audio track of somebody who is heard."""

    identity: str
    muted: bool = False
    streams: set[int] = field(default_factory=set)


@dataclass
class _SentTrack:
    """The track that we publish for one participant of the other room."""

    id: str
    outgoing: Outgoing
    sid: str = ""
    muted: bool = False


class Leg:
    """Joins once; one that has lost its server is replaced by another, with another identity."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        hears: Sequence[str],
        says: Sequence[str],
        events: LegEvents,
        ice_servers: Sequence[RTCIceServer] = (),
    ) -> None:
        """`hears`: identities in this room, the first is the one that the relay is about. `says`: those of the other room,
        each of which gets a track here."""
        self._url, self._token, self._hears, self._events = url, token, tuple(hears), events
        self.hearing = asyncio.Event()
        """Set when the audio of the first of those that are heard can arrive."""
        self.turn_servers: list[RTCIceServer] = []
        """Those that the server named."""
        self.incoming: dict[int, Incoming] = {}
        """By SSRC."""
        self.closed_because: Closed | None = None
        self.encrypted = False
        """True when a heard participant sends end-to-end encrypted audio: it is not passed on."""
        self._sent = {
            identity: _SentTrack(f"relay-{secrets.token_hex(4)}", Outgoing(PAYLOAD_TYPE)) for identity in says
        }
        self._heard: dict[str, _HeardTrack] = {}
        self._identity_of: dict[int, str] = {}
        self._speaking: dict[str, int] = {}
        self._sids: dict[str, str] = {}
        """Of the participants that are here, by identity."""
        self._ice = make_ice(ice_servers)
        self._media = MediaTransport(self._ice, self._on_rtp, self._on_rtcp)
        self._connected, self._over = asyncio.Event(), asyncio.Event()
        self._receiving, self._version = len(self._hears), 0
        self._offered = self._offer_again = self._started = False
        self._pong_at, self._round_trip = 0.0, 0
        self._channel: RTCDataChannel | None = None
        self._http: aiohttp.ClientSession | None = None
        self._opening: asyncio.Task[aiohttp.ClientWebSocketResponse] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- joining and leaving

    async def join(self) -> None:
        """Returns when audio can pass; otherwise RelayError, or the TimeoutError of a waiter's limit."""
        self._media.dtls.on("statechange", self._on_dtls_state)
        self._media.sctp.on("datachannel", self._listen)
        _, websocket = await asyncio.gather(self._ice.iceGatherer.gather(), self._open())
        self._spawn(self._read(websocket))
        connected, over = asyncio.create_task(self._connected.wait()), asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({connected, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connected.cancel()
            over.cancel()
        if not self._connected.is_set():
            raise RelayError(RelayFailure.NO_MEDIA, self.closed_because or "")
        self._spawn(self._report())

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        request = rtc.JoinRequest(
            client_info=models.ClientInfo(sdk=models.ClientInfo.PYTHON, version="1", protocol=PROTOCOL),
            connection_settings=rtc.ConnectionSettings(auto_subscribe=False),
        )
        wrapped = rtc.WrappedJoinRequest(join_request=request.SerializeToString()).SerializeToString()
        address = self._url.rstrip("/").replace("http", "ws", 1) + "/rtc/v1"
        self._http = aiohttp.ClientSession()
        connecting = self._http.ws_connect(
            address,
            params={"join_request": base64.urlsafe_b64encode(wrapped).decode()},
            headers={"Authorization": f"Bearer {self._token}"},
            max_msg_size=0,
        )
        self._opening = asyncio.ensure_future(connecting)
        try:
            async with asyncio.timeout(SIGNAL_LIMIT):
                return await asyncio.shield(self._opening)
        except aiohttp.WSServerHandshakeError as error:
            failure = RelayFailure.NOT_ALLOWED if error.status in (401, 403) else RelayFailure.UNREACHABLE
            raise RelayError(failure, f"HTTP {error.status}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RelayError(RelayFailure.UNREACHABLE, type(error).__name__) from error

    async def close(self) -> None:
        """Leaves; harmless at any moment."""
        await to_the_end(self._close())

    async def _close(self) -> None:
        self._end(LEFT)
        if self._opening is not None:
            # A server that is letting us in would keep us for a while, and a deleted room with us: it has to hear the goodbye.
            await asyncio.wait({self._opening}, timeout=GOODBYE_LIMIT)
            self._opening.cancel()
        with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(GOODBYE_LIMIT):
                await self._signal(leave=rtc.LeaveRequest(reason=models.CLIENT_INITIATED))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for step in (self._media.close, self._ice.stop):
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(GOODBYE_LIMIT):
                    await step()
        if self._websocket is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_LIMIT):
                    await self._websocket.close()
        if self._http is not None:
            await self._http.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            lost = isinstance(error, ConnectionError | aiohttp.ClientError)
            if not lost:
                logger.error("a relay leg broke", exc_info=error)
            self._end("media lost" if lost else f"failed: {type(error).__name__}")

    def _end(self, reason: Closed) -> None:
        if self.closed_because is None:
            self.closed_because = reason
            self._over.set()
            self._events.on_closed(reason)

    def _on_dtls_state(self) -> None:
        if self._media.dtls.state in ("closed", "failed"):
            self._end("media lost")

    # -- signalling

    @property
    def _websocket(self) -> aiohttp.ClientWebSocketResponse | None:
        """None as long as the server has not let us in."""
        opening = self._opening
        if opening is None or not opening.done() or opening.cancelled() or opening.exception():
            return None
        return opening.result()

    async def _signal(self, **message: Any) -> None:
        if self._websocket is not None and not self._websocket.closed:
            await self._websocket.send_bytes(rtc.SignalRequest(**message).SerializeToString())

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in websocket:
            if frame.type == aiohttp.WSMsgType.BINARY:
                await self._on_signal(rtc.SignalResponse.FromString(frame.data))
        self._end("signalling lost")

    async def _on_signal(self, response: rtc.SignalResponse) -> None:
        match response.WhichOneof("message"):
            case "join":
                await self._on_join(response.join)
            case "update":
                for participant in response.update.participants:
                    await self._on_participant(participant)
            case "answer":
                await self._on_answer(response.answer)
            case "media_sections_requirement":
                self._receiving += response.media_sections_requirement.num_audios
                await self._offer()
            case "trickle":
                await self._on_candidate(response.trickle)
            case "track_published":
                await self._on_track_published(response.track_published)
            case "pong_resp":
                self._pong_at = time.monotonic()
                self._round_trip = int(time.time() * 1000) - response.pong_resp.last_ping_timestamp
            case "leave":
                self._on_leave(response.leave)

    async def _on_join(self, join: rtc.JoinResponse) -> None:
        self.turn_servers = [
            RTCIceServer(urls=urls, username=server.username, credential=server.credential)
            for server in join.ice_servers
            if (urls := [url for url in server.urls if is_turn(url)])
        ]
        self._pong_at = time.monotonic()
        self._spawn(self._ping(join.ping_interval or PING_INTERVAL, join.ping_timeout or PING_TIMEOUT))
        for sent in self._sent.values():
            track = rtc.AddTrackRequest(
                cid=sent.id, name="relay", type=models.AUDIO, source=models.MICROPHONE, disable_red=True
            )
            await self._signal(add_track=track)
        await self._offer()
        for participant in join.other_participants:
            await self._on_participant(participant)

    def _on_leave(self, leave: rtc.LeaveRequest) -> None:
        if leave.action != rtc.LeaveRequest.DISCONNECT:
            self._end("told to reconnect")
        elif leave.reason in ROOM_ENDS:
            self._end(ROOM_GONE)
        else:
            self._end("told to reconnect" if leave.reason == models.SERVER_SHUTDOWN else "told to leave")

    async def _ping(self, interval: float, limit: float) -> None:
        while True:
            ping = rtc.Ping(timestamp=int(time.time() * 1000), rtt=self._round_trip)
            await self._signal(ping_req=ping)
            await asyncio.sleep(interval)
            if time.monotonic() - self._pong_at > limit:
                self._end("no answer to pings")

    # -- who is here

    @property
    def is_present(self) -> bool:
        """True while the participant that the relay is about is in the room."""
        return self._hears[0] in self._sids

    @property
    def muted(self) -> dict[str, bool]:
        """Whether the server shows each heard participant as muted."""
        return {identity: any(t.muted for t in self._tracks_of(identity)) for identity in self._hears}

    def _tracks_of(self, identity: str) -> list[_HeardTrack]:
        return [track for track in self._heard.values() if track.identity == identity]

    async def _on_participant(self, participant: models.ParticipantInfo) -> None:
        identity = participant.identity
        if identity not in self._hears:
            return
        if participant.state == models.ParticipantInfo.DISCONNECTED or has_hung_up(participant):
            if self._sids.get(identity) == participant.sid:
                self._on_gone(identity, stays=participant.disconnect_reason in NO_LEAVE)
            return
        self._sids[identity] = participant.sid
        tracks = {track.sid: track for track in participant.tracks if self._is_heard(identity, track)}
        for sid in [sid for sid, heard in self._heard.items() if heard.identity == identity and sid not in tracks]:
            self._forget(sid)
        for sid, track in tracks.items():
            if sid not in self._heard:
                self._heard[sid] = _HeardTrack(identity)
                if track.encryption == models.Encryption.NONE:
                    await self._signal(subscription=rtc.UpdateSubscription(track_sids=[sid], subscribe=True))
                else:
                    self._on_encrypted()
            if self._heard[sid].muted != track.muted:
                self._heard[sid].muted = track.muted
                self._events.on_mute(identity, track.muted)

    def _on_encrypted(self) -> None:
        """Its packets would be noise in the other room: they are not asked for."""
        if not self.encrypted:
            logger.warning("a track is end-to-end encrypted: it cannot be passed on as it is")
        self.encrypted = True
        self.hearing.set()  # there is nothing to wait for

    def _is_heard(self, identity: str, track: models.TrackInfo) -> bool:
        """All audio of the participant that the relay is about; of others only speech, not played audio."""
        speaks = identity == self._hears[0] or track.source == models.MICROPHONE
        return track.type == models.AUDIO and speaks

    def _on_gone(self, identity: str, *, stays: bool) -> None:
        del self._sids[identity]
        for sid in [sid for sid, heard in self._heard.items() if heard.identity == identity]:
            self._forget(sid)
        if identity == self._hears[0] and not stays:
            self._events.on_left()

    def _forget(self, sid: str) -> None:
        for ssrc in self._heard.pop(sid).streams:
            self.incoming.pop(ssrc, None)
            self._identity_of.pop(ssrc, None)

    # -- offer and answer: we always offer, one offer at a time

    async def _offer(self) -> None:
        if self._offered:
            self._offer_again = True
            return
        self._offered = True
        self._version += 1
        gatherer = self._ice.iceGatherer
        sdp = write_offer(
            version=self._version,
            ice=gatherer.getLocalParameters(),
            fingerprint=self._media.fingerprint,
            candidates=gatherer.getLocalCandidates(),
            sending=[(sent.id, sent.outgoing.ssrc) for sent in self._sent.values()],
            receiving=self._receiving,
        )
        await self._signal(offer=rtc.SessionDescription(type="offer", sdp=sdp, id=self._version))

    async def _on_answer(self, description: rtc.SessionDescription) -> None:
        answer = read_answer(description.sdp, dict(description.mid_to_track_id))
        for ssrc, sid in answer.tracks.items():
            if (heard := self._heard.get(sid)) and ssrc not in self.incoming:
                heard.streams.add(ssrc)
                self.incoming[ssrc], self._identity_of[ssrc] = Incoming(ssrc), heard.identity
                if heard.identity == self._hears[0]:
                    self.hearing.set()
        self._offered = False
        if not self._started:
            self._started = True
            for candidate in answer.candidates:
                await self._ice.addRemoteCandidate(candidate)
            self._spawn(self._connect(answer.ice, answer.dtls))
        if self._offer_again:
            self._offer_again = False
            await self._offer()

    async def _on_candidate(self, trickle: rtc.TrickleRequest) -> None:
        candidate = json.loads(trickle.candidateInit).get("candidate", "")
        if " udp " in candidate.lower():
            await self._ice.addRemoteCandidate(candidate_from_sdp(candidate.split(":", 1)[1]))

    async def _connect(self, ice: Any, dtls: Any) -> None:
        await self._ice.start(ice)
        if not await self._media.connect(dtls):
            self._end("media lost")
            return
        # The server takes a participant for active, and sends it data, once both channels are open.
        self._channel = RTCDataChannel(self._media.sctp, RTCDataChannelParameters(label="_reliable"))
        lossy = RTCDataChannelParameters(label="_lossy", ordered=False, maxRetransmits=0)
        RTCDataChannel(self._media.sctp, lossy)
        self._listen(self._channel)
        self._connected.set()

    # -- keys

    def _listen(self, channel: RTCDataChannel) -> None:
        channel.on("message", self._on_data)

    def _on_data(self, message: bytes | str) -> None:
        if not isinstance(message, bytes):
            return
        packet = models.DataPacket.FromString(message)
        if packet.WhichOneof("value") == "sip_dtmf" and packet.participant_identity == self._hears[0]:
            self._events.on_keys(packet.sip_dtmf)

    def send_keys(self, keys: models.SipDTMF) -> None:
        packet = models.DataPacket(kind=models.DataPacket.RELIABLE, sip_dtmf=keys)
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(packet.SerializeToString())

    # -- audio

    async def _on_rtp(self, data: bytes) -> None:
        packet = RtpPacket.parse(data)
        stream = self.incoming.get(packet.ssrc) if packet else None
        if packet is None or stream is None:
            return
        stream.count(packet, time.monotonic())
        identity = self._identity_of[packet.ssrc]
        if self._speaking.get(identity) not in self.incoming:
            self._speaking[identity] = packet.ssrc  # one track of each at a time: mixing two would need a decoder
        if packet.ssrc == self._speaking[identity] and packet.payload:
            await self._events.on_packet(identity, packet)

    async def send(self, identity: str, packet: RtpPacket) -> None:
        """Passes on a packet of that participant of the other room; while this leg is not connected it is lost."""
        if self._media.is_connected:
            with contextlib.suppress(ConnectionError):  # it would end the other leg, in whose handler we are
                await self._media.send(self._sent[identity].outgoing.restamp(packet, time.monotonic()))

    async def _on_track_published(self, published: rtc.TrackPublishedResponse) -> None:
        for identity, sent in self._sent.items():
            if sent.id == published.cid:
                sent.sid = published.track.sid
                if sent.muted:
                    await self.mute(identity, True)

    async def mute(self, identity: str, muted: bool) -> None:
        """Shows the track of that participant as their own is shown in the other room."""
        sent = self._sent[identity]
        sent.muted = muted
        if sent.sid:
            await self._signal(mute=rtc.MuteTrackRequest(sid=sent.sid, muted=muted))

    async def _on_rtcp(self, data: bytes) -> None:
        for ssrc, packet in sender_reports(data):
            if stream := self.incoming.get(ssrc):
                stream.on_sender_report(packet, time.monotonic())

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            now, heard = time.monotonic(), list(self.incoming.values())
            if not self._media.is_connected:
                continue
            for sent in self._sent.values():
                await self._media.send(report(sent.outgoing, heard, now))
                heard = []
