"""Private names of LiveKit that the front desk leans on: this fails, loudly, when an update takes one away."""

from __future__ import annotations

import inspect

from livekit.agents import AgentSession
from livekit.agents.voice.recorder_io import RecorderIO


def test_a_session_has_its_recorder_and_that_can_be_closed_early() -> None:
    assert "self._recorder_io: RecorderIO | None = None" in inspect.getsource(AgentSession.__init__)
    assert isinstance(inspect.getattr_static(RecorderIO, "recording"), property)
    assert inspect.iscoroutinefunction(RecorderIO.aclose)
    assert "if not self._started:\n                return" in inspect.getsource(
        RecorderIO.aclose
    )  # a second time is nothing
