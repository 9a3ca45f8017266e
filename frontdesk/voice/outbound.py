"""The way out to the telephone network over which colleagues are called, as the settings name it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from livekit import api

from transfer import TwilioConnectorWarmTransferTask, WarmTransferTask


@dataclass(frozen=True)
class StoredTrunk:
    """An outbound trunk that the LiveKit server knows by its id."""

    trunk_id: str
    number: str
    """Caller ID; empty: the trunk's."""

    def describe(self) -> str:
        return f"the stored trunk {self.trunk_id} (LIVEKIT_SIP_OUTBOUND_TRUNK)"

    def transfer(self, number: str, **options: Any) -> WarmTransferTask:
        return WarmTransferTask(number, sip_trunk_id=self.trunk_id, sip_number=self.number, **options)


@dataclass(frozen=True)
class InlineTrunk:
    """A trunk that is stored nowhere: host and credentials go with each call."""

    hostname: str
    username: str
    password: str = field(repr=False)
    number: str
    """Caller ID; empty: a name."""

    def describe(self) -> str:
        caller = "" if self.number else "; colleagues see no number, most providers want one: set LIVEKIT_SIP_NUMBER"
        return f"an inline trunk to {self.hostname} (SIP_TRUNK_HOSTNAME){caller}"

    def transfer(self, number: str, **options: Any) -> WarmTransferTask:
        connection = api.SIPOutboundConfig(
            hostname=self.hostname, auth_username=self.username, auth_password=self.password
        )
        return WarmTransferTask(number, sip_connection=connection, sip_number=self.number, **options)


@dataclass(frozen=True)
class TwilioConnector:
    """Twilio dials, and LiveKit's connector brings the voice: no trunk at all."""

    account: str
    number: str
    """The account's number, which colleagues see."""

    def describe(self) -> str:
        return f"Twilio's connector, account {self.account[:4]}… (TWILIO_ACCOUNT_SID)"

    def transfer(self, number: str, **options: Any) -> WarmTransferTask:
        options.pop("dtmf", None)  # the connector sends no keys; the worker says so at start
        return TwilioConnectorWarmTransferTask(number, twilio_from_number=self.number, **options)


Outbound = StoredTrunk | InlineTrunk | TwilioConnector
