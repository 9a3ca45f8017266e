"""Dials the human agent into the consult room, and reports the outcome."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Protocol

from livekit import api
from livekit.agents import JobContext

from transfer.consult import Consult
from transfer.masking import mask
from transfer.outcome import TransferReason, from_dial_error
from transfer.server_api import API_ERRORS
from transfer.target import Target

logger = logging.getLogger("transfer")

API_GRACE = 5.0
"""Seconds beyond the ringing timeout that the server has to answer our request; it answers at once when the time is over."""
DEFAULT_RINGING = 80.0
"""Seconds that livekit-sip rings without a given limit."""
CALLER_NAME = "front-desk"
"""Caller ID where none is given and the trunk is inline: such a trunk has no number of its own, and the server dials
nobody without one ("no numbers on outbound trunk")."""
KIND = "phone: "
"""Label before a number that is to be masked: seven digits without a label would stay."""
STATUS_GRACE = 2.0
"""Seconds that the call status may lag behind the server's answer."""


@dataclass(frozen=True)
class Destination:
    """Whom to dial."""

    sip_call_to: str
    """A number, an extension behind the trunk, or a SIP URI: that is dialled over an inline trunk to its host."""
    name: str = ""
    """For events and reports; the name that people use, such as "billing"."""
    dtmf: str = ""
    """Keys to send after the answer, such as an extension; `w` waits half a second."""
    ringing_timeout: float | None = None
    """Seconds until a phone that nobody answers is given up; None: the server's limit."""
    person_timeout: float | None = None
    """Seconds from pick-up until a person speaks: a queue may play music for minutes. None: until the consult's deadline,
    which otherwise begins when the person is there."""

    @property
    def label(self) -> str:
        """The name; without one, the target without a whole number: events, spans and records are kept."""
        return self.name or mask(f"{KIND}{self.sip_call_to}").removeprefix(KIND)


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
        target = Target.parse(destination.sip_call_to)
        request = api.CreateSIPParticipantRequest(
            sip_trunk_id="" if target.host else self.trunk_id or "",
            sip_call_to=target.user,
            sip_number=self.number or (CALLER_NAME if target.host or self.connection else ""),
            room_name=consult.room_name,
            participant_identity=consult.human_identity,
            wait_until_answered=True,
            headers=self.headers,
            dtmf=destination.dtmf,
        )
        if destination.ringing_timeout is not None:
            request.ringing_timeout.FromMilliseconds(int(destination.ringing_timeout * 1000))
        if target.host:
            request.trunk.CopyFrom(target.connection(self.connection))
        elif self.connection is not None:
            request.trunk.CopyFrom(self.connection)
        limit = (destination.ringing_timeout or DEFAULT_RINGING) + API_GRACE
        try:
            async with asyncio.timeout(limit):
                await consult.create_room()
                await job.api.sip.create_sip_participant(request, timeout=limit)
        except API_ERRORS as error:
            failure = from_dial_error(error)
            if failure.reason is TransferReason.TRUNK_ERROR:  # the caller hears that; the owner has to mend it
                status = (
                    f"SIP {failure.sip_status_code} {failure.sip_status}" if failure.sip_status_code else failure.detail
                )
                logger.error("the telephone line for transfers refused a call: %s", mask(status))
            raise failure from error
        # Our own connection to the room may still be under way; the server's answer is enough then.
        try:
            async with asyncio.timeout(STATUS_GRACE):
                await consult.human_active.wait()
        except TimeoutError:
            consult.human_active.set()
