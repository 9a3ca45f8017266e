"""Telephone calls in and out of a room: what the phone, the room and the API see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import numpy as np
import pytest
from livekit import api, rtc
from livekit.protocol.sip import SIPParticipantInfo, SIPTransport

from lab.server import LabServer, Pace, ServerSettings
from lab.sip import Answer, Phone, PhoneExchange, Refuse, Ring, SipGateway
from lab.sip.digest import Credentials
from lab.sip.message import SipMessage
from tests.lab.support import Ear, ScriptedWorker, Tone, client, is_near, loudest_tone, server_api, until

FRONT_DESK, CALLER, HUMAN = "+15550100", "+12025550111", "+12025550141"


def settings(**values: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lab", [values], indirect=True)


@dataclass
class Lab:
    server: LabServer
    gateway: SipGateway
    exchange: PhoneExchange
    api: api.LiveKitAPI
    trunk: str

    async def call(self, number: str = HUMAN, **values: object) -> SIPParticipantInfo:
        fields = {"sip_trunk_id": self.trunk, "room_name": "consult", "participant_identity": "human", **values}
        request = api.CreateSIPParticipantRequest(sip_call_to=number, wait_until_answered=True)
        for name, value in fields.items():
            if name == "ringing_timeout":
                request.ringing_timeout.FromMilliseconds(int(float(str(value)) * 1000))
            elif name == "trunk":
                assert isinstance(value, api.SIPOutboundConfig)
                request.trunk.CopyFrom(value)
            elif name == "headers":
                assert isinstance(value, dict)
                request.headers.update(value)
            else:
                setattr(request, name, value)
        return await self.api.sip.create_sip_participant(request)


@pytest.fixture
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """With the settings of the server that a test gives it by `settings`."""
    server = LabServer(ServerSettings(**{"announce_interval": 0.1, **getattr(request, "param", {})}))
    gateway = SipGateway(server)
    async with PhoneExchange() as exchange, server, gateway, server_api(server) as calls:
        trunk = await calls.sip.create_outbound_trunk(
            api.CreateSIPOutboundTrunkRequest(
                trunk=api.SIPOutboundTrunkInfo(name="out", address=exchange.address, numbers=[FRONT_DESK])
            )
        )
        inbound = await calls.sip.create_inbound_trunk(
            api.CreateSIPInboundTrunkRequest(trunk=api.SIPInboundTrunkInfo(name="in", numbers=[FRONT_DESK]))
        )
        rule = api.SIPDispatchRule(dispatch_rule_individual=api.SIPDispatchRuleIndividual(room_prefix="call-"))
        await calls.sip.create_dispatch_rule(
            api.CreateSIPDispatchRuleRequest(
                dispatch_rule=api.SIPDispatchRuleInfo(rule=rule, trunk_ids=[inbound.sip_trunk_id])
            )
        )
        yield Lab(server, gateway, exchange, calls, trunk.sip_trunk_id)
    assert not gateway.endpoint.legs
    assert not exchange.endpoint.legs
    assert not len(server.tasks)
    assert not server.rooms.all()


def statuses(room: rtc.Room) -> list[str]:
    """Collects the call statuses that a room sees."""
    seen: list[str] = []

    def note(participant: rtc.RemoteParticipant) -> None:
        status = participant.attributes.get("sip.callStatus", "")
        if status and seen[-1:] != [status]:
            seen.append(status)

    room.on("participant_connected", note)
    room.on("participant_attributes_changed", lambda changed, participant: note(participant))
    return seen


def hears(phone: Phone, hertz: float) -> bool:
    samples = np.concatenate([frame for _, frame in phone.ear.frames[-20:]] or [np.zeros(0, np.int16)])
    return is_near(hertz)(loudest_tone(samples, 8000))


def tone(hertz: float, seconds: float) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hertz / 8000 * np.arange(int(8000 * seconds)))).astype(np.int16)


@pytest.mark.parametrize(
    ("status", "error", "code", "http"),
    [
        (486, "Busy Here", "resource_exhausted", 429),
        (480, "Temporarily Unavailable", "resource_exhausted", 429),
        (603, "Decline", "permission_denied", 403),
        (404, "Not Found", "not_found", 404),
        (503, "Service Unavailable", "failed_precondition", 412),
    ],
)
async def test_a_refusal_is_told_with_its_sip_status(lab: Lab, status: int, error: str, code: str, http: int) -> None:
    lab.exchange.phone(HUMAN, on_call=Refuse(status))
    with pytest.raises(api.SipCallError) as caught:
        await lab.call()
    assert (caught.value.sip_status_code, caught.value.sip_status) == (status, error)
    assert (caught.value.code, caught.value.status) == (code, http)


async def test_a_number_that_nobody_has_is_not_found(lab: Lab) -> None:
    with pytest.raises(api.SipCallError) as caught:
        await lab.call("+12025550199")
    assert caught.value.sip_status_code == 404


async def test_ringing_ends_after_the_timeout_without_a_sip_status(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Ring())
    with pytest.raises(api.ServerError) as caught:
        await lab.call(ringing_timeout=0.5)
    assert not isinstance(caught.value, api.SipCallError)
    assert (caught.value.code, caught.value.status) == ("canceled", 408)
    assert (await phone.wait_for("ended", 5)).detail == "cancel"


async def test_an_unknown_trunk_fails_without_a_sip_status(lab: Lab) -> None:
    with pytest.raises(api.ServerError) as caught:
        await lab.call(sip_trunk_id="ST_unknown")
    assert not isinstance(caught.value, api.SipCallError)
    assert (caught.value.code, caught.value.status) == ("not_found", 404)


async def test_dropping_the_request_does_not_stop_the_ringing_but_removing_the_participant_does(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Ring())
    request = asyncio.create_task(lab.call())
    await phone.wait_for("ringing", 5)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await asyncio.sleep(0.3)
    assert phone.in_call
    await lab.api.room.remove_participant(api.RoomParticipantIdentity(room="consult", identity="human"))
    assert (await phone.wait_for("ended", 1)).detail == "cancel"


async def test_deleting_the_room_stops_the_ringing_and_tells_the_caller_of_the_api(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Ring())
    request = asyncio.create_task(lab.call())
    await phone.wait_for("ringing", 5)
    await lab.api.room.delete_room(api.DeleteRoomRequest(room="consult"))
    with pytest.raises(api.ServerError) as caught:
        await request
    assert caught.value.code == "canceled"
    assert (await phone.wait_for("ended", 1)).detail == "cancel"


async def test_an_answered_call_carries_sound_keys_and_status_both_ways(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.2))
    async with client(lab.server, "agent", "consult", room_admin=True) as agent, Ear(agent) as ear, Tone(agent, 700):
        seen = statuses(agent)
        keys: list[str] = []
        agent.on("sip_dtmf_received", lambda event: keys.append(event.digit))
        info = await lab.call(dtmf="w12#", headers={"X-Case": "42"})
        assert info.participant_identity == "human"
        await until(lambda: hears(phone, 700), "the phone hears the room")
        assert [event.detail for event in phone.events if event.name == "key"] == ["1", "2", "#"]
        assert phone.invite_headers["X-Case"] == "42"
        phone.say(tone(500, 3))
        await until(lambda: is_near(500)(ear.hertz()), "the room hears the phone")
        await phone.press("5#")
        await until(lambda: keys == ["5", "#"], "the room gets the phone's keys")
        await agent.local_participant.publish_dtmf(code=7, digit="7")
        await until(lambda: phone.events[-1].detail == "7", "the phone gets the room's key")
        human = agent.remote_participants["human"]
        assert human.attributes["sip.phoneNumber"] == HUMAN
        assert human.attributes["sip.trunkPhoneNumber"] == FRONT_DESK
        gone: list[str] = []
        agent.on("participant_disconnected", lambda participant: gone.append(participant.identity))
        phone.hang_up()
        await until(lambda: gone == ["human"], "the room is told of the hang-up")
        # "dialing" may be over before the SDK tells of the newcomer.
        assert [s for s in seen if s != "dialing"] == ["ringing", "automation", "active", "hangup"]


async def test_a_phone_whose_goodbye_is_lost_stays_in_the_room_for_a_while(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.1))
    async with client(lab.server, "agent", "consult") as agent:
        seen = statuses(agent)
        await lab.call()
        room = lab.server.rooms.get("consult")
        assert room
        monkeypatch.setattr(room, "settings", replace(room.settings, vanish_timeout=0.5))
        room.participants["human"].network.goodbye_lost = True
        phone.hang_up()
        await until(lambda: seen[-1] == "hangup", "the room is told of the hang-up")
        hung_up = time.monotonic()
        assert "human" in room.participants
        await until(lambda: "human" not in agent.remote_participants, "it has left")
        assert time.monotonic() - hung_up > 0.3


async def test_a_moved_phone_goes_on_in_the_other_room(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.1))
    async with client(lab.server, "agent", "main") as agent, Ear(agent) as ear, Tone(agent, 900):
        await lab.call()
        consult = lab.server.rooms.get("consult")
        assert consult
        tracks = set(consult.participants["human"].tracks)
        request = api.MoveParticipantRequest(room="consult", identity="human", destination_room="main")
        await lab.api.room.move_participant(request)
        phone.say(tone(500, 3))
        await until(lambda: hears(phone, 900), "the phone hears the new room")
        await until(lambda: is_near(500)(ear.hertz()), "the new room hears the phone")
        assert set(agent.remote_participants["human"].track_publications) == tracks
        assert phone.talking


async def test_a_caller_rings_until_an_agent_speaks_and_is_hung_up_with_the_room(lab: Lab) -> None:
    phone = lab.exchange.phone(CALLER)
    dialling = asyncio.create_task(phone.dial(f"sip:{FRONT_DESK}@{lab.gateway.address}"))
    await phone.wait_for("ringback", 5)
    room = await until(lambda: next(iter(lab.server.rooms.all()), None), "the caller's room exists")
    assert room
    assert room.name.startswith(f"call-_{CALLER}_")
    assert room.participants[f"sip_{CALLER}"].attributes["sip.callStatus"] == "ringing"
    assert not dialling.done()
    async with client(lab.server, "agent", room.name) as agent, Tone(agent, 600):
        assert await dialling == 200
        await until(lambda: hears(phone, 600), "the caller hears the agent")
        started = time.monotonic()
        await lab.api.room.delete_room(api.DeleteRoomRequest(room=room.name))
        assert (await phone.wait_for("ended", 2)).detail == "bye"
        assert time.monotonic() - started < 2
        await until(lambda: not agent.isconnected(), "the agent is out of the room, too")


async def test_a_caller_who_gives_up_leaves_nobody_in_the_room(lab: Lab) -> None:
    phone = lab.exchange.phone(CALLER)
    with pytest.raises(TimeoutError):
        await phone.dial(f"sip:{FRONT_DESK}@{lab.gateway.address}", timeout=0.5)
    await until(lambda: all(not room.participants for room in lab.server.rooms.all()), "the room is empty")


async def test_a_caller_who_gives_up_hangs_up_before_leaving(lab: Lab) -> None:
    phone = lab.exchange.phone(CALLER)
    dialling = asyncio.create_task(phone.dial(f"sip:{FRONT_DESK}@{lab.gateway.address}"))
    await phone.wait_for("ringback", 5)
    (room,) = lab.server.rooms.all()
    async with client(lab.server, "watcher", room.name) as watcher:
        seen = statuses(watcher)
        gone: list[str] = []
        watcher.on("participant_disconnected", lambda participant: gone.append(participant.identity))
        phone.hang_up()
        assert await dialling == 487
        await until(lambda: gone == [f"sip_{CALLER}"], "the caller has left")
        assert seen == ["hangup"]


async def test_a_second_telephone_in_the_room_answers_the_caller_while_it_rings(lab: Lab) -> None:
    human = lab.exchange.phone(HUMAN, on_call=Ring())
    phone = lab.exchange.phone(CALLER)
    dialling = asyncio.create_task(phone.dial(f"sip:{FRONT_DESK}@{lab.gateway.address}"))
    await phone.wait_for("ringback", 5)
    (room,) = lab.server.rooms.all()
    await lab.call(room_name=room.name, wait_until_answered=False)
    assert await dialling == 200
    await human.wait_for("ringing", 5)
    assert not human.talking
    await lab.api.room.delete_room(api.DeleteRoomRequest(room=room.name))


@settings(pace=Pace(track_of_the_called=3.0))
async def test_the_caller_is_answered_when_the_ringing_telephone_publishes(lab: Lab) -> None:
    human = lab.exchange.phone(HUMAN, on_call=Ring())
    phone = lab.exchange.phone(CALLER)
    dialling = asyncio.create_task(phone.dial(f"sip:{FRONT_DESK}@{lab.gateway.address}"))
    await phone.wait_for("ringback", 5)
    (room,) = lab.server.rooms.all()
    begun = time.monotonic()
    await lab.call(room_name=room.name, wait_until_answered=False)
    async with client(lab.server, "watcher", room.name) as watcher:
        await until(lambda: "human" in watcher.remote_participants, "the watcher knows the ringing one")
        assert not watcher.remote_participants["human"].track_publications
        await human.wait_for("ringing", 5)
        assert not dialling.done()
        assert await dialling == 200
        assert time.monotonic() - begun >= 3.0
        await until(lambda: watcher.remote_participants["human"].track_publications, "its track is known")
    assert not human.talking
    await lab.api.room.delete_room(api.DeleteRoomRequest(room=room.name))


@settings(pace=Pace(track_of_the_called=20.0))
async def test_a_telephone_that_answers_has_published_by_then(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.1))
    async with client(lab.server, "agent", "consult") as agent, Ear(agent) as ear:
        await lab.call()
        phone.say(tone(500, 3))
        await until(lambda: is_near(500)(ear.hertz()), "the room hears the phone", limit=5)


@settings(pace=Pace(answer=0.3))
async def test_a_caller_is_answered_a_moment_after_the_agent_has_published(lab: Lab) -> None:
    phone = lab.exchange.phone(CALLER)
    dialling = asyncio.create_task(phone.dial(f"sip:{FRONT_DESK}@{lab.gateway.address}"))
    await phone.wait_for("ringback", 5)
    (room,) = lab.server.rooms.all()
    async with client(lab.server, "agent", room.name) as agent, Tone(agent, 600):
        published = time.monotonic()
        assert await dialling == 200
        assert time.monotonic() - published > 0.2
        await lab.api.room.delete_room(api.DeleteRoomRequest(room=room.name))


async def test_a_number_of_no_trunk_rings_once_and_gets_nothing_more(lab: Lab) -> None:
    phone = lab.exchange.phone(CALLER)
    async with ScriptedWorker(lab.server, "front-desk") as worker:
        with pytest.raises(TimeoutError):
            await phone.dial(f"sip:+15550177@{lab.gateway.address}", timeout=1.5)
        assert not worker.offers
    assert [event.name for event in phone.events] == ["dialled", "ringback", "ended"]
    assert not lab.server.rooms.all()


@pytest.mark.parametrize("called", ["+19990001234", "admin"])
async def test_a_rule_that_names_no_trunk_lets_anybody_in(lab: Lab, called: str) -> None:
    """Its room and its agent are for whoever sends an INVITE."""
    rule = api.SIPDispatchRuleInfo(
        rule=api.SIPDispatchRule(dispatch_rule_individual=api.SIPDispatchRuleIndividual(room_prefix="open")),
        room_config=api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="front-desk")]),
    )
    await lab.api.sip.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=rule))
    phone = lab.exchange.phone(CALLER)
    async with ScriptedWorker(lab.server, "front-desk") as worker:
        dialling = asyncio.create_task(phone.dial(f"sip:{called}@{lab.gateway.address}"))
        (job,) = await until(lambda: worker.offers, "there is a job")
        assert job.room.name.startswith(f"open_{CALLER}_")
        people = await lab.api.room.list_participants(api.ListParticipantsRequest(room=job.room.name))
        attributes = people.participants[0].attributes
        assert attributes["sip.trunkPhoneNumber"] == called
        assert "sip.trunkID" not in attributes
        phone.hang_up()
        assert await dialling == 487
        await lab.api.room.delete_room(api.DeleteRoomRequest(room=job.room.name))


async def test_a_caller_of_the_desk_comes_by_the_rule_of_its_trunk_whatever_else_there_is(lab: Lab) -> None:
    direct = api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name="for-anybody"))
    rule = api.SIPDispatchRuleInfo(rule=direct)
    await lab.api.sip.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=rule))
    await lab.api.sip.create_inbound_trunk(
        api.CreateSIPInboundTrunkRequest(
            trunk=api.SIPInboundTrunkInfo(name="any number", allowed_addresses=["127.0.0.1"])
        )
    )
    phone = lab.exchange.phone(CALLER)
    with pytest.raises(TimeoutError):
        await phone.dial(f"sip:{FRONT_DESK.removeprefix('+')}@{lab.gateway.address}", timeout=0.5)
    (room,) = lab.server.rooms.all()
    assert room.name.startswith("call-_")


async def test_a_trunk_with_credentials_lets_in_only_who_knows_them(lab: Lab) -> None:
    trunk = api.SIPInboundTrunkInfo(name="locked", numbers=["+15550101"], auth_username="desk", auth_password="pw")
    await lab.api.sip.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=trunk))
    phone, uri = lab.exchange.phone(CALLER), f"sip:+15550101@{lab.gateway.address}"
    assert await phone.dial(uri) == 407
    assert await phone.dial(uri, credentials=Credentials("desk", "wrong")) == 401
    with pytest.raises(TimeoutError):  # let in; no rule names a room
        await phone.dial(uri, credentials=Credentials("desk", "pw"), timeout=0.5)


async def test_an_outbound_trunk_proves_who_it_is(lab: Lab) -> None:
    lab.exchange.credentials = Credentials("desk", "pw")
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.1))
    with pytest.raises(api.ServerError) as caught:
        await lab.call()
    assert (caught.value.code, caught.value.status) == ("failed_precondition", 412)
    assert "no username or password was provided" in caught.value.message
    config = api.SIPOutboundConfig(hostname=lab.exchange.address, auth_username="desk", auth_password="wrong")
    with pytest.raises(api.ServerError, match="max auth retry attempts reached") as caught:
        await lab.call(sip_trunk_id="", trunk=config, sip_number="+15550123")
    assert not isinstance(caught.value, api.SipCallError)
    config.auth_password = "pw"
    await lab.call(sip_trunk_id="", trunk=config, sip_number="+15550123")
    assert phone.talking
    assert [event.detail for event in phone.events if event.name == "invited"][-1:] == ["+15550123"]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (
            {"sip_call_to": "sip:1001@pbx.example.com"},
            "SipCallTo should be a phone number or SIP user, not a full SIP URI",
        ),
        ({"sip_call_to": "1001@pbx"}, "SipCallTo should be a phone number or SIP user, not a full SIP URI"),
        ({"sip_call_to": ""}, "missing sip callee number"),
        ({"room_name": ""}, "missing room name"),
        ({"sip_trunk_id": ""}, "missing sip trunk id and sip number"),
        ({"to_user_override": "a b"}, "ToUserOverride contains invalid characters"),
        ({"headers": {"Contact": "<sip:me@here>"}}, "header name Contact not supported"),
        ({"headers": {"X Case": "1"}}, "invalid header name"),
        ({"headers": {"X-Case": "1\r\n"}}, "invalid header value for X-Case"),
        ({"trunk": api.SIPOutboundConfig()}, "no outbound hostname specified"),
        (
            {"trunk": api.SIPOutboundConfig(hostname="sip:pbx.example.com")},
            "trunk hostname should be a hostname or IP, not SIP URI",
        ),
        (
            {"trunk": api.SIPOutboundConfig(hostname="pbx;transport=tcp")},
            "trunk hostname should not contain transport parameter",
        ),
    ],
)
async def test_a_request_that_the_protocol_forbids_dials_nobody(lab: Lab, values: dict[str, Any], why: str) -> None:
    with pytest.raises(api.ServerError) as caught:
        await lab.call(values.pop("sip_call_to", HUMAN), **values)
    assert (caught.value.code, caught.value.status) == ("invalid_argument", 400)
    assert why in caught.value.message
    assert not lab.server.rooms.all()


async def test_an_inline_trunk_has_no_number_to_call_from(lab: Lab) -> None:
    with pytest.raises(api.ServerError) as caught:
        await lab.call(sip_trunk_id="", trunk=api.SIPOutboundConfig(hostname=lab.exchange.address))
    assert (caught.value.code, caught.value.status) == ("failed_precondition", 412)
    assert "no numbers on outbound trunk" in caught.value.message


@pytest.mark.parametrize("called", ["1001", "sip:1001", HUMAN])
async def test_what_is_called_stands_before_the_host_of_the_trunk(lab: Lab, called: str) -> None:
    lines: list[str] = []

    def note(message: SipMessage) -> bool:
        if message.method == "INVITE":
            lines.append(message.uri)
        return False

    lab.gateway.endpoint.lose = note
    with pytest.raises(api.SipCallError):
        await lab.call(called)
    trunk = api.SIPOutboundConfig(hostname=lab.exchange.address, transport=SIPTransport.SIP_TRANSPORT_UDP)
    with pytest.raises(api.SipCallError):
        await lab.call(called, sip_trunk_id="", trunk=trunk, sip_number=FRONT_DESK)
    uri = f"sip:{called}@{lab.exchange.address}"
    assert lines == [uri, f"{uri};transport=udp"]


@pytest.mark.parametrize(
    ("trunk", "why"),
    [
        (api.SIPOutboundTrunkInfo(address="pbx.example.com"), "no trunk numbers specified"),
        (api.SIPOutboundTrunkInfo(numbers=[FRONT_DESK]), "no outbound address specified"),
        (api.SIPOutboundTrunkInfo(numbers=[FRONT_DESK], address="sip:pbx"), "trunk address should be a hostname or IP"),
        (
            api.SIPOutboundTrunkInfo(numbers=[FRONT_DESK], address="pbx", sip_trunk_id="ST_1"),
            "trunk id must not be set",
        ),
        (api.SIPInboundTrunkInfo(name="open to all"), "for security, one of the fields must be set"),
        (api.SIPInboundTrunkInfo(numbers=["15550100"]), "Conflicting inbound SIP Trunks"),
        (api.SIPDispatchRuleInfo(name="of nothing"), "missing rule"),
    ],
)
async def test_a_trunk_or_rule_that_the_protocol_forbids_is_not_made(lab: Lab, trunk: Any, why: str) -> None:
    calls = lab.api.sip
    with pytest.raises(api.ServerError) as caught:
        if isinstance(trunk, api.SIPOutboundTrunkInfo):
            await calls.create_outbound_trunk(api.CreateSIPOutboundTrunkRequest(trunk=trunk))
        elif isinstance(trunk, api.SIPInboundTrunkInfo):
            await calls.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=trunk))
        else:
            await calls.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=trunk))
    assert caught.value.code == "invalid_argument"
    assert why in caught.value.message


async def test_a_second_rule_for_the_same_trunk_is_not_made(lab: Lab) -> None:
    (inbound,) = (await lab.api.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())).items
    direct = api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name="elsewhere"))
    rule = api.SIPDispatchRuleInfo(rule=direct, trunk_ids=[inbound.sip_trunk_id])
    with pytest.raises(api.ServerError) as caught:
        await lab.api.sip.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=rule))
    assert caught.value.code == "invalid_argument"
    assert "already exists" in caught.value.message


async def test_without_waiting_the_answer_comes_while_the_phone_rings(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.5))
    info = await lab.call(wait_until_answered=False)
    assert info.participant_identity == "human"
    assert not phone.talking
    await phone.wait_for("answered", 5)


async def test_an_identity_that_is_in_the_room_already_is_kicked(lab: Lab) -> None:
    first = lab.exchange.phone("+12025550142", on_call=Answer(after=0.1))
    lab.exchange.phone(HUMAN, on_call=Answer(after=0.1))
    await lab.call("+12025550142")
    await lab.call()
    await first.wait_for("ended", 5)
    people = await lab.api.room.list_participants(api.ListParticipantsRequest(room="consult"))
    assert [p.attributes["sip.phoneNumber"] for p in people.participants] == [HUMAN]


async def test_keys_after_the_answer_are_heard_by_the_phone_before_the_call_is_active(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.1))
    async with client(lab.server, "agent", "consult") as room:
        seen = statuses(room)
        await lab.call(dtmf="w12#")
        await until(lambda: "active" in seen, "the call is active")
    assert [event.detail for event in phone.events if event.name == "key"] == ["1", "2", "#"]
    assert seen[-2:] == ["automation", "active"]


async def test_a_phone_in_a_room_tells_what_livekit_sip_tells(lab: Lab) -> None:
    phone = lab.exchange.phone(HUMAN, on_call=Answer(after=0.1))
    await lab.call(headers={"X-Ticket": "7"})
    people = await lab.api.room.list_participants(api.ListParticipantsRequest(room="consult"))
    attributes = dict(people.participants[0].attributes)
    assert attributes.pop("sip.callID").startswith("SCL_")
    assert attributes.pop("sip.callIDFull")
    assert attributes.pop("sip.callTag")
    assert attributes == {
        "sip.callStatus": "active",
        "sip.hostname": lab.exchange.address,
        "sip.phoneNumber": HUMAN,
        "sip.trunkPhoneNumber": FRONT_DESK,
        "sip.trunkID": lab.trunk,
    }
    assert phone.invite_headers["X-Ticket"] == "7"


async def test_a_trunk_lets_in_only_the_callers_and_addresses_that_it_names(lab: Lab) -> None:
    for number, values in {
        "+15550102": {"allowed_numbers": ["+12025550188"]},
        "+15550103": {"allowed_addresses": ["10.0.0.0/8"]},
        "+15550104": {"allowed_numbers": [CALLER], "allowed_addresses": ["127.0.0.0/8"]},
    }.items():
        trunk = api.SIPInboundTrunkInfo(name=number, numbers=[number], **values)  # type: ignore[arg-type]
        made = await lab.api.sip.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=trunk))
        rule = api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name=number))
        info = api.SIPDispatchRuleInfo(rule=rule, trunk_ids=[made.sip_trunk_id])
        await lab.api.sip.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=info))
    phone = lab.exchange.phone(CALLER)
    for number in ("+15550102", "+15550103", "+15550104"):
        with pytest.raises(TimeoutError):
            await phone.dial(f"sip:{number}@{lab.gateway.address}", timeout=0.5)
    assert [room.name for room in lab.server.rooms.all()] == ["+15550104"]


async def test_headers_of_the_caller_become_attributes_where_the_trunk_says_so(lab: Lab) -> None:
    trunk = api.SIPInboundTrunkInfo(name="h", numbers=["+15550105"], headers_to_attributes={"X-Shop": "shop"})
    made = await lab.api.sip.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=trunk))
    rule = api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name="shop-room"))
    info = api.SIPDispatchRuleInfo(rule=rule, trunk_ids=[made.sip_trunk_id])
    await lab.api.sip.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=info))
    phone = lab.exchange.phone(CALLER)
    uri = f"sip:+15550105@{lab.gateway.address}"
    calling = asyncio.create_task(phone.dial(uri, headers={"X-Shop": "Portland"}, timeout=20))
    await phone.wait_for("ringback", 5)
    people = await lab.api.room.list_participants(api.ListParticipantsRequest(room="shop-room"))
    assert people.participants[0].attributes["shop"] == "Portland"
    phone.hang_up()
    assert await calling == 487
    await until(lambda: not lab.server.rooms.all()[0].participants, "the caller has left")
    await lab.api.room.delete_room(api.DeleteRoomRequest(room="shop-room"))


async def test_trunks_and_rules_are_listed_and_deleted(lab: Lab) -> None:
    assert [t.name for t in (await lab.api.sip.list_outbound_trunk(api.ListSIPOutboundTrunkRequest())).items] == ["out"]
    assert [t.name for t in (await lab.api.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())).items] == ["in"]
    (rule,) = (await lab.api.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items
    await lab.api.sip.delete_dispatch_rule(
        api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=rule.sip_dispatch_rule_id)
    )
    assert not (await lab.api.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items
    await lab.api.sip.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=lab.trunk))
    with pytest.raises(api.ServerError) as caught:
        await lab.call()
    assert caught.value.code == "not_found"


async def test_calling_needs_its_grant(lab: Lab) -> None:
    token = api.AccessToken(lab.server.settings.api_key, lab.server.settings.api_secret)
    token = token.with_grants(api.VideoGrants(room_admin=True, room="consult"))
    url = f"{lab.server.http_url}/twirp/livekit.SIP/CreateSIPParticipant"
    headers = {"Authorization": f"Bearer {token.to_jwt()}", "Content-Type": "application/protobuf"}
    async with aiohttp.ClientSession() as session, session.post(url, data=b"", headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "unauthenticated")
