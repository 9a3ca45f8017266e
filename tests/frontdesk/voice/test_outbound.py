"""Each way out makes the transfer that goes over it."""

from __future__ import annotations

import pytest

from frontdesk.voice.outbound import InlineTrunk, StoredTrunk, TwilioConnector
from transfer import TwilioConnectorWarmTransferTask, WarmTransferTask
from transfer.dial import Line


@pytest.fixture(autouse=True)
async def loop() -> None:
    """A task holds futures: it is made inside a running event loop, as in a tool."""


def line(task: WarmTransferTask) -> Line:
    found = task._options.line
    assert isinstance(found, Line)
    return found


async def test_a_stored_trunk_goes_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_SIP_OUTBOUND_TRUNK", "ST_of_somebody_else")
    task = StoredTrunk("ST_1", "+12025550100").transfer("+12025550141", dtmf="1", person_timeout=60)
    assert (line(task).trunk_id, line(task).connection, line(task).number) == ("ST_1", None, "+12025550100")
    assert (task._destinations[0].dtmf, task._destinations[0].person_timeout) == ("1", 60)


async def test_an_inline_trunk_goes_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_SIP_OUTBOUND_TRUNK", "ST_of_somebody_else")
    found = line(InlineTrunk("sip.example.com", "u", "p", "+12025550100").transfer("500"))
    assert found.trunk_id is None and found.connection
    assert (found.connection.hostname, found.connection.auth_username, found.connection.auth_password) == (
        "sip.example.com",
        "u",
        "p",
    )


async def test_twilio_s_connector_needs_no_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC1")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "token")
    task = TwilioConnector("AC1", "+12025550100").transfer("+12025550141", dtmf=None, person_timeout=None)
    assert isinstance(task, TwilioConnectorWarmTransferTask)
    assert task._twilio_line.number == "+12025550100"
