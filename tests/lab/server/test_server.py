"""The server as a process sees it: ports, starting, stopping, faults of its own."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from typing import Any

import aiohttp
import pytest
from livekit import api, rtc
from livekit.protocol import models
from livekit.protocol import room as protocol
from livekit.protocol import rtc as signalling

from lab.server import LabServer, ServerSettings
from lab.server.server import PORT_ATTEMPTS
from lab.server.tokens import Claims
from lab.server.transport import UdpMultiplexer
from lab.server.webrtc import WebRtcParticipant
from tests.lab.server.conftest import StartServer
from tests.lab.support import Ear, Tone, client, granted, is_near, server_api, token, twirp, until

NUMBER = "+12025550111"


def taken_for_udp(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """The next `times` ports turn out to be taken; collects the ports that were tried."""
    tried: list[int] = []
    open_really = UdpMultiplexer.open

    async def open(self: UdpMultiplexer, host: str, port: int) -> None:
        tried.append(port)
        if len(tried) <= times:
            raise OSError("address already in use")
        await open_really(self, host, port)

    monkeypatch.setattr(UdpMultiplexer, "open", open)
    return tried


async def test_another_port_is_chosen_where_the_udp_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = taken_for_udp(monkeypatch, 2)
    async with LabServer() as server:
        assert len(tried) == 3
        assert server.port == tried[-1]
        async with aiohttp.ClientSession() as session, session.get(server.http_url) as response:
            assert response.status == 200
    assert not server.leftovers()


async def test_starting_fails_when_no_port_is_free_or_the_wanted_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        server = LabServer(ServerSettings(port=holder.getsockname()[1]))
        with pytest.raises(OSError, match="in use"):
            await server.start()
        assert not server.leftovers()
    tried = taken_for_udp(monkeypatch, 1000)
    with pytest.raises(OSError, match="in use"):
        await LabServer().start()
    assert len(tried) == PORT_ATTEMPTS


def test_only_loopback_is_bound() -> None:
    with pytest.raises(ValueError, match="loopback"):
        LabServer(ServerSettings(host="0.0.0.0"))


async def test_stopping_in_the_middle_of_a_call_leaves_nothing(start_server: StartServer) -> None:
    server = await start_server()
    async with client(server, "alice") as alice, client(server, "bob") as bob, Ear(bob) as ear, Tone(alice, 700):
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice")
        reasons: list[rtc.DisconnectReason.ValueType] = []
        bob.on("disconnected", lambda reason: reasons.append(reason))
        knocking = [asyncio.create_task(knock(server, f"late-{number}")) for number in range(5)]
        await server.stop()
        assert not server.leftovers()
        await asyncio.gather(*knocking)
        assert not server.leftovers()
        await until(lambda: not alice.isconnected() and not bob.isconnected(), "both are told")
        assert reasons == [rtc.DisconnectReason.SERVER_SHUTDOWN]


async def test_a_client_that_is_just_leaving_when_the_server_stops_is_ended_too(start_server: StartServer) -> None:
    server = await start_server()
    async with client(server, "alice") as alice:
        room = server.rooms.get("room")
        assert room
        participant = room.participants["alice"]
        assert isinstance(participant, WebRtcParticipant)
        await room.remove(participant, models.PARTICIPANT_REMOVED)
        await server.tasks.close()  # before its connection is closed
        await server.stop()
        assert participant.disposed and not participant.running_tasks
        await until(lambda: not alice.isconnected(), "alice is told")


async def knock(server: LabServer, identity: str) -> None:
    """Tries to join until the server is gone."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token(server, identity, 'late')}"}) as session:
        while True:
            try:
                async with session.ws_connect(f"{server.url}/rtc/v1?join_request={join_request()}") as websocket:
                    async for _ in websocket:
                        pass
            except aiohttp.WSServerHandshakeError as error:
                assert error.status == 503
            except aiohttp.ClientError:
                return


def join_request(**values: Any) -> str:
    request = signalling.JoinRequest(**values)
    wrapped = signalling.WrappedJoinRequest(join_request=request.SerializeToString())
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


async def test_coming_back_to_a_room_that_is_gone_does_not_make_it_anew(server: LabServer) -> None:
    bearer = {"Authorization": f"Bearer {token(server, 'alice', 'gone')}"}
    url = f"{server.url}/rtc/v1?join_request={join_request(reconnect=True, participant_sid='PA_gone')}"
    async with aiohttp.ClientSession(headers=bearer) as session, session.ws_connect(url) as websocket:
        leave = signalling.SignalResponse.FromString(await websocket.receive_bytes()).leave
        assert leave.action == signalling.LeaveRequest.RECONNECT
        assert (await websocket.receive()).type == aiohttp.WSMsgType.CLOSE
    assert not server.rooms.all()


async def test_a_join_request_that_cannot_be_read_is_refused(server: LabServer) -> None:
    bearer = {"Authorization": f"Bearer {token(server, 'alice', 'room')}"}
    async with aiohttp.ClientSession(headers=bearer) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{server.url}/rtc/v1?join_request=AAAA")
    assert caught.value.status == 400
    assert not server.rooms.all()


class Broken:
    async def Fail(self, request: protocol.ListRoomsRequest, claims: Claims) -> protocol.ListRoomsResponse:
        raise RuntimeError("a mistake of the server's own")


async def test_a_mistake_of_the_servers_own_is_an_internal_error(
    server: LabServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.twirp.add_service("Broken", Broken())
    answer = await twirp(server, "Broken/Fail", protocol.ListRoomsRequest(), granted(server))
    assert answer == (500, "internal")
    assert "a mistake of the server's own" in caplog.text


async def test_no_telephone_number_reaches_the_log(server: LabServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lab")
    room, identity = f"call-_{NUMBER}_x", f"sip_{NUMBER}"
    async with client(server, identity, room) as caller, client(server, identity, room), server_api(server) as calls:
        await until(lambda: not caller.isconnected(), "the first of that name is out")
        await calls.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(agent_name="nobody", room=room))
        await until(lambda: "no worker takes the job" in caplog.text, "the dispatch has failed")
        with pytest.raises(api.ServerError):
            await calls.room.remove_participant(api.RoomParticipantIdentity(room=room, identity="sip_+12025550199"))
        await calls.room.delete_room(api.DeleteRoomRequest(room=room))
    own = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("lab"))
    assert "joined" in own and "left" in own and "+12…11" in own
    assert NUMBER[1:] not in caplog.text
    assert "12025550199" not in caplog.text
