"""The state of a call from its first moment: the `userdata` of its session, for every agent and tool of the call."""

from __future__ import annotations

from dataclasses import dataclass

from frontdesk.business.profile import Profile
from frontdesk.voice.outbound import Outbound
from frontdesk.voice.recording import Recording


@dataclass
class CallState:
    profile: Profile
    outbound: Outbound | None
    """How colleagues are called; None in the console, which can call nobody."""
    recording: Recording
