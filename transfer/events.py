"""Events of a transfer, as they happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from transfer.outcome import TransferReason
from transfer.transcript import Said


class Phase(StrEnum):
    """Where a transfer is. `bridged` and `failed` end it; after `attempt_failed` another destination is tried."""

    HOLD = "hold"
    DIAL = "dial"
    RINGING = "ringing"
    ANSWERED = "answered"
    BRIEF = "brief"
    BRIDGE = "bridge"
    BRIDGED = "bridged"
    ATTEMPT_FAILED = "attempt_failed"
    FAILED = "failed"


@dataclass(frozen=True)
class TransferEvent:
    """One change of phase."""

    transfer: str
    """Names the transfer in logs; random."""
    phase: Phase
    at: float
    """`time.monotonic()` in seconds."""
    attempt: int
    """Counts the dials of this transfer, from 1; 0 before the first."""
    destination: str = ""
    """Of the attempt: its name; without one, its number or URI with most digits of a number taken out."""
    consult_room: str = ""
    """Name of the attempt's consult room."""
    human_identity: str = ""
    """Identity of the human in that room."""
    call_reason: str = ""
    """Why the caller needs a person; empty where none was given."""
    reason: TransferReason | None = None
    """Why the attempt or the transfer failed, when it did."""
    transcript: tuple[Said, ...] = ()
    """What has been said in the attempt's consult up to now."""
    bridge: str = ""
    """Of `bridged`: "move", "relay/packet" or "relay/sdk"."""
    bridge_reason: str = ""
    """Why this kind was used."""


EventListener = Callable[[TransferEvent], None]
"""Its exceptions are logged, and change nothing for the transfer."""
