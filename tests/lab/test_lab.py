"""The lab as people and measurements get it."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from lab.lab import AGENT_NAME, CALLER, FRONT_DESK, Lab, LabSettings, wire
from lab.server import REAL_PACE, LabServer, Pace, ServerSettings
from lab.sip import PhoneExchange, SipGateway
from tests.lab.support import ScriptedWorker, server_api, until


def test_people_wait_as_long_as_on_the_real_server_and_tests_do_not() -> None:
    assert ServerSettings().pace == Pace(create_dispatch=0.0, offer=0.0, answer=0.0, track_of_the_called=0.0)
    assert LabSettings().pace == REAL_PACE
    assert Lab().server.settings.pace == REAL_PACE


async def test_the_front_desk_takes_the_calls_of_its_trunk_and_no_others() -> None:
    async with LabServer() as server, SipGateway(server) as gateway, PhoneExchange() as exchange:
        settings = server.settings
        await wire(server.http_url, settings.api_key, settings.api_secret, exchange.address, AGENT_NAME)
        async with server_api(server) as calls:
            (trunk,) = (await calls.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())).items
            (rule,) = (await calls.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items
            assert list(rule.trunk_ids) == [trunk.sip_trunk_id]
        phone = exchange.phone(CALLER)
        async with ScriptedWorker(server, AGENT_NAME) as worker:
            for stranger in ("+19990001234", "admin"):
                with pytest.raises(TimeoutError):
                    await phone.dial(f"sip:{stranger}@{gateway.address}", timeout=0.3)
            assert not server.rooms.all() and not worker.offers
            dialling = asyncio.create_task(phone.dial(f"sip:{FRONT_DESK}@{gateway.address}"))
            await until(lambda: worker.offers, "the front desk gets its call")
            phone.hang_up()
            await dialling
