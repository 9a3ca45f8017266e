"""Whether a call kept the laws of the warm transfer, judged by its phones' sound and the leftovers on the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bench.desk import CLEAN_UP
from transfer.presence import RETURN_LIMIT

SILENCE = 2.0
"""Seconds: law 2."""
SPEAKS_AGAIN = 5.0
"""Seconds from a failure to the first word of the caller's agent: with two answers of a model and speech between."""
HEAR_EACH_OTHER = 3.0
"""Seconds from the outcome "connected" until the two hear each other."""

Ends = Literal["connected", "failed", "either"]


@dataclass
class Seen:
    """One call with a transfer in it. Times are seconds."""

    wanted: Ends
    reasons: frozenset[str] = frozenset()
    """Allowed reasons of a failure; empty: any."""
    transfers: int = 1
    """Number of transfers that the caller asked for."""
    came_about: bool = True
    """Whether the fault happened."""
    outcomes: list[str] = field(default_factory=list)
    """One for each transfer that ended: "connected", or the reason of the failure."""
    leaks: list[str] = field(default_factory=list)
    """Who heard the other before the bridge, or words that were not meant for them."""
    silence: float = 0.0
    """Longest stretch in which the caller on hold heard nothing."""
    heard_each_other: float | None = None
    """From the outcome on; None: never."""
    missed: float = 0.0
    """Longest stretch in which one of the two, once connected, did not hear the other."""
    may_miss: float | None = None
    """Most seconds of that; None: it was not measured."""
    spoke_again: float | None = None
    """From the failure to the first word of the caller's agent; None: never."""
    answered_again: bool = True
    """Whether that agent then heard the caller."""
    left_after_transfer: list[str] = field(default_factory=list)
    left_after_call: list[str] = field(default_factory=list)
    call_ended: float | None = None
    """From the last hang-up until no room and no leg was left; None: never."""
    gone: bool = False
    """True when one of the two has hung up: no more hearing or speech is due."""
    lost: bool = False
    """True when the fault takes the agent's connection away for longer than it can bridge."""
    mute: bool = False
    """True when the fault takes the agent's voice away."""


def broken(seen: Seen) -> list[str]:
    """The broken laws, one by one; empty: the transfer passes."""
    found = [] if seen.came_about else ["the fault did not come about"]
    found += [f"law 1, private: {leak}" for leak in seen.leaks]
    if seen.silence > SILENCE and not seen.lost:
        found.append(f"law 2, never silent: {seen.silence:.1f} s of silence")
    found += _outcome(seen)
    found += [f"law 4, nothing left over: {what}" for what in seen.left_after_transfer + seen.left_after_call]
    if seen.call_ended is None:
        found.append("law 4, nothing left over: the call never ended")
    elif seen.call_ended > CLEAN_UP + (RETURN_LIMIT if seen.lost else 0.0):
        found.append(f"law 4, nothing left over: the call ended after {seen.call_ended:.1f} s")
    return found


def _outcome(seen: Seen) -> list[str]:
    if len(seen.outcomes) != seen.transfers:
        return [f"law 3, one outcome: {len(seen.outcomes)} for {seen.transfers} transfer(s)"]
    connected = seen.outcomes[-1] == "connected"
    found = []
    if connected and seen.wanted == "failed":
        found.append("law 3, one outcome: connected, though it cannot be")
    if not connected and seen.wanted == "connected":
        found.append(f"law 3, one outcome: {seen.outcomes[-1]}, though it could be connected")
    if not connected and seen.reasons and seen.outcomes[-1] not in seen.reasons:
        found.append(f"law 3, one outcome: {seen.outcomes[-1]} instead of {' or '.join(sorted(seen.reasons))}")
    if seen.gone:
        return found
    if connected:
        if seen.heard_each_other is None or seen.heard_each_other > HEAR_EACH_OTHER:
            found.append("the two do not hear each other")
        elif seen.may_miss is not None and seen.missed > seen.may_miss:
            found.append(f"the two do not hear each other for {seen.missed:.1f} s")
    elif not seen.mute:
        if seen.spoke_again is None or seen.spoke_again > SPEAKS_AGAIN:
            found.append("the caller's agent does not speak again")
        elif not seen.answered_again:
            found.append("the caller's agent does not hear again")
    return found
