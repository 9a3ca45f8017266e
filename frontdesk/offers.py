"""What the front desk offers after a transfer that failed: its own policy, and only what it can do."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from functools import cache
from typing import Any

from transfer import TransferReason, prompts

FILE = "frontdesk/offers.toml"
SAYS_NOTHING = frozenset({TransferReason.TAKEN, TransferReason.CALLER_HUNG_UP})
"""After these there is nobody to offer anything to."""
NEEDS_ANOTHER = "somebody_else"
"""The offer that makes sense only where there is a second colleague."""


@cache
def policy() -> dict[str, Any]:
    """The file's two tables: `offers` by name (`text`, and `tool` where one is needed), `after` by reason."""
    return tomllib.loads(prompts.read(FILE))


def offer_problems() -> list[str]:
    """What is wrong with the file, a line each."""
    offers, after = policy().get("offers", {}), policy().get("after", {})
    missing = [reason.value for reason in TransferReason if reason not in SAYS_NOTHING and reason.value not in after]
    found = [f"prompts/{FILE}: after.{reason} is missing: write what is told and offered then" for reason in missing]
    for reason, step in after.items():
        found += [
            f"prompts/{FILE}: after.{reason} offers {name!r}: write one of {', '.join(offers)}"
            for name in step.get("offers", [])
            if name not in offers
        ]
    return found


def next_step(reason: TransferReason, tools: Collection[str], colleagues: int) -> str:
    """What the model is told to do now. `tools` are those that it has, `colleagues` how many can be called."""
    after = policy()["after"].get(reason.value)
    if after is None:
        return ""
    offered = [
        offer["text"]
        for name in after["offers"]
        for offer in [policy()["offers"][name]]
        if offer.get("tool", "") in {"", *tools} and (name != NEEDS_ANOTHER or colleagues > 1)
    ]
    return f"{after['tell']} Offer {', or '.join(offered)}." if offered else str(after["tell"])
