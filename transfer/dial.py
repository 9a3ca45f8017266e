"""Dials the human agent into the consult room, and says what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from livekit import api
from livekit.agents import JobContext

from transfer.consult import Consult
from transfer.outcome import from_dial_error
from transfer.server_api import API_ERRORS

API_GRACE = 5.0
"""Seconds beyond the ringing timeout that the server has to answer our request; it answers at once when the time is over."""
DEFAULT_RINGING = 80.0
"""Seconds that livekit-sip rings when it is told no limit."""
STATUS_GRACE = 2.0
"""Seconds that the call status may lag behind the server's answer."""


@dataclass(frozen=True)
class Destination:
    """Whom to dial."""

    sip_call_to: str
    """A number, or a SIP URI."""
    name: str = ""
    """For events and reports; what a person calls it, such as "billing"."""
    dtmf: str = ""
    """Keys to send after the answer, such as an extension; `w` waits half a second."""
    ringing_timeout: float | None = None
    """Seconds until a phone that nobody answers is given up; None: the server's limit."""

    @property
    def label(self) -> str:
        return self.name or self.sip_call_to


class Origination(Protocol):
    """A way out to the telephone network."""

    async def dial(self, job: JobContext, destination: Destination, consult: Consult) -> None:
        """Returns when the phone has been picked up. WarmTransferError tells why it was not."""


@dataclass(frozen=True)
class Line:
    """A SIP trunk, stored or inline, and what is sent with each INVITE."""

    trunk_id: str | None = None
    connection: api.SIPOutboundConfig | None = None
    number: str = ""
    """The caller ID; empty: the trunk's."""
    headers: dict[str, str] = field(default_factory=dict)

    async def dial(self, job: JobContext, destination: Destination, consult: Consult) -> None:
        """Cancelling it does not stop a phone that rings: closing the consult does."""
        request = api.CreateSIPParticipantRequest(
            sip_trunk_id=self.trunk_id or "",
            sip_call_to=destination.sip_call_to,
            sip_number=self.number,
            room_name=consult.room_name,
            participant_identity=consult.human_identity,
            wait_until_answered=True,
            headers=self.headers,
            dtmf=destination.dtmf,
        )
        if destination.ringing_timeout is not None:
            request.ringing_timeout.FromMilliseconds(int(destination.ringing_timeout * 1000))
        if self.connection is not None:
            request.trunk.CopyFrom(self.connection)
        limit = (destination.ringing_timeout or DEFAULT_RINGING) + API_GRACE
        try:
            async with asyncio.timeout(limit):
                await consult.create_room()
                await job.api.sip.create_sip_participant(request, timeout=limit)
        except API_ERRORS as error:
            raise from_dial_error(error) from error
        # Our own connection to the room may still be on its way; the server's answer is enough then.
        try:
            async with asyncio.timeout(STATUS_GRACE):
                await consult.human_active.wait()
        except TimeoutError:
            consult.human_active.set()
