"""Changing the import is all that moves an existing agent over: names, defaults, environment and errors are the stock task's."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from livekit import api
from livekit.agents import BuiltinAudioClip, ToolError, function_tool
from livekit.agents.beta.workflows import WarmTransferTask as StockTask
from livekit.agents.beta.workflows.warm_transfer import TwilioConnectorWarmTransferTask as StockTwilioTask

from transfer import (
    Destination,
    TransferReason,
    TwilioConnectorWarmTransferTask,
    WarmTransferError,
    WarmTransferResult,
    WarmTransferTask,
)
from transfer.consult import ConsultAgent
from transfer.dial import Line
from transfer.task import DialOrder
from transfer.twilio import SIP_ONLY


@pytest.fixture(autouse=True)
async def loop() -> None:
    """A task holds futures: it is made inside a running event loop, as in a tool."""


@pytest.fixture(autouse=True)
def no_trunk_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIVEKIT_SIP_OUTBOUND_TRUNK", raising=False)
    monkeypatch.delenv("LIVEKIT_SIP_NUMBER", raising=False)


def test_every_parameter_of_the_stock_task_is_there_with_its_default() -> None:
    ours = inspect.signature(WarmTransferTask.__init__).parameters
    for name, stock in inspect.signature(StockTask.__init__).parameters.items():
        assert name in ours, f"{name} is missing"
        assert ours[name].kind == stock.kind, name
        assert repr(ours[name].default) == repr(stock.default), name


async def test_the_consult_has_the_tools_of_the_stock_task() -> None:
    agent = ConsultAgent(on_hello=lambda: None, on_words=lambda: None, tools=[], instructions="")
    stock = {
        name for name in ("connect_to_caller", "decline_transfer", "voicemail_detected") if hasattr(StockTask, name)
    }
    assert {tool.info.name for tool in agent.tools} >= stock  # type: ignore[union-attr]
    assert len(stock) == 3


async def test_a_tool_of_the_user_takes_the_place_of_ours_of_that_name() -> None:
    @function_tool
    async def decline_transfer() -> None:
        """The user's own."""

    agent = ConsultAgent(on_hello=lambda: None, on_words=lambda: None, tools=[decline_transfer], instructions="")
    assert [tool for tool in agent.tools if tool.id == "decline_transfer"] == [decline_transfer]
    assert {tool.id for tool in agent.tools} == {"connect_to_caller", "decline_transfer", "voicemail_detected"}


async def test_nothing_that_the_caller_says_or_types_reaches_a_consult_tool() -> None:
    @function_tool
    async def look_up() -> None:
        """The user's own."""

    task = WarmTransferTask(sip_call_to="+15105550123", sip_trunk_id="ST_1", tools=[look_up])
    assert task.tools == []


async def test_a_task_needs_a_target() -> None:
    with pytest.raises(ValueError, match="`sip_call_to` must be set"):
        WarmTransferTask(sip_trunk_id="ST_1")


async def test_a_task_needs_a_trunk_or_a_connection() -> None:
    with pytest.raises(ValueError, match="`LIVEKIT_SIP_OUTBOUND_TRUNK` environment variable, `sip_trunk_id`"):
        WarmTransferTask(sip_call_to="+15105550123")


async def test_the_trunk_comes_from_the_environment_unless_a_connection_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVEKIT_SIP_OUTBOUND_TRUNK", "ST_env")
    monkeypatch.setenv("LIVEKIT_SIP_NUMBER", "+15550100")
    by_environment = WarmTransferTask(sip_call_to="+15105550123")._options.line
    assert isinstance(by_environment, Line)
    assert (by_environment.trunk_id, by_environment.number) == ("ST_env", "+15550100")
    inline = WarmTransferTask(
        sip_call_to="+15105550123", sip_connection=api.SIPOutboundConfig(hostname="h")
    )._options.line
    assert isinstance(inline, Line) and inline.trunk_id is None
    assert inline.connection is not None and inline.connection.hostname == "h"


@pytest.mark.parametrize(("order", "several", "one"), [("in_order", True, True), ("all_at_once", False, True)])
async def test_relay_joins_ahead_unless_several_are_asked_at_once(order: DialOrder, several: bool, one: bool) -> None:
    both = [Destination("+15105550123"), Destination("+15105550124")]
    for destinations, joins_ahead in ((both, several), (both[:1], one)):
        task = WarmTransferTask(destinations=destinations, dial_order=order, sip_trunk_id="ST_1")
        assert task._options.joins_ahead is joins_ahead


async def test_the_old_name_of_the_target_still_works() -> None:
    assert (
        WarmTransferTask(target_phone_number="+15105550123", sip_trunk_id="ST_1")._destinations[0].sip_call_to
        == "+15105550123"
    )


async def test_failures_are_tool_errors_and_the_result_names_the_human() -> None:
    assert issubclass(WarmTransferError, ToolError)
    assert WarmTransferResult("human").human_agent_identity == "human"


async def test_hold_audio_can_be_left_out_and_is_the_stock_music_otherwise() -> None:
    quiet = WarmTransferTask(sip_call_to="+15105550123", sip_trunk_id="ST_1", hold_audio=None)
    assert (quiet._default_hold_audio, quiet._hold_audio) == (False, None)
    assert WarmTransferTask(sip_call_to="+15105550123", sip_trunk_id="ST_1")._default_hold_audio
    assert BuiltinAudioClip.HOLD_MUSIC.path().endswith("hold_music.ogg")


async def test_a_task_completed_from_outside_is_told_to_its_run() -> None:
    task = WarmTransferTask(sip_call_to="+15105550123", sip_trunk_id="ST_1")
    task.complete(ToolError("enough"))
    assert task._stopped.result() is TransferReason.FAILED
    await asyncio.sleep(0)


def test_every_parameter_of_the_stock_connector_task_is_taken() -> None:
    ours = inspect.signature(TwilioConnectorWarmTransferTask.__init__).parameters
    others = inspect.signature(WarmTransferTask.__init__).parameters.keys() - SIP_ONLY
    for name, stock in inspect.signature(StockTwilioTask.__init__).parameters.items():
        assert name in ours or name in others, f"{name} is missing"
        if name in ours:
            assert repr(ours[name].default) == repr(stock.default), name


async def test_the_connector_task_needs_credentials_and_a_number_for_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="TWILIO_ACCOUNT_SID"):
        TwilioConnectorWarmTransferTask("+15105550123", twilio_from_number="+15550100")
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC1")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    with pytest.raises(ValueError, match="original_caller_number"):
        TwilioConnectorWarmTransferTask("+15105550123", twilio_from_number="+15550100", twilio_call_token="t")
    with pytest.raises(ValueError, match="sip_headers"):
        TwilioConnectorWarmTransferTask("+15105550123", twilio_from_number="+15550100", sip_headers={})
    task = TwilioConnectorWarmTransferTask("+15105550123", twilio_from_number="+15550100")
    assert "secret" not in repr(task._options)
