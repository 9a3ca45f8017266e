"""Workers and jobs: one offer, no second chance."""

from __future__ import annotations

import asyncio
import time

import jwt
import pytest
from livekit import api, rtc
from livekit.protocol import agent

from lab.server import REAL_PACE, LabServer, workers
from tests.lab.server.conftest import StartServer
from tests.lab.support import ScriptedWorker, client, server_api, until


async def dispatch(calls: api.LiveKitAPI, name: str = "front-desk") -> api.AgentDispatch:
    request = api.CreateAgentDispatchRequest(agent_name=name, room="room", metadata="notes")
    return await calls.agent_dispatch.create_dispatch(request)


async def states(calls: api.LiveKitAPI, dispatch_id: str) -> list[int]:
    found = await calls.agent_dispatch.get_dispatch(dispatch_id, "room")
    assert found
    return [job.state.status for job in found.state.jobs]


async def test_a_job_goes_to_the_worker_of_that_name_and_lists_as_it_is(server: LabServer) -> None:
    async with (
        server_api(server) as calls,
        ScriptedWorker(server, "front-desk") as worker,
        ScriptedWorker(server, "another") as other,
    ):
        made = await dispatch(calls)
        (assignment,) = await until(lambda: worker.assignments, "the worker has the job")
        assert (assignment.job.room.name, assignment.job.metadata) == ("room", "notes")
        assert not other.offers
        assert await states(calls, made.id) == [agent.JS_RUNNING]
        agent_room = rtc.Room()
        await agent_room.connect(server.url, assignment.token)
        assert agent_room.local_participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        await agent_room.disconnect()
        await worker.report(assignment.job.id, agent.JS_FAILED)
        await until(lambda: server.dispatcher.jobs[assignment.job.id].state.status == agent.JS_FAILED, "it failed")
        assert await states(calls, made.id) == [agent.JS_FAILED]
        assert len(worker.offers) == 1, "a job that failed is not given out again"
        await calls.room.delete_room(api.DeleteRoomRequest(room="room"))
        assert not server.dispatcher.jobs, "forgotten with its room"


async def test_a_running_job_is_remembered_until_it_ends_or_its_worker_goes(server: LabServer) -> None:
    async with server_api(server) as calls:
        async with ScriptedWorker(server, "front-desk") as worker:
            await dispatch(calls)
            await dispatch(calls)
            first, second = await until(lambda: len(worker.assignments) == 2 and worker.assignments, "two jobs") or []
            await calls.room.delete_room(api.DeleteRoomRequest(room="room"))
            assert set(server.dispatcher.jobs) == {first.job.id, second.job.id}
            await worker.report(first.job.id, agent.JS_SUCCESS)
            await until(lambda: set(server.dispatcher.jobs) == {second.job.id}, "the finished one is forgotten")
        await until(lambda: not server.dispatcher.jobs, "the other went with its worker")


async def test_without_a_worker_a_dispatch_is_lost_even_if_one_comes_later(server: LabServer) -> None:
    async with server_api(server) as calls:
        made = await dispatch(calls)
        await until(lambda: len(server.tasks) == 1, "the dispatch is over")  # what remains watches presence
        async with ScriptedWorker(server, "front-desk") as worker:
            await dispatch(calls)
            await until(lambda: worker.assignments, "a new dispatch arrives")
            assert [job.dispatch_id for job in worker.offers] != [made.id]
            assert len(worker.offers) == 1
        assert await states(calls, made.id) == []


async def test_a_full_worker_is_not_asked_and_one_that_declines_is_asked_once(server: LabServer) -> None:
    async with (
        server_api(server) as calls,
        ScriptedWorker(server, "front-desk") as full,
        ScriptedWorker(server, "front-desk", takes=False) as unwilling,
    ):
        await full.become(agent.WS_FULL)
        await until(lambda: [w.status for w in server.dispatcher.workers.values()].count(agent.WS_FULL) == 1, "full")
        made = await dispatch(calls)
        await until(lambda: unwilling.offers, "the other one is asked")
        await until(lambda: len(server.tasks) == 1, "the dispatch is over")
        await full.become(agent.WS_AVAILABLE)
        await asyncio.sleep(0.3)
        assert (len(full.offers), len(unwilling.offers)) == (0, 1)
        assert await states(calls, made.id) == []


@pytest.mark.parametrize(("load", "takes_it"), [(0.69, True), (0.7, False), (0.9, False)])
async def test_a_worker_that_reports_much_load_gets_no_call_and_none_later(
    server: LabServer, load: float, takes_it: bool
) -> None:
    async with server_api(server) as calls, ScriptedWorker(server, "front-desk") as worker:
        await worker.reports_load(load)
        made = await dispatch(calls)
        if takes_it:
            await until(lambda: worker.assignments, "the worker has the job")
        await until(lambda: len(server.tasks) == 1, "the dispatch is over")
        await worker.reports_load(0.0)
        await worker.pong()
        assert len(worker.offers) == takes_it
        assert len(await states(calls, made.id)) == takes_it


async def test_a_job_is_offered_as_late_as_by_the_real_server(start_server: StartServer) -> None:
    server = await start_server(pace=REAL_PACE)
    async with server_api(server) as calls, ScriptedWorker(server, "front-desk") as worker:
        begun = time.monotonic()
        await dispatch(calls)
        await until(lambda: worker.assignments, "the worker has the job")
        assert time.monotonic() - begun >= REAL_PACE.create_dispatch + REAL_PACE.offer > 0.2


async def test_a_report_of_load_alone_leaves_a_full_worker_full(server: LabServer) -> None:
    async with server_api(server) as calls, ScriptedWorker(server, "front-desk") as worker:
        await worker.become(agent.WS_FULL)
        await worker.reports_load(0.1)
        await dispatch(calls)
        await until(lambda: len(server.tasks) == 1, "the dispatch is over")
        await worker.pong()
        assert not worker.offers
        await worker.become(agent.WS_AVAILABLE)
        await dispatch(calls)
        await until(lambda: worker.assignments, "the worker has the job")


async def test_of_several_workers_the_idle_one_gets_the_more_calls(server: LabServer) -> None:
    """What each gets is in proportion to what it has left, once one of them is below the limit."""
    async with (
        server_api(server) as calls,
        ScriptedWorker(server, "front-desk") as idle,
        ScriptedWorker(server, "front-desk") as half,
        ScriptedWorker(server, "front-desk") as busy,
    ):
        await half.reports_load(0.5)
        await busy.reports_load(1.0)
        for number in range(30):
            await dispatch(calls)
            await until(lambda: len(idle.assignments) + len(half.assignments) > number, "one has it")  # noqa: B023
        assert not busy.offers
        assert len(idle.assignments) > len(half.assignments) > 0


async def test_a_worker_that_goes_while_it_is_asked_makes_room_for_the_next(server: LabServer) -> None:
    async with server_api(server) as calls, ScriptedWorker(server, "front-desk") as second:
        await second.reports_load(1.0)  # nothing left: the other one is asked first
        async with ScriptedWorker(server, "front-desk", answers=False) as silent:
            await dispatch(calls)
            await until(lambda: silent.offers, "the idle one is asked first")
            await second.reports_load(0.5)
        await until(lambda: second.assignments, "the next one has the job")


async def test_a_worker_that_does_not_answer_loses_the_call_for_all(
    server: LabServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ANSWER_LIMIT", 0.3)
    async with server_api(server) as calls, ScriptedWorker(server, "front-desk") as second:
        await second.reports_load(1.0)
        async with ScriptedWorker(server, "front-desk", answers=False) as silent:
            await dispatch(calls)
            await until(lambda: silent.offers, "the idle one is asked first")
            await second.reports_load(0.5)
            await until(lambda: len(server.tasks) == 1, "the dispatch is over")
            await second.pong()
            assert not second.offers


async def test_deleting_a_dispatch_tells_the_worker_nothing_and_its_job_goes_on(server: LabServer) -> None:
    async with server_api(server) as calls, ScriptedWorker(server, "front-desk") as worker:
        made = await dispatch(calls)
        (assignment,) = await until(lambda: worker.assignments, "the worker has the job")
        agent_room = rtc.Room()
        await agent_room.connect(server.url, assignment.token)
        await calls.agent_dispatch.delete_dispatch(made.id, "room")
        assert await calls.agent_dispatch.get_dispatch(made.id, "room") is None
        await worker.pong()  # what was sent before it has arrived
        assert not worker.terminations
        assert server.dispatcher.jobs[assignment.job.id].state.status == agent.JS_RUNNING
        assert agent_room.isconnected()
        await agent_room.disconnect()


@pytest.mark.parametrize("name", ["front-desk", ""])
async def test_an_agent_tells_by_an_attribute_which_one_it_is(server: LabServer, name: str) -> None:
    """One without a name has the attribute too, and it is empty."""
    async with server_api(server) as calls, ScriptedWorker(server, name) as worker, client(server, "caller") as caller:
        await dispatch(calls, name)
        (assignment,) = await until(lambda: worker.assignments, "the worker has the job")
        agent_room = rtc.Room()
        await agent_room.connect(server.url, assignment.token)
        (seen,) = await until(lambda: list(caller.remote_participants.values()), "the caller knows the agent")
        assert seen.attributes == {"lk.agent_name": name}
        await agent_room.disconnect()


async def test_the_token_of_a_job_is_good_for_an_hour(server: LabServer) -> None:
    async with server_api(server) as calls, ScriptedWorker(server, "front-desk") as worker:
        await dispatch(calls)
        (assignment,) = await until(lambda: worker.assignments, "the worker has the job")
        claims = jwt.decode(assignment.token, options={"verify_signature": False})
        assert 3590 < claims["exp"] - time.time() <= 3600


async def test_the_agents_of_a_token_come_only_with_the_join_that_makes_the_room(server: LabServer) -> None:
    config = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="front-desk", metadata="hello")])

    def token(identity: str) -> str:
        made = api.AccessToken(server.settings.api_key, server.settings.api_secret).with_identity(identity)
        return made.with_grants(api.VideoGrants(room_join=True, room="room")).with_room_config(config).to_jwt()

    async with ScriptedWorker(server, "front-desk") as worker:
        first, second = rtc.Room(), rtc.Room()
        await first.connect(server.url, token("first"))
        await until(lambda: worker.assignments, "the agent is dispatched")
        assert worker.offers[0].metadata == "hello"
        await second.connect(server.url, token("second"))
        await asyncio.sleep(0.3)
        assert len(worker.offers) == 1
        await first.disconnect()
        await second.disconnect()


async def test_the_agents_of_a_token_stay_away_from_a_room_that_was_there(server: LabServer) -> None:
    config = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="front-desk")])
    made = api.AccessToken(server.settings.api_key, server.settings.api_secret).with_identity("late")
    made = made.with_grants(api.VideoGrants(room_join=True, room="room")).with_room_config(config)
    async with ScriptedWorker(server, "front-desk") as worker, client(server, "early"):
        late = rtc.Room()
        await late.connect(server.url, made.to_jwt())
        await asyncio.sleep(0.3)
        assert not worker.offers
        await late.disconnect()
