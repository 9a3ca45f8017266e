"""Small tools for the lab's tests: waiting, SDK clients that hear and speak tones, API clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import aiohttp
import numpy as np
from aiortc import RTCIceTransport
from google.protobuf.message import Message
from livekit import api, rtc
from livekit.protocol import agent

from lab.server import LabServer
from lab.waiting import LIMIT as LIMIT
from lab.waiting import until as until


def token(
    server: LabServer, identity: str, room: str, *, kind: Literal["standard", "agent"] = "standard", **grants: Any
) -> str:
    video = api.VideoGrants(**{"room_join": True, "room": room, "can_update_own_metadata": True, **grants})
    made = api.AccessToken(server.settings.api_key, server.settings.api_secret).with_identity(identity)
    return made.with_kind(kind).with_grants(video).to_jwt()


@asynccontextmanager
async def client(
    server: LabServer, identity: str, room: str = "room", *, shared_key: str = "", **grants: Any
) -> AsyncIterator[rtc.Room]:
    """An SDK client in a room; with a `shared_key` its media and data are end-to-end encrypted."""
    made = rtc.Room()
    keys = rtc.KeyProviderOptions(shared_key=shared_key.encode())
    options = rtc.RoomOptions(encryption=rtc.E2EEOptions(keys) if shared_key else None)
    await made.connect(server.url, token(server, identity, room, **grants), options)
    try:
        yield made
    finally:
        await made.disconnect()


@asynccontextmanager
async def server_api(server: LabServer) -> AsyncIterator[api.LiveKitAPI]:
    made = api.LiveKitAPI(server.http_url, server.settings.api_key, server.settings.api_secret)
    try:
        yield made
    finally:
        await made.aclose()


class Path(RTCIceTransport):
    """One end of a path in memory: an ICE transport, and mypy holds it to what those are, that never gathered anything."""

    state = "completed"

    def __init__(self, role: str, inbox: asyncio.Queue[bytes], outbox: asyncio.Queue[bytes]) -> None:
        self._role, self._inbox, self._outbox = role, inbox, outbox

    @property
    def role(self) -> str:
        return self._role

    async def _recv(self) -> bytes:
        return await self._inbox.get()

    async def _send(self, data: bytes) -> None:
        self._outbox.put_nowait(data)

    @classmethod
    def both_ends(cls, role: Literal["controlling", "controlled"]) -> tuple[Path, Path]:
        there, back = asyncio.Queue[bytes](), asyncio.Queue[bytes]()
        return cls(role, back, there), cls(role, there, back)


class Tone:
    """A sine that a client publishes for as long as it is wanted."""

    def __init__(self, room: rtc.Room, hertz: float, name: str = "tone") -> None:
        self._room, self._name = room, name
        self.hertz = hertz
        """May be changed while it sounds."""
        self._source = rtc.AudioSource(48000, 1)
        self._task: asyncio.Task[None] | None = None
        self.publication: rtc.LocalTrackPublication | None = None

    async def __aenter__(self) -> Tone:
        track = rtc.LocalAudioTrack.create_audio_track(self._name, self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        self.publication = await self._room.local_participant.publish_track(track, options)
        self._task = asyncio.create_task(self._play())
        return self

    async def _play(self) -> None:
        samples = np.arange(480)
        position = 0
        while True:
            wave = 8000 * np.sin(2 * np.pi * self.hertz * (position + samples) / 48000)
            position += 480
            await self._source.capture_frame(rtc.AudioFrame(wave.astype(np.int16).tobytes(), 48000, 1, 480))

    async def __aexit__(self, *_: object) -> None:
        assert self._task and self.publication
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._room.isconnected():
            await self._unpublish(self.publication.sid)
        await self._source.aclose()

    async def _unpublish(self, sid: str) -> None:
        """In a room that ends meanwhile the SDK's call fails, or never returns."""
        ending = asyncio.ensure_future(self._room.local_participant.unpublish_track(sid))
        await until(lambda: ending.done() or not self._room.isconnected(), "the tone's track is unpublished")
        ending.cancel()
        with suppress(rtc.participant.UnpublishTrackError, asyncio.CancelledError):
            await ending


class Ear:
    """Hears every audio track that a client subscribes to; `hertz()` is the loudest tone of the last 200 ms."""

    RATE = 48000

    def __init__(self, room: rtc.Room) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self.heard: dict[str, np.ndarray] = {}
        """By track sid: the last second of samples."""
        self.arrivals: dict[str, list[float]] = {}
        room.on("track_subscribed", self._on_track)
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.track:
                    self._on_track(publication.track)

    def _on_track(self, track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._tasks.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=self.RATE)
        try:
            async for event in stream:
                samples = np.frombuffer(event.frame.data, np.int16)
                known = self.heard.get(track.sid, np.zeros(0, np.int16))
                self.heard[track.sid] = np.concatenate([known, samples])[-self.RATE :]
        finally:
            await stream.aclose()

    def hertz(self, sid: str | None = None) -> float | None:
        return loudest_tone(next(iter(self.heard.values()), None) if sid is None else self.heard.get(sid), self.RATE)

    async def __aenter__(self) -> Ear:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def loudest_tone(samples: np.ndarray | None, rate: int) -> float | None:
    """Frequency of the strongest tone of the last 200 ms in Hz; None where there is no sound."""
    if samples is None or len(samples) < rate // 5:
        return None
    window = samples[-rate // 5 :].astype(float)
    spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window)))) / len(window)
    strongest = int(spectrum.argmax())
    return float(strongest * 5) if spectrum[strongest] > 100 else None


def is_near(hertz: float) -> Callable[[float | None], bool]:
    return lambda heard: heard is not None and abs(heard - hertz) <= 15


async def twirp(server: LabServer, path: str, request: Message, bearer: str = "") -> tuple[int, str]:
    """Calls `SERVICE/METHOD` with a token of one's own; the HTTP status and the Twirp code ("ok" for an answer)."""
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/protobuf"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{server.http_url}/twirp/livekit.{path}", data=request.SerializeToString(), headers=headers
        ) as response,
    ):
        return response.status, "ok" if response.status == 200 else (await response.json())["code"]


def granted(server: LabServer, **grants: Any) -> str:
    """A token with these video grants and no others."""
    made = api.AccessToken(server.settings.api_key, server.settings.api_secret).with_identity("caller of the api")
    return made.with_grants(api.VideoGrants(**grants)).to_jwt()


class ScriptedWorker:
    """A worker written by hand: takes or declines every job that it is offered, and notes what it is told."""

    def __init__(self, server: LabServer, agent_name: str, *, takes: bool = True, answers: bool = True) -> None:
        self._server, self._agent_name, self._takes, self._answers = server, agent_name, takes, answers
        self.offers: list[agent.Job] = []
        self.assignments: list[agent.JobAssignment] = []
        self.terminations: list[str] = []
        self._pongs = 0
        self._session = aiohttp.ClientSession()
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ScriptedWorker:
        headers = {"Authorization": f"Bearer {granted(self._server, agent=True)}"}
        self._websocket = await self._session.ws_connect(f"{self._server.url}/agent", headers=headers)
        await self.send(register=agent.RegisterWorkerRequest(agent_name=self._agent_name, type=agent.JT_ROOM))
        assert (await self._receive(self._websocket)).HasField("register")
        self._reader = asyncio.create_task(self._read(self._websocket))
        return self

    async def send(self, **message: Any) -> None:
        assert self._websocket
        await self._websocket.send_bytes(agent.WorkerMessage(**message).SerializeToString())

    @staticmethod
    async def _receive(websocket: aiohttp.ClientWebSocketResponse) -> agent.ServerMessage:
        return agent.ServerMessage.FromString(await websocket.receive_bytes())

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in websocket:
            message = agent.ServerMessage.FromString(frame.data)
            match message.WhichOneof("message"):
                case "availability":
                    job = message.availability.job
                    self.offers.append(job)
                    answer = agent.AvailabilityResponse(
                        job_id=job.id, available=self._takes, participant_identity=f"agent-{job.id}"
                    )
                    if self._answers:
                        await self.send(availability=answer)
                case "assignment":
                    self.assignments.append(message.assignment)
                case "termination":
                    self.terminations.append(message.termination.job_id)
                case "pong":
                    self._pongs += 1

    async def become(self, status: agent.WorkerStatus) -> None:
        await self.send(update_worker=agent.UpdateWorkerStatus(status=status))
        await self.pong()

    async def reports_load(self, load: float) -> None:
        """Returns when the server knows it."""
        await self.send(update_worker=agent.UpdateWorkerStatus(load=load))
        await self.pong()

    async def pong(self) -> None:
        """Returns when the server has answered a ping: all that it sent before has arrived."""
        before = self._pongs
        await self.send(ping=agent.WorkerPing())
        await until(lambda: self._pongs > before, "the server answers a ping")

    async def report(self, job_id: str, status: agent.JobStatus) -> None:
        await self.send(update_job=agent.UpdateJobStatus(job_id=job_id, status=status))

    async def __aexit__(self, *_: object) -> None:
        assert self._websocket and self._reader
        await self._websocket.close()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._session.close()
