"""The worker protocol: workers register, a dispatch offers one job once, and the one that takes it gets a token."""

from __future__ import annotations

import asyncio
import datetime
import logging
import random
import time
from typing import Any

from aiohttp import WSMsgType, web
from livekit import api
from livekit.protocol import agent, agent_dispatch, models

from lab.naming import mask, new_sid
from lab.server.room import Room
from lab.server.rooms import RoomRegistry
from lab.server.settings import Pace, ServerSettings
from lab.server.tokens import Claims
from lab.server.twirp import TwirpError, require
from lab.tasks import TaskSet

logger = logging.getLogger("lab.server.workers")

FINISHED = (agent.JS_SUCCESS, agent.JS_FAILED)
ANSWER_LIMIT = 10.0
"""Seconds that a worker has to say whether it takes a job."""
TOKEN_LIFETIME = datetime.timedelta(hours=1)
"""Of the token that comes with a job (livekit/protocol's BuildAgentToken)."""
AGENT_NAME_ATTRIBUTE = "lk.agent_name"
"""The real server gives it to every agent; to one without a name, an empty one."""


class Worker:
    """One registered worker process."""

    def __init__(self, websocket: web.WebSocketResponse, registration: agent.RegisterWorkerRequest) -> None:
        self.id = new_sid("AW_")
        self.agent_name = registration.agent_name
        self.status: agent.WorkerStatus = agent.WS_AVAILABLE
        self.load = 0.0
        self.answers: dict[str, asyncio.Future[agent.AvailabilityResponse | None]] = {}
        """By job id; None once the worker is gone."""
        self._websocket = websocket

    def update(self, report: agent.UpdateWorkerStatus) -> None:
        """A report without a status leaves it as it was; one without a load reports none."""
        self.load = round(report.load, 6)  # it comes in 32 bits, in which 0.7 is a little less
        if report.HasField("status"):
            self.status = report.status

    async def send(self, **message: Any) -> None:
        await self._websocket.send_bytes(agent.ServerMessage(**message).SerializeToString())


class Dispatcher:
    """Knows the workers and gives them jobs."""

    def __init__(self, settings: ServerSettings, server_info: models.ServerInfo) -> None:
        self._settings = settings
        self._server_info = server_info
        self.workers: dict[str, Worker] = {}
        self.jobs: dict[str, agent.Job] = {}
        """Jobs that a worker took, by id; finished ones are forgotten with their room."""
        self._orphans: set[str] = set()
        """Ids of unfinished jobs whose room has ended."""
        self.url = ""
        self._lot = random.Random(settings.seed)

    def jobs_of(self, dispatch_id: str) -> list[agent.Job]:
        return [job for job in self.jobs.values() if job.dispatch_id == dispatch_id]

    def on_room_closed(self, room: Room) -> None:
        for job in [job for job in self.jobs.values() if job.room.sid == room.sid]:
            if job.state.status in FINISHED or job.state.worker_id not in self.workers:
                self._forget(job.id)
            else:
                self._orphans.add(job.id)

    def _forget(self, job_id: str) -> None:
        del self.jobs[job_id]
        self._orphans.discard(job_id)

    def _forget_orphans(self, worker_id: str) -> None:
        for job_id in [job_id for job_id in self._orphans if self.jobs[job_id].state.worker_id == worker_id]:
            self._forget(job_id)

    async def serve(self, websocket: web.WebSocketResponse) -> None:
        """Speaks with one worker until it leaves."""
        worker: Worker | None = None
        try:
            async for frame in websocket:
                if frame.type != WSMsgType.BINARY:
                    continue
                message = agent.WorkerMessage.FromString(frame.data)
                if message.WhichOneof("message") == "register":
                    worker = Worker(websocket, message.register)
                    self.workers[worker.id] = worker
                    info = agent.RegisterWorkerResponse(worker_id=worker.id, server_info=self._server_info)
                    await worker.send(register=info)
                    logger.info("worker %s registered as %r", worker.id, worker.agent_name)
                elif worker:
                    await self._on_message(worker, message)
        finally:
            if worker:
                del self.workers[worker.id]
                self._forget_orphans(worker.id)
                for answer in worker.answers.values():
                    if not answer.done():
                        answer.set_result(None)

    async def _on_message(self, worker: Worker, message: agent.WorkerMessage) -> None:
        match message.WhichOneof("message"):
            case "availability":
                answer = worker.answers.get(message.availability.job_id)
                if answer and not answer.done():
                    answer.set_result(message.availability)
            case "update_worker":
                worker.update(message.update_worker)
            case "update_job":
                if job := self.jobs.get(message.update_job.job_id):
                    job.state.status, job.state.error = message.update_job.status, message.update_job.error
                    job.state.updated_at = time.time_ns()
                    if job.state.status in FINISHED and job.id in self._orphans:
                        self._forget(job.id)
            case "ping":
                pong = agent.WorkerPong(last_timestamp=message.ping.timestamp, timestamp=int(time.time() * 1000))
                await worker.send(pong=pong)

    async def dispatch(
        self, room: Room, agent_name: str, metadata: str = "", dispatch_id: str = ""
    ) -> agent.Job | None:
        """Gives a job for `room` to a worker of that name. None when no worker takes it: it is never retried."""
        dispatch_id = dispatch_id or new_sid("AD_")
        job = agent.Job(
            id=new_sid("AJ_"),
            dispatch_id=dispatch_id,
            type=agent.JT_ROOM,
            room=room.info(),
            agent_name=agent_name,
            metadata=metadata,
            state=agent.JobState(),
        )
        room.dispatches.setdefault(
            dispatch_id,
            agent_dispatch.AgentDispatch(id=dispatch_id, agent_name=agent_name, room=room.name, metadata=metadata),
        )
        taken = await self._find_worker(job)
        if taken is None:
            logger.warning("no worker takes the job for agent %r in %s", agent_name, mask(room.name))
            return None
        worker, answer = taken
        await self._assign(worker, job, room, answer)
        return job

    async def _find_worker(self, job: agent.Job) -> tuple[Worker, agent.AvailabilityResponse] | None:
        """As livekit-server 1.13.5 does it: no worker is asked unless one is below the target load. Then all available workers
        are asked, in a random order weighted by free capacity, until one takes the job or leaves the question unanswered.
        """
        if not any(worker.load < self._settings.target_load for worker in self._available(job.agent_name)):
            return None
        await asyncio.sleep(self._settings.pace.offer)
        asked: set[str] = set()
        while left := [
            worker for worker in self._available(job.agent_name) if worker.id not in asked and worker.load < 1
        ]:
            (worker,) = self._lot.choices(left, [1 - worker.load for worker in left])
            asked.add(worker.id)
            try:
                answer = await self._offer(worker, job)
            except TimeoutError:
                return None
            if answer is not None and answer.available:
                return worker, answer
        return None

    def _available(self, agent_name: str) -> list[Worker]:
        return [w for w in self.workers.values() if w.agent_name == agent_name and w.status == agent.WS_AVAILABLE]

    async def _offer(self, worker: Worker, job: agent.Job) -> agent.AvailabilityResponse | None:
        """The worker's answer; None when it leaves; TimeoutError when it says nothing."""
        answer = worker.answers[job.id] = asyncio.get_running_loop().create_future()
        try:
            await worker.send(availability=agent.AvailabilityRequest(job=job))
            async with asyncio.timeout(ANSWER_LIMIT):
                return await answer
        except ConnectionError:
            return None
        finally:
            del worker.answers[job.id]

    async def _assign(self, worker: Worker, job: agent.Job, room: Room, answer: agent.AvailabilityResponse) -> None:
        self.jobs[job.id] = job
        job.state.worker_id, job.state.participant_identity = worker.id, answer.participant_identity
        job.state.status, job.state.started_at = agent.JS_RUNNING, time.time_ns()
        grants = api.VideoGrants(
            room_join=True,
            room=room.name,
            agent=True,
            can_publish=True,
            can_subscribe=True,
            can_publish_data=True,
            can_update_own_metadata=True,
        )
        token = (
            api.AccessToken(self._settings.api_key, self._settings.api_secret)
            .with_identity(answer.participant_identity)
            .with_name(answer.participant_name)
            .with_metadata(answer.participant_metadata)
            .with_kind("agent")
            .with_attributes({**answer.participant_attributes, AGENT_NAME_ATTRIBUTE: worker.agent_name})
            .with_grants(grants)
            .with_ttl(TOKEN_LIFETIME)
        )
        await worker.send(assignment=agent.JobAssignment(job=job, token=token.to_jwt(), url=self.url))


class AgentDispatchService:
    """The server API to dispatch agents by name."""

    def __init__(self, rooms: RoomRegistry, dispatcher: Dispatcher, pace: Pace, tasks: TaskSet) -> None:
        self._rooms = rooms
        self._pace = pace
        self._dispatcher = dispatcher
        self._tasks = tasks

    async def CreateDispatch(
        self, request: agent_dispatch.CreateAgentDispatchRequest, claims: Claims
    ) -> agent_dispatch.AgentDispatch:
        require(claims.may_admin(request.room))
        await asyncio.sleep(self._pace.create_dispatch)
        room = self._rooms.get_or_create(request.room)
        entry = agent_dispatch.AgentDispatch(
            id=new_sid("AD_"), agent_name=request.agent_name, room=request.room, metadata=request.metadata
        )
        entry.state.created_at = time.time_ns()
        room.dispatches[entry.id] = entry
        self._tasks.spawn(self._dispatcher.dispatch(room, request.agent_name, request.metadata, entry.id))
        return entry

    async def ListDispatch(
        self, request: agent_dispatch.ListAgentDispatchRequest, claims: Claims
    ) -> agent_dispatch.ListAgentDispatchResponse:
        dispatches = self._room(request.room, claims).dispatches.values()
        found = [self._as_it_is(entry) for entry in dispatches if request.dispatch_id in ("", entry.id)]
        return agent_dispatch.ListAgentDispatchResponse(agent_dispatches=found)

    async def DeleteDispatch(
        self, request: agent_dispatch.DeleteAgentDispatchRequest, claims: Claims
    ) -> agent_dispatch.AgentDispatch:
        """Forgets the dispatch. Its job goes on and nothing is reported to its worker (livekit-server 1.13.5)."""
        entry = self._room(request.room, claims).dispatches.pop(request.dispatch_id, None)
        if entry is None:
            raise TwirpError("not_found", "dispatch ID not found")
        return self._as_it_is(entry)

    def _as_it_is(self, entry: agent_dispatch.AgentDispatch) -> agent_dispatch.AgentDispatch:
        """A copy with the jobs' present states."""
        copy = agent_dispatch.AgentDispatch()
        copy.CopyFrom(entry)
        copy.state.jobs.extend(self._dispatcher.jobs_of(entry.id))
        return copy

    def _room(self, name: str, claims: Claims) -> Room:
        require(claims.may_admin(name))
        room = self._rooms.get(name)
        if room is None:
            raise TwirpError("unavailable", "no response from servers")
        return room
