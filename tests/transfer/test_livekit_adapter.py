"""Private names of LiveKit that the transfer leans on: this fails, loudly, when an update takes one away."""

from __future__ import annotations

import inspect

from livekit.agents import JobContext
from livekit.agents.job import RunningJobInfo


def test_a_job_knows_the_address_of_its_server() -> None:
    assert "url" in RunningJobInfo.__dataclass_fields__
    assert "self._info = info" in inspect.getsource(JobContext.__init__)
