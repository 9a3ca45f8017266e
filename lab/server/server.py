"""The lab's LiveKit server as one thing: HTTP, websockets and media on one port number of the loopback interface."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import WSMsgType, web
from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from lab.naming import mask
from lab.server.room import Room
from lab.server.room_service import RoomService
from lab.server.rooms import RoomRegistry
from lab.server.settings import ServerSettings
from lab.server.tokens import Claims, InvalidToken, read_token, refreshed_token
from lab.server.transport import UdpMultiplexer
from lab.server.twirp import TwirpRouter
from lab.server.webrtc import WebRtcParticipant
from lab.server.workers import AgentDispatchService, Dispatcher
from lab.tasks import TaskSet

logger = logging.getLogger("lab.server")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SERVER_INFO = models.ServerInfo(version="1.13.5", protocol=16, region="lab", node_id="ND_lab", agent_protocol=1)
MESSAGE_LIMIT = 4 << 20
"""Bytes of one websocket message."""
KINDS = {"agent": models.ParticipantInfo.AGENT, "sip": models.ParticipantInfo.SIP}
PORT_ATTEMPTS = 10
"""Times that the system chooses a port before start() gives up."""
CLOSE_LIMIT = 1.0
"""Seconds that a peer has to answer the closing of its websocket."""
PING_INTERVAL, PING_TIMEOUT = 5, 15
"""Seconds, as the real server announces to its clients."""


class LabServer:
    """Start it, point any LiveKit client or worker at `url`, stop it: nothing is left."""

    def __init__(self, settings: ServerSettings | None = None) -> None:
        self.settings = settings or ServerSettings()
        if not ipaddress.ip_address(self.settings.host).is_loopback:
            raise ValueError(f"the lab binds loopback addresses only, not {self.settings.host}")
        self.tasks = TaskSet()
        self.rooms = RoomRegistry(self.settings, self.tasks)
        self.dispatcher = Dispatcher(self.settings, SERVER_INFO)
        self.rooms.on_closed = self.dispatcher.on_room_closed
        self.twirp = TwirpRouter(self._claims)
        self.twirp.add_service(
            "RoomService", RoomService(self.rooms, self.dispatcher, self.settings.edition, self.tasks)
        )
        dispatches = AgentDispatchService(self.rooms, self.dispatcher, self.settings.pace, self.tasks)
        self.twirp.add_service("AgentDispatchService", dispatches)
        self._multiplexer = UdpMultiplexer()
        self._runner: web.AppRunner | None = None
        self._websockets: set[web.WebSocketResponse] = set()
        self._clients: set[WebRtcParticipant] = set()
        """Includes clients that have left their room but whose connection is still being closed."""
        self._away_until = 0.0
        self.refuses: Callable[[Claims], bool] = lambda claims: False
        """For tests: true for a client that is turned away."""
        self.on_join: Callable[[WebRtcParticipant], None] = lambda participant: None
        """For tests: called with each newcomer before any of its media passes."""
        self._stopping = False

    @property
    def port(self) -> int:
        return self._multiplexer.port

    @property
    def url(self) -> str:
        return f"ws://{self.settings.host}:{self.port}"

    @property
    def http_url(self) -> str:
        return f"http://{self.settings.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Raises OSError when the port is in use."""
        app = web.Application(client_max_size=MESSAGE_LIMIT, middlewares=[self._refuse_while_stopping])
        app.router.add_get("/", self._health)
        app.router.add_get("/rtc/v1", self._serve_client)
        app.router.add_get("/rtc/v1/validate", self._validate)
        app.router.add_get("/agent", self._serve_worker)
        app.router.add_post("/twirp/livekit.{service}/{method}", self.twirp.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await self._bind(self._runner)
        except OSError:
            await self._runner.cleanup()
            raise
        self.dispatcher.url = self.url
        self.tasks.spawn(self._watch_presence())

    async def _bind(self, runner: web.AppRunner) -> None:
        """Opens TCP and UDP on one number. Where the system chooses, its choice for TCP may be taken for UDP."""
        attempts = 1 if self.settings.port else PORT_ATTEMPTS
        for attempt in range(1, attempts + 1):
            site = web.TCPSite(runner, self.settings.host, self.settings.port)
            await site.start()
            try:
                return await self._multiplexer.open(self.settings.host, runner.addresses[0][1])
            except OSError:
                if attempt == attempts:
                    raise
                await site.stop()

    async def stop(self) -> None:
        """Says goodbye to everybody and ends everything that start() and the clients started."""
        self._stopping = True
        try:
            await self._close_rooms()
            await asyncio.sleep(0.15)  # the goodbyes go out
            await asyncio.gather(*(websocket.close() for websocket in self._websockets), return_exceptions=True)
        finally:
            if self._runner:
                await self._runner.cleanup()
            await self._close_rooms()  # rooms made by requests that were under way
            await self.tasks.close()
            for participant in self._clients:
                await participant.dispose()
            self._clients = {participant for participant in self._clients if participant.running_tasks}
            self._multiplexer.close()

    async def _close_rooms(self) -> None:
        for room in self.rooms.all():
            await room.close(models.SERVER_SHUTDOWN)

    def leftovers(self) -> dict[str, int]:
        """The number of each kind still alive; empty after stop()."""
        counts = {
            "rooms": len(self.rooms.all()),
            "tasks": len(self.tasks),
            "clients": len(self._clients),
            "client tasks": sum(participant.running_tasks for participant in self._clients),
            "websockets": len(self._websockets),
            "workers": len(self.dispatcher.workers),
            "jobs": len(self.dispatcher.jobs),
            "addresses": len(self._multiplexer.by_address),
            "sockets": int(self._multiplexer.is_open),
        }
        return {kind: count for kind, count in counts.items() if count}

    @web.middleware
    async def _refuse_while_stopping(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._stopping:
            raise web.HTTPServiceUnavailable(text="the server is stopping")
        return await handler(request)

    # -- faults, for tests

    async def cut_signalling(self, seconds: float, identity: str | None = None) -> None:
        """Drops the clients' websockets (all, or one participant's) and lets no client back in for `seconds`."""
        self._away_until = asyncio.get_running_loop().time() + seconds
        for room in self.rooms.all():
            for participant in list(room.participants.values()):
                wanted = identity is None or participant.identity == identity
                if wanted and isinstance(participant, WebRtcParticipant) and participant.websocket is not None:
                    await participant.websocket.close(code=1011)

    # -- tokens

    def _claims(self, request: web.Request) -> Claims:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = request.query.get("access_token") or bearer
        return read_token(token, self.settings.api_key, self.settings.api_secret)

    def _join_claims(self, request: web.Request) -> Claims:
        try:
            claims = self._claims(request)
        except InvalidToken as error:
            raise web.HTTPUnauthorized(text=str(error)) from None
        if not claims.may_join():
            raise web.HTTPUnauthorized(text="no permissions to access the room")
        return claims

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _validate(self, request: web.Request) -> web.Response:
        self._join_claims(request)
        return web.Response(text="success")

    # -- workers

    async def _serve_worker(self, request: web.Request) -> web.WebSocketResponse:
        try:
            allowed = self._claims(request).video.get("agent")
        except InvalidToken as error:
            raise web.HTTPUnauthorized(text=str(error)) from None
        if not allowed:
            raise web.HTTPUnauthorized(text="permissions denied")
        websocket = await self._accept(request)
        try:
            await self.dispatcher.serve(websocket)
        finally:
            self._websockets.discard(websocket)
        return websocket

    async def _accept(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(max_msg_size=MESSAGE_LIMIT, timeout=CLOSE_LIMIT)
        await websocket.prepare(request)
        self._websockets.add(websocket)
        return websocket

    # -- clients

    async def _serve_client(self, request: web.Request) -> web.WebSocketResponse:
        if asyncio.get_running_loop().time() < self._away_until:
            raise web.HTTPServiceUnavailable
        claims = self._join_claims(request)
        if self.refuses(claims):
            raise web.HTTPServiceUnavailable
        join = read_join_request(request.query.get("join_request", ""))
        websocket = await self._accept(request)
        try:
            enter = self._resume if join.reconnect else self._join
            participant = await enter(claims, join, websocket)
            if participant:
                await self._read(participant, websocket)
        finally:
            self._websockets.discard(websocket)
        return websocket

    async def _read(self, participant: WebRtcParticipant, websocket: web.WebSocketResponse) -> None:
        try:
            async for frame in websocket:
                if frame.type == WSMsgType.BINARY:
                    await participant.on_request(rtc.SignalRequest.FromString(frame.data))
        finally:
            if participant.websocket is websocket:
                participant.attach(None)  # it may come back and resume

    def _open_room(self, claims: Claims) -> Room:
        """The room of a token. Its configuration counts only when this call makes the room."""
        if room := self.rooms.get(claims.room):
            return room
        config = claims.room_config
        room = self.rooms.get_or_create(
            claims.room,
            empty_timeout=config.get("emptyTimeout") or None,
            departure_timeout=config.get("departureTimeout") or None,
            metadata=config.get("metadata", ""),
        )
        for agent in config.get("agents", []):
            self.tasks.spawn(self.dispatcher.dispatch(room, agent.get("agentName", ""), agent.get("metadata", "")))
        return room

    async def _join(
        self, claims: Claims, join: rtc.JoinRequest, websocket: web.WebSocketResponse
    ) -> WebRtcParticipant | None:
        if self._stopping:
            return None
        room = self._open_room(claims)
        if present := room.participants.get(claims.identity):
            await room.remove(present, models.DUPLICATE_IDENTITY)
        participant = WebRtcParticipant(
            room,
            self._multiplexer,
            claims.identity,
            name=claims.name,
            kind=KINDS.get(claims.kind, models.ParticipantInfo.STANDARD),
            attributes={**claims.attributes, **join.participant_attributes},
            metadata=claims.metadata or join.metadata,
            permission=permission_of(claims),
        )
        self._clients.add(participant)
        self.on_join(participant)
        participant.auto_subscribe = join.connection_settings.auto_subscribe
        participant.client_protocol = join.client_info.client_protocol
        participant.attach(websocket)
        logger.info("%s joined %s", mask(claims.identity), mask(room.name))
        participant.signal(
            join=rtc.JoinResponse(
                room=room.info(),
                participant=participant.info(),
                other_participants=[other.info() for other in room.visible_to(participant)],
                server_version=SERVER_INFO.version,
                server_info=SERVER_INFO,
                ping_interval=PING_INTERVAL,
                ping_timeout=PING_TIMEOUT,
                ice_servers=self._ice_servers(claims.identity),
                fast_publish=True,
                enabled_publish_codecs=[models.Codec(mime="audio/opus")],
                sif_trailer=secrets.token_bytes(8),
            )
        )
        participant.signal(refresh_token=refreshed_token(claims, self.settings.api_key, self.settings.api_secret))
        room.add(participant)
        for wanted in join.add_track_requests:
            participant.on_add_track(wanted)
        if join.HasField("publisher_offer"):
            participant.on_offer(join.publisher_offer)
        return participant

    async def _resume(
        self, claims: Claims, join: rtc.JoinRequest, websocket: web.WebSocketResponse
    ) -> WebRtcParticipant | None:
        """Binds the websocket to the participant that is still here; asks a client whose participant has left to rejoin."""
        room = self.rooms.get(claims.room)
        participant = room.participants.get(claims.identity) if room else None
        if room is None or not isinstance(participant, WebRtcParticipant) or participant.sid != join.participant_sid:
            leave = rtc.LeaveRequest(reason=models.STATE_MISMATCH, action=rtc.LeaveRequest.RECONNECT)
            await websocket.send_bytes(rtc.SignalResponse(leave=leave).SerializeToString())
            await websocket.close()
            return None
        old = participant.websocket
        participant.attach(websocket)
        if old is not None:
            self.tasks.spawn(old.close())
        participant.signal(
            reconnect=rtc.ReconnectResponse(server_info=SERVER_INFO, ice_servers=self._ice_servers(claims.identity))
        )
        everybody = [participant.info(), *(other.info() for other in room.visible_to(participant))]
        participant.signal(update=rtc.ParticipantUpdate(participants=everybody))
        participant.signal(room_update=rtc.RoomUpdate(room=room.info()))
        participant.signal(refresh_token=refreshed_token(claims, self.settings.api_key, self.settings.api_secret))
        return participant

    def _ice_servers(self, identity: str) -> list[rtc.ICEServer]:
        return [
            rtc.ICEServer(urls=server.urls, username=server.username or identity, credential=server.credential)
            for server in self.settings.ice_servers
        ]

    async def _watch_presence(self) -> None:
        """Removes clients that vanished without a goodbye."""
        while True:
            await asyncio.sleep(min(1.0, self.settings.vanish_timeout / 4))
            self._clients = {participant for participant in self._clients if not participant.disposed}
            for room in self.rooms.all():
                for participant in list(room.participants.values()):
                    if isinstance(participant, WebRtcParticipant) and self._vanished(participant):
                        await room.remove(participant, models.CONNECTION_TIMEOUT)

    def _vanished(self, participant: WebRtcParticipant) -> bool:
        limit = self.settings.vanish_timeout
        away = participant.websocket is None and participant.signal_silent_for > limit
        return away or participant.media_silent_for > limit


def permission_of(claims: Claims) -> models.ParticipantPermission:
    """Publishing and subscribing are allowed unless the token says no; changing one's own metadata only if it says yes."""
    video = claims.video
    return models.ParticipantPermission(
        can_subscribe=video.get("canSubscribe", True),
        can_publish=video.get("canPublish", True),
        can_publish_data=video.get("canPublishData", video.get("canPublish", True)),
        can_update_metadata=bool(video.get("canUpdateOwnMetadata")),
        hidden=bool(video.get("hidden")),
    )


def read_join_request(encoded: str) -> rtc.JoinRequest:
    """The `join_request` parameter: base64url of a wrapper around the JoinRequest, which may be gzipped."""
    try:
        wrapped = rtc.WrappedJoinRequest.FromString(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        packed = wrapped.compression == rtc.WrappedJoinRequest.GZIP
        return rtc.JoinRequest.FromString(gzip.decompress(wrapped.join_request) if packed else wrapped.join_request)
    except (DecodeError, ValueError, OSError) as error:
        raise web.HTTPBadRequest(text=f"join_request cannot be read: {error}") from None
