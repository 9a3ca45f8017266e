"""The consult's room and session: what the server tells of them, and how they are closed at the worst moment."""

from __future__ import annotations

import asyncio
import inspect
import json
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api
from livekit.agents import AgentSession

from lab.waiting import until
from tests.transfer.relay.support import lab_server
from transfer.consult import Consult, ConsultAgent

CLEAN_UP = 2.0
"""Seconds after which nothing of a consult may be left."""


class Session(AgentSession[None]):
    def __init__(self) -> None:
        super().__init__()
        self.starting = asyncio.Event()

    async def start(self, *arguments: Any, **values: Any) -> Any:
        self.starting.set()
        return await super().start(*arguments, **values)


def job_of(asked: api.LiveKitAPI, url: str = "") -> Any:
    """A caller's job, as far as a consult asks for it."""
    caller_room = SimpleNamespace(sid="RM_caller", name="call-_+12025550111_x1")
    return SimpleNamespace(
        api=asked, _info=SimpleNamespace(url=url), job=SimpleNamespace(room=caller_room), room=caller_room
    )


async def test_consult_room_tells_which_transfer_and_which_caller_s_room_it_belongs_to() -> None:
    async with lab_server() as server:
        key, secret = server.settings.api_key, server.settings.api_secret
        async with api.LiveKitAPI(server.http_url, key, secret) as asked:
            consult = Consult(job_of(asked), "transfer-1")
            await consult.create_room()
            (room,) = (await asked.room.list_rooms(api.ListRoomsRequest())).rooms
            await consult.close()
    assert room.name == consult.room_name
    assert json.loads(room.metadata) == {"transfer": "transfer-1", "caller_room": "RM_caller"}
    assert "5550111" not in room.metadata, "the name of the caller's room holds the caller's number"


async def test_a_session_that_starts_when_the_line_is_busy_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with lab_server() as server:
        key, secret = server.settings.api_key, server.settings.api_secret
        monkeypatch.setenv("LIVEKIT_API_KEY", key)
        monkeypatch.setenv("LIVEKIT_API_SECRET", secret)
        async with api.LiveKitAPI(server.http_url, key, secret) as asked:
            job = job_of(asked, server.url)
            before = asyncio.all_tasks()

            def left() -> list[str]:
                """What runs of LiveKit's own code; the lab's server keeps its connections."""
                new = [task.get_coro() for task in asyncio.all_tasks() - before]
                return [str(c) for c in new if inspect.iscoroutine(c) and "/livekit/" in c.cr_code.co_filename]

            consult, session = Consult(job, "transfer-1"), Session()
            await consult.create_room()
            agent = ConsultAgent(on_hello=lambda: None, on_words=lambda: None, tools=[], instructions="Be brief.")
            joining = asyncio.create_task(consult.join(session, agent))
            await session.starting.wait()
            joining.cancel()
            assert left(), "the session and its connection are seen as long as they are there"
            await asyncio.gather(joining, return_exceptions=True)
            await consult.close()

            try:
                await until(lambda: not left(), "everything of it has ended", CLEAN_UP)
            except AssertionError as error:
                raise AssertionError(f"{error}; left are {left()}") from None
            assert not server.rooms.all()
