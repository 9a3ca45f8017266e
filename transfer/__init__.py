"""A warm transfer for any LiveKit agent: the caller holds, a human is dialled and briefed in private, then both talk.

    from transfer import WarmTransferTask

A drop-in for `livekit.agents.beta.workflows.WarmTransferTask` (1.8.9).
"""

from transfer.bridge import BridgeKind
from transfer.bridged import AfterBridge
from transfer.dial import Destination
from transfer.events import Phase, TransferEvent
from transfer.outcome import AttemptRecord, TransferReason, WarmTransferError, WarmTransferResult
from transfer.presence import Departures, present_in
from transfer.redaction import Redact, keep_all, redact
from transfer.server_api import delete_room
from transfer.target import Target
from transfer.task import WarmTransferTask
from transfer.twilio import TwilioConnectorWarmTransferTask

__all__ = [
    "AfterBridge",
    "AttemptRecord",
    "BridgeKind",
    "Departures",
    "Destination",
    "Phase",
    "Redact",
    "Target",
    "TransferEvent",
    "TransferReason",
    "TwilioConnectorWarmTransferTask",
    "WarmTransferError",
    "WarmTransferResult",
    "WarmTransferTask",
    "delete_room",
    "keep_all",
    "present_in",
    "redact",
]
