"""A number, an extension, a SIP URI: each is handed to the server in the way in which it dials it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api

from transfer import Destination, Target, TransferReason, WarmTransferError, WarmTransferTask
from transfer.consult import Consult
from transfer.dial import CALLER_NAME, Line

SIP = api.SIPOutboundConfig


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("+15105550123", Target("+15105550123")),
        ("tel:+15105550123", Target("+15105550123")),
        ("1001", Target("1001")),
        ("sip:1001", Target("1001")),
        ("sip:sarah@pbx.example.com", Target("sarah", "pbx.example.com")),
        ("sarah@pbx.example.com", Target("sarah", "pbx.example.com")),
        ("SIP:+49301234567@10.0.0.7:5080", Target("+49301234567", "10.0.0.7:5080")),
        ("sip:500@[2001:db8::1]:5060", Target("500", "[2001:db8::1]:5060")),
        ("sip:500@pbx;transport=TCP;user=phone", Target("500", "pbx", "tcp")),
        ("sips:500@pbx", Target("500", "pbx", "tls")),
        ("sip:500@pbx?Subject=hello", Target("500", "pbx")),
    ],
)
def test_the_server_gets_a_user_and_the_host_apart(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert "@" not in target.user


@pytest.mark.parametrize("text", ["sip:@host", "sarah@", "sip:sarah:secret@host", "sip:a@b@c", "sip:sa rah@host"])
async def test_a_uri_that_cannot_be_dialled_is_found_when_the_task_is_made(text: str) -> None:
    with pytest.raises(ValueError, match="sip:user@host"):
        WarmTransferTask(text, sip_trunk_id="ST_1")


async def dialled(line: Line, call_to: str) -> api.CreateSIPParticipantRequest:
    """The request that the server gets."""
    seen: list[api.CreateSIPParticipantRequest] = []

    async def create(request: api.CreateSIPParticipantRequest, *, timeout: float) -> None:
        seen.append(request)

    async def nothing() -> None: ...

    picked_up = SimpleNamespace(wait=nothing)
    consult: Any = SimpleNamespace(
        create_room=nothing, room_name="consult", human_identity="human", human_active=picked_up
    )
    job: Any = SimpleNamespace(api=SimpleNamespace(sip=SimpleNamespace(create_sip_participant=create)))
    await line.dial(job, Destination(call_to), cast(Consult, consult))
    return seen[0]


async def test_a_number_or_an_extension_goes_over_the_trunk() -> None:
    for call_to in ("+15105550123", "500"):
        request = await dialled(Line(trunk_id="ST_1", number="+15105550100"), call_to)
        assert (request.sip_trunk_id, request.sip_call_to) == ("ST_1", call_to)
        assert not request.HasField("trunk")


async def test_a_uri_goes_to_its_host_whatever_the_trunk_is() -> None:
    request = await dialled(
        Line(trunk_id="ST_1", number="+15105550100"), "sip:sarah@pbx.example.com:5080;transport=tcp"
    )
    assert (request.sip_trunk_id, request.sip_call_to, request.sip_number) == ("", "sarah", "+15105550100")
    assert request.trunk.hostname == "pbx.example.com:5080"
    assert request.trunk.transport == SIP(transport="SIP_TRANSPORT_TCP").transport
    assert not request.trunk.auth_password


async def test_an_inline_trunk_without_a_caller_id_gets_one_since_the_server_dials_nobody_without() -> None:
    page = Line(connection=SIP(hostname="pbx.example.com"))
    assert (await dialled(page, "+15105550123")).sip_number == CALLER_NAME
    assert (await dialled(Line(trunk_id="ST_1"), "sip:sarah@pbx.example.com")).sip_number == CALLER_NAME
    assert (await dialled(Line(trunk_id="ST_1"), "+15105550123")).sip_number == ""


async def test_credentials_go_to_the_host_that_they_are_for_and_to_no_other() -> None:
    line = Line(connection=SIP(hostname="pbx.example.com", auth_username="u", auth_password="p"), number="+15105550100")
    same = await dialled(line, "sip:sarah@PBX.example.com:5070")
    assert (same.trunk.hostname, same.trunk.auth_username, same.trunk.auth_password) == (
        "PBX.example.com:5070",
        "u",
        "p",
    )
    other = await dialled(line, "sip:sarah@elsewhere.example.com")
    assert (other.trunk.hostname, other.trunk.auth_password) == ("elsewhere.example.com", "")
    assert (await dialled(line, "500")).trunk.hostname == "pbx.example.com"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("+15105550123", "+15…23"),
        ("tel:+15105550123", "tel:+15…23"),
        ("sip:+15105550123@pbx.example.com;transport=tcp", "sip:+15…23@pbx.example.com;transport=tcp"),
        ("5550123", "555…23"),
        ("02079460123", "020…23"),
        ("500", "500"),
        ("sip:sarah@pbx.example.com", "sip:sarah@pbx.example.com"),
    ],
)
def test_destination_is_told_by_its_name_and_without_one_by_no_whole_number(written: str, told: str) -> None:
    assert Destination(written).label == told
    assert Destination(written, "Sarah").label == "Sarah"


async def test_the_owner_finds_the_line_s_trouble_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        status = {"sip_status_code": "403", "sip_status": "Caller ID +15105550100 not allowed"}
        raise api.SipCallError("permission_denied", "words", status=403, metadata=status)

    async def nothing() -> None: ...

    consult: Any = SimpleNamespace(create_room=nothing, room_name="consult", human_identity="human")
    job: Any = SimpleNamespace(api=SimpleNamespace(sip=SimpleNamespace(create_sip_participant=refuse)))
    with caplog.at_level(logging.ERROR), pytest.raises(WarmTransferError) as caught:
        await Line(trunk_id="ST_1").dial(job, Destination("+15105550123"), consult)
    assert (caught.value.reason, caught.value.sip_status_code) == (TransferReason.TRUNK_ERROR, 403)
    assert "SIP 403 Caller ID" in caplog.text and "5105550100" not in caplog.text
