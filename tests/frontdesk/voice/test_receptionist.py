"""The model names a destination; code turns it into a number, and into no other than those of the directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from livekit.agents import ToolError

from frontdesk.business.profile import Profile, read_profile
from frontdesk.voice.call_state import CallState
from frontdesk.voice.outbound import StoredTrunk
from frontdesk.voice.receptionist import FrontDeskAgent
from frontdesk.voice.recording import Recording

PROFILE = read_profile(Path(__file__).resolve().parents[3] / "frontdesk.toml")


def front_desk(profile: Profile = PROFILE, outbound: Any = None) -> FrontDeskAgent:
    return FrontDeskAgent(CallState(profile, outbound, Recording(False, Path("/nowhere"))))


async def test_the_model_can_name_the_directory_s_keys_and_sees_no_number() -> None:
    agent = front_desk()
    (tool,) = agent.tools
    schema: dict[str, Any] = tool.info.raw_schema  # type: ignore[union-attr]
    assert schema["parameters"]["properties"]["destination"]["enum"] == ["billing", "sales", "support"]
    assert "+1202" not in str(schema)
    assert "+1202" not in str(agent.instructions)


@pytest.mark.parametrize("asked", ["+19005550199", "the president", "", "billing "])
async def test_what_is_not_in_the_directory_is_never_dialled(asked: str) -> None:
    outbound = MagicMock(spec=StoredTrunk)
    context = MagicMock()
    context.session.say = AsyncMock()
    with pytest.raises(ToolError, match="Use one of: billing, sales, support"):
        await front_desk(outbound=outbound).transfer_to_human(asked, "a bill", context)
    outbound.transfer.assert_not_called()


async def test_the_console_calls_nobody_and_says_so() -> None:
    context = MagicMock()
    context.session.say = AsyncMock()
    with pytest.raises(ToolError, match="not on a telephone"):
        await front_desk(outbound=None).transfer_to_human("billing", "a bill", context)
    context.session.say.assert_not_called()
