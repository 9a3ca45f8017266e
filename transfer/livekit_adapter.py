"""Parts of LiveKit Agents that the transfer needs and no public name gives. `test_livekit_adapter.py` fails when it changes."""

from __future__ import annotations

from livekit.agents import JobContext


def server_url(job: JobContext) -> str:
    """The address of the server that this job runs on; LIVEKIT_URL may name another one of the same project."""
    return str(job._info.url)
