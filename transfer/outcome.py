"""How a transfer ends: connected, or one of the reasons why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from livekit import api
from livekit.agents import ToolError

from transfer import prompts
from transfer.transcript import Said


class TransferReason(StrEnum):
    """Why a transfer failed. Its text for the model stands in `prompts/instructions/failures.toml`."""

    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED_BY_PHONE = "declined_by_phone"
    UNREACHABLE = "unreachable"
    WRONG_NUMBER = "wrong_number"
    TRUNK_ERROR = "trunk_error"
    VOICEMAIL = "voicemail"
    PHONE_MENU = "phone_menu"
    NOBODY_SPOKE = "nobody_spoke"
    DECLINED = "declined"
    HUMAN_HUNG_UP = "human_hung_up"
    CONSULT_DEADLINE = "consult_deadline"
    HOLD_LIMIT = "hold_limit"
    TAKEN = "taken"
    CALLER_HUNG_UP = "caller_hung_up"
    CALLER_CANCELLED = "caller_cancelled"
    BRIDGE_FAILED = "bridge_failed"
    WORKER_STOPPING = "worker_stopping"
    FAILED = "failed"


@dataclass(frozen=True)
class AttemptRecord:
    """Outcome of dialling one destination."""

    destination: str
    """Its name; without one, its number or URI with most digits of a number taken out."""
    reason: TransferReason | None
    """Why it failed; None: the human was connected."""
    sip_status_code: int | None
    sip_status: str | None
    seconds: dict[str, float]
    """Time spent in each phase."""
    transcript: list[Said] = field(default_factory=list)
    """What was said in its consult."""


@dataclass
class WarmTransferResult:
    """A transfer that connected the two."""

    human_agent_identity: str
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent in each phase of the attempt that was connected; `hold`: all the time on hold."""
    call_reason: str = ""
    """Why the caller needs a person; empty where none was given."""
    attempts: list[AttemptRecord] = field(default_factory=list)
    """Every dial, in the order in which they began."""
    bridge: str = ""
    """How the two were connected: "move", "relay/packet" or "relay/sdk"."""
    bridge_reason: str = ""
    """Why this kind was used."""
    ended_by: str = ""
    """Who hung up first, "caller" or "human", where `after_bridge` is "return"."""


class WarmTransferError(ToolError):
    """A transfer that failed. Its message tells the model what happened; the agent itself decides what to offer next."""

    def __init__(
        self,
        reason: TransferReason,
        detail: str = "",
        *,
        sip_status_code: int | None = None,
        sip_status: str | None = None,
    ) -> None:
        super().__init__(prompts.instruction(f"failures.{reason}", detail=detail))
        self.reason = reason
        self.detail = detail
        self.sip_status_code = sip_status_code
        self.sip_status = sip_status
        self.seconds: dict[str, float] = {}
        """Time spent in each phase of the last attempt; `hold`: all the time on hold."""
        self.call_reason = ""
        """Why the caller needs a person; empty where none was given."""
        self.attempts: list[AttemptRecord] = []
        """Every dial, in the order in which they began."""


_SIP_REASONS = {
    TransferReason.BUSY: (486, 600),
    TransferReason.NO_ANSWER: (408, 480, 487),
    TransferReason.DECLINED_BY_PHONE: (603, 607, 608),
    TransferReason.WRONG_NUMBER: (404, 410, 484, 485, 604),
}
"""Answers of a telephone, or of the network on its behalf, about the person called (RFC 3261, 8197, 8688)."""
_ABOUT_THE_LINE = frozenset({*range(400, 500), *range(500, 600), 606})
"""Every other refusal is about us: credentials (401, 407), a caller ID or country that is not allowed (403), a codec
(488), a provider that is full or out of order (503). The colleague has not heard of the call."""


def from_sip_status(status: int) -> TransferReason:
    """Why a call failed, by the final SIP status of its INVITE."""
    for reason, codes in _SIP_REASONS.items():
        if status in codes:
            return reason
    return TransferReason.TRUNK_ERROR if status in _ABOUT_THE_LINE else TransferReason.UNREACHABLE


GO_ON_AFTER = frozenset(
    {
        TransferReason.BUSY,
        TransferReason.NO_ANSWER,
        TransferReason.DECLINED_BY_PHONE,
        TransferReason.UNREACHABLE,
        TransferReason.WRONG_NUMBER,
        TransferReason.TRUNK_ERROR,
        TransferReason.VOICEMAIL,
        TransferReason.PHONE_MENU,
        TransferReason.NOBODY_SPOKE,
        TransferReason.DECLINED,
        TransferReason.HUMAN_HUNG_UP,
        TransferReason.CONSULT_DEADLINE,
    }
)
"""Failures after which the next destination is tried, unless `go_on_after` says otherwise."""


def from_dial_error(error: Exception) -> WarmTransferError:
    """The outcome that a failure of CreateSIPParticipant means.

    The SIP status tells the refusals apart; a ringing timeout is `canceled` and has none, nor has a trunk that does not
    exist (seen on livekit-server 1.13.4 with livekit-sip).
    """
    if isinstance(error, api.SipCallError) and error.sip_status_code:
        status = int(error.sip_status_code)
        return WarmTransferError(from_sip_status(status), sip_status_code=status, sip_status=error.sip_status)
    if isinstance(error, api.TwirpError):
        if error.code in ("canceled", "deadline_exceeded"):
            return WarmTransferError(TransferReason.NO_ANSWER)
        # "failed_precondition": a trunk without numbers or with wrong credentials (livekit-sip be5d3f5); that of December 2025
        # says "unknown" to the latter, and its words alone tell.
        if error.code in (
            "not_found",
            "invalid_argument",
            "unauthenticated",
            "permission_denied",
            "failed_precondition",
        ) or ("auth required" in error.message):
            return WarmTransferError(TransferReason.TRUNK_ERROR, error.message)
        return WarmTransferError(TransferReason.UNREACHABLE, error.message)
    if isinstance(error, TimeoutError):
        return WarmTransferError(TransferReason.NO_ANSWER)
    return WarmTransferError(TransferReason.UNREACHABLE, type(error).__name__)


def is_busy_service(error: Exception) -> bool:
    """True for a SIP service that has no room right now: worth one more try, under another identity."""
    return (
        isinstance(error, api.TwirpError)
        and not isinstance(error, api.SipCallError)
        and any(words in error.message for words in ("cpu exhausted", "could not connect after timeout"))
    )
