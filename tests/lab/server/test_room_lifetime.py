"""How long rooms live, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import api, rtc
from livekit.protocol import models

from lab.server import LabServer, Participant, Room, ServerSettings, Track
from lab.tasks import TaskSet
from tests.lab.server.conftest import StartServer
from tests.lab.support import client, server_api, until


class Guest(Participant):
    """Somebody in a room, without media."""

    def subscribe(self, track: Track) -> None:
        pass

    def unsubscribe(self, track: Track) -> None:
        pass

    def receive_data(self, packet: models.DataPacket, reliable: bool) -> None:
        pass

    async def close(self, reason: models.DisconnectReason) -> None:
        self.disconnect_reason = reason


def agent(room: Room, identity: str) -> Guest:
    return Guest(room, identity, kind=models.ParticipantInfo.AGENT)


@asynccontextmanager
async def room_with(empty_timeout: float, departure_timeout: float) -> AsyncIterator[tuple[Room, asyncio.Event]]:
    closed, tasks = asyncio.Event(), TaskSet()
    settings = ServerSettings(empty_timeout=empty_timeout, departure_timeout=departure_timeout, announce_interval=0.05)
    room = Room("room", settings, tasks, lambda room: closed.set())
    yield room, closed
    await room.close(models.ROOM_CLOSED)
    await tasks.close()


async def elapsed(event: asyncio.Event) -> float:
    """Seconds until `event`."""
    start = asyncio.get_running_loop().time()
    await asyncio.wait_for(event.wait(), 10)
    return asyncio.get_running_loop().time() - start


async def test_agents_that_come_and_go_do_not_prolong_a_room_without_people() -> None:
    async with room_with(empty_timeout=0.6, departure_timeout=0.6) as (room, closed):
        await asyncio.sleep(0.3)
        room.add(first := agent(room, "first"))
        room.add(agent(room, "second"))
        await room.remove(first, models.CLIENT_INITIATED)
        assert await elapsed(closed) < 0.55
        assert not room.participants


async def test_agents_that_leave_do_not_prolong_a_room_that_people_have_left() -> None:
    async with room_with(empty_timeout=60, departure_timeout=0.6) as (room, closed):
        room.add(helper := agent(room, "agent"))
        room.add(guest := Guest(room, "guest"))
        await room.remove(guest, models.CLIENT_INITIATED)
        await asyncio.sleep(0.3)
        await room.remove(helper, models.CLIENT_INITIATED)
        assert await elapsed(closed) < 0.55


async def test_a_guest_who_comes_in_time_keeps_the_room() -> None:
    async with room_with(empty_timeout=0.2, departure_timeout=0.2) as (room, closed):
        room.add(first := Guest(room, "first"))
        await asyncio.sleep(0.3)
        await room.remove(first, models.CLIENT_INITIATED)
        room.add(Guest(room, "second"))
        await asyncio.sleep(0.3)
        assert not closed.is_set()


async def test_a_room_closes_on_its_agent_after_the_last_client_has_left(start_server: StartServer) -> None:
    server = await start_server(departure_timeout=0.5)
    async with server_api(server):
        reasons: list[rtc.DisconnectReason.ValueType] = []
        agent_room = rtc.Room()
        agent_room.on("disconnected", lambda reason: reasons.append(reason))
        made = api.AccessToken(server.settings.api_key, server.settings.api_secret).with_identity("agent")
        made = made.with_kind("agent").with_grants(api.VideoGrants(room_join=True, room="room", agent=True))
        async with client(server, "guest"):
            await agent_room.connect(server.url, made.to_jwt())
        assert agent_room.isconnected()
        await until(lambda: reasons == [rtc.DisconnectReason.ROOM_CLOSED], "the agent is told")
        assert server.rooms.get("room") is None
        await agent_room.disconnect()


async def test_the_values_of_create_room_hold_and_the_first_ones_stay(server: LabServer) -> None:
    async with server_api(server) as calls:
        await calls.room.create_room(api.CreateRoomRequest(name="a", empty_timeout=1, departure_timeout=7))
        again = await calls.room.create_room(api.CreateRoomRequest(name="a", empty_timeout=100, departure_timeout=100))
        assert (again.empty_timeout, again.departure_timeout) == (1, 7)
        default = await calls.room.create_room(api.CreateRoomRequest(name="b"))
        assert (default.empty_timeout, default.departure_timeout) == (300, 20)
        await until(lambda: server.rooms.get("a") is None, "the empty room ends", limit=5)
        assert server.rooms.get("b")


async def test_a_deleted_room_tells_its_clients_and_is_unknown_afterwards(server: LabServer) -> None:
    async with client(server, "alice") as alice, server_api(server) as calls:
        reasons: list[rtc.DisconnectReason.ValueType] = []
        alice.on("disconnected", lambda reason: reasons.append(reason))
        await calls.room.delete_room(api.DeleteRoomRequest(room="room"))
        await until(lambda: reasons == [rtc.DisconnectReason.ROOM_DELETED], "alice is told why")
        with pytest.raises(api.ServerError) as caught:
            await calls.room.send_data(api.SendDataRequest(room="room", data=b"x"))
        assert (caught.value.code, caught.value.status) == ("unavailable", 503)
        assert "no response from servers" in caught.value.message
