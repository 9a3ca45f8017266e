"""Twilio as far as a warm transfer sees it: the Calls API, Media Streams, and LiveKit's connector at their other end.

A call that is ordered by HTTP is dialled over SIP to one of the lab's telephones. Once it is picked up, Twilio opens the
websocket that the call's TwiML names and sends the phone's sound; the connector puts a participant with that voice into the room.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
import numpy as np
from aiohttp import BasicAuth, WSMsgType, web
from livekit.protocol import connector_twilio as protocol
from livekit.protocol import models

from lab.naming import new_sid
from lab.server import LabServer
from lab.server.tokens import Claims
from lab.server.twirp import require
from lab.sip import g711
from lab.sip.endpoint import SipEndpoint
from lab.sip.gateway import SipParticipant
from lab.sip.leg import Leg

ACCOUNT_SID, AUTH_TOKEN = "AC" + "0" * 32, "lab-twilio-token"
NUMBER = "+12025550190"
"""The account's own; any other `From` needs a CallToken."""
RINGING_LIMIT = 60.0
"""Seconds, Twilio's default."""
STATUS_OF = {486: "busy", 600: "busy", 480: "no-answer", 408: "no-answer", 603: "busy"}
"""A call that is refused in any other way is `failed`."""
CODES = {"unknown": 20404, "not_cancelable": 21220, "from_not_allowed": 21210, "bad_to": 21211, "unauthorized": 20003}


class StreamLeg:
    """The connector's end of a media stream, with the interface that a SipParticipant wants of a telephone's leg."""

    def __init__(self, websocket: web.WebSocketResponse, stream: str) -> None:
        self.rtp = SimpleNamespace(on_audio=lambda samples, timestamp, sequence: None, on_key=lambda key: None)
        self.on_end: Callable[[str], None] = lambda why: None
        self.talking, self.ended = True, False
        self._websocket, self._stream = websocket, stream
        self._to_send: asyncio.Queue[str | None] = asyncio.Queue()

    def send_audio(self, samples: np.ndarray) -> None:
        media = {"payload": base64.b64encode(g711.encode(samples)).decode()}
        self._to_send.put_nowait(json.dumps({"event": "media", "streamSid": self._stream, "media": media}))

    async def send_all(self) -> None:
        while (text := await self._to_send.get()) is not None:
            await self._websocket.send_str(text)
        await self._websocket.close()

    async def press(self, keys: str) -> None:
        """A media stream carries no keys towards the phone."""

    def hang_up(self, why: str, status: int = 0) -> None:
        self.talking, self.ended = False, True
        self._to_send.put_nowait(None)


class ConnectorParticipant(SipParticipant):
    """A telephone that came through the connector: no SIP attributes; only its track shows its state."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.kind = models.ParticipantInfo.CONNECTOR


@dataclass
class Call:
    """One call of the account."""

    sid: str
    stream_url: str
    leg: Leg
    values: dict[str, str]
    """The parameters of its order."""
    status: str = "queued"
    work: asyncio.Task[None] | None = field(default=None, repr=False)


class Twilio:
    """`async with Twilio(server, exchange.address) as twilio:`, and TWILIO_API_BASE_URL=twilio.url for the worker."""

    def __init__(self, server: LabServer, phones_address: str) -> None:
        self.calls: dict[str, Call] = {}
        self._server = server
        self._phones_address = phones_address
        self._endpoint = SipEndpoint("127.0.0.1", 0, name="Twilio")
        self._expected: dict[str, protocol.ConnectTwilioCallRequest] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        server.twirp.add_service("Connector", self)

    @property
    def _address(self) -> str:
        assert self._runner
        return f"127.0.0.1:{self._runner.addresses[0][1]}"

    @property
    def url(self) -> str:
        return f"http://{self._address}/2010-04-01"

    @property
    def active(self) -> list[Call]:
        return [call for call in self.calls.values() if not call.leg.ended]

    async def __aenter__(self) -> Self:
        app = web.Application()
        account = "/2010-04-01/Accounts/{account}"
        app.router.add_post(account + "/Calls.json", self._create)
        app.router.add_post(account + "/Calls/{call}.json", self._update)
        app.router.add_get(account + "/Calls/{call}.json", self._show)
        app.router.add_get("/connector/{token}", self._connect)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        await self._endpoint.start()
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        for call in self.calls.values():
            call.leg.hang_up("the lab stops")
        await asyncio.gather(*(call.work for call in self.calls.values() if call.work), return_exceptions=True)
        await self._endpoint.stop()
        assert self._session and self._runner
        await self._session.close()
        await self._runner.cleanup()

    # -- LiveKit's connector

    async def ConnectTwilioCall(
        self, request: protocol.ConnectTwilioCallRequest, claims: Claims
    ) -> protocol.ConnectTwilioCallResponse:
        require(bool(claims.video.get("roomCreate")))
        token = secrets.token_urlsafe(12)
        self._expected[token] = request
        return protocol.ConnectTwilioCallResponse(connect_url=f"ws://{self._address}/connector/{token}")

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        wanted = self._expected.pop(request.match_info["token"], None)
        if wanted is None:
            raise web.HTTPNotFound
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        room = self._server.rooms.get_or_create(wanted.room_name)
        leg = StreamLeg(websocket, "")
        sending = asyncio.create_task(leg.send_all())
        participant: ConnectorParticipant | None = None
        try:
            async for frame in websocket:
                message = json.loads(frame.data) if frame.type == WSMsgType.TEXT else {}
                if message.get("event") == "start" and participant is None:
                    leg._stream = message["streamSid"]
                    participant = ConnectorParticipant(
                        room, leg, wanted.participant_identity, name=wanted.participant_name
                    )
                    participant.in_setup = False
                    participant.enter()
                    participant.connect_sound()
                elif message.get("event") == "media":
                    chunk = int(message["media"]["chunk"])
                    samples = g711.decode(base64.b64decode(message["media"]["payload"]))
                    leg.rtp.on_audio(samples, chunk * g711.FRAME, chunk & 0xFFFF)
                elif message.get("event") == "dtmf":
                    leg.rtp.on_key(message["dtmf"]["digit"])
                elif message.get("event") == "stop":
                    break
        finally:
            leg.on_end("the stream ended")
            leg.hang_up("the stream ended")
            await asyncio.gather(sending, return_exceptions=True)
        return websocket

    # -- Twilio's Calls API

    def _refuse(self, status: int, code: str, message: str) -> web.Response:
        return web.json_response({"code": CODES[code], "message": message, "status": status}, status=status)

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        try:
            given = BasicAuth.decode(request.headers.get("Authorization", ""))
        except ValueError:
            given = BasicAuth("")
        right = given.login == ACCOUNT_SID and hmac.compare_digest(given.password, AUTH_TOKEN)
        return None if right else self._refuse(401, "unauthorized", "Authenticate")

    async def _create(self, request: web.Request) -> web.Response:
        if refusal := self._unauthorized(request):
            return refusal
        values = {key: str(value) for key, value in (await request.post()).items()}
        if not values.get("To", "").startswith("+"):
            return self._refuse(400, "bad_to", "The 'To' number is not a valid phone number")
        if values.get("From") != NUMBER and not values.get("CallToken"):
            return self._refuse(400, "from_not_allowed", "The source phone number provided is not yet verified")
        stream = ElementTree.fromstring(values["Twiml"]).find("./Connect/Stream")
        assert stream is not None
        call = Call(new_sid("CA"), stream.get("url", ""), Leg(self._endpoint), values)
        self.calls[call.sid] = call
        call.work = asyncio.create_task(self._dial(call))
        return web.json_response(self._view(call), status=201)

    async def _show(self, request: web.Request) -> web.Response:
        call = self.calls.get(request.match_info["call"])
        if refusal := self._unauthorized(request):
            return refusal
        return web.json_response(self._view(call)) if call else self._refuse(404, "unknown", "no such call")

    async def _update(self, request: web.Request) -> web.Response:
        call = self.calls.get(request.match_info["call"])
        if refusal := self._unauthorized(request):
            return refusal
        if call is None:
            return self._refuse(404, "unknown", "no such call")
        wanted = (await request.post()).get("Status")
        if wanted == "canceled" and call.status not in ("queued", "ringing"):
            return self._refuse(400, "not_cancelable", "Call is not in-progress. Cannot redirect.")
        call.status = str(wanted)
        call.leg.hang_up("by the API")
        return web.json_response(self._view(call))

    @staticmethod
    def _view(call: Call) -> dict[str, str]:
        return {"sid": call.sid, "status": call.status, "to": call.values["To"], "from": call.values["From"]}

    # -- the call itself

    async def _dial(self, call: Call) -> None:
        host, _, port = self._phones_address.partition(":")
        leg = call.leg

        def on_ringing() -> None:
            call.status = "ringing"

        leg.on_ringing = on_ringing
        try:
            await leg.invite(
                f"sip:{call.values['To']}@{self._phones_address}", (host, int(port)), call.values["From"], headers={}
            )
            status = await leg.wait_answered(RINGING_LIMIT)
        except TimeoutError:
            call.status = "no-answer"
            return
        if status != 200:
            if call.status not in ("canceled", "completed"):
                call.status = STATUS_OF.get(status, "failed")
            return
        call.status = "in-progress"
        try:
            await self._stream(call)
        finally:
            call.status = "completed"
            leg.hang_up("the stream ended")

    async def _stream(self, call: Call) -> None:
        """Media Streams, both ways, until one side ends it."""
        assert self._session
        leg, stream = call.leg, new_sid("MZ")
        to_send: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        chunk = 0

        def on_audio(samples: np.ndarray, timestamp: int, sequence: int) -> None:
            nonlocal chunk
            chunk += 1
            payload = base64.b64encode(g711.encode(samples)).decode()
            media = {"track": "inbound", "chunk": str(chunk), "timestamp": str(chunk * 20), "payload": payload}
            to_send.put_nowait({"event": "media", "streamSid": stream, "media": media})

        def on_key(key: str) -> None:
            to_send.put_nowait({"event": "dtmf", "streamSid": stream, "dtmf": {"track": "inbound_track", "digit": key}})

        form = {"encoding": "audio/x-mulaw", "sampleRate": g711.RATE, "channels": 1}
        start = {"streamSid": stream, "accountSid": ACCOUNT_SID, "callSid": call.sid, "tracks": ["inbound"]}
        to_send.put_nowait({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        to_send.put_nowait({"event": "start", "streamSid": stream, "start": {**start, "mediaFormat": form}})
        leg.rtp.on_audio, leg.rtp.on_key = on_audio, on_key
        leg.on_end = lambda why: to_send.put_nowait(None)

        async def send() -> None:
            while (message := await to_send.get()) is not None:
                await websocket.send_json(message)
            await websocket.send_json({"event": "stop", "streamSid": stream})
            await websocket.close()

        async with self._session.ws_connect(call.stream_url) as websocket:
            sending = asyncio.create_task(send())
            try:
                async for frame in websocket:
                    message = json.loads(frame.data) if frame.type == WSMsgType.TEXT else {}
                    if message.get("event") == "media" and leg.talking:
                        leg.send_audio(g711.decode(base64.b64decode(message["media"]["payload"])))
            finally:
                to_send.put_nowait(None)
                with suppress(aiohttp.ClientError, ConnectionError):
                    await sending
