"""A warm transfer for any LiveKit agent: the caller holds, a human is dialled and briefed in private, then both talk.

    from transfer import WarmTransferTask

A drop-in for `livekit.agents.beta.workflows.WarmTransferTask` (1.8.9).
"""

from transfer.bridge import BridgeKind
from transfer.dial import Destination
from transfer.events import Phase, TransferEvent
from transfer.outcome import AttemptRecord, TransferReason, WarmTransferError, WarmTransferResult
from transfer.task import WarmTransferTask

__all__ = [
    "AttemptRecord",
    "BridgeKind",
    "Destination",
    "Phase",
    "TransferEvent",
    "TransferReason",
    "WarmTransferError",
    "WarmTransferResult",
    "WarmTransferTask",
]
