"""The front desk's offers after a failed transfer: its own policy, and only offers that it can keep."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from transfer import TransferReason, prompts, proofreading

FILE = "instructions/offers.toml"
SAYS_NOTHING = frozenset({TransferReason.TAKEN, TransferReason.CALLER_HUNG_UP})
"""Reasons after which no caller is left to offer anything to."""
NEEDS_ANOTHER = "somebody_else"
"""The offer that makes sense only where there is a second colleague."""


def policy() -> dict[str, Any]:
    """The file's two tables: `offers` by name (`text`, and `tool` where one is needed), `after` by reason."""
    return prompts.instruction_table("offers")


def offer_problems(folder: Path = prompts.FOLDER) -> list[str]:
    """Problems of the file, a line each."""
    table, unreadable = proofreading.read_table(folder / FILE)
    if unreadable:
        return unreadable
    offers, after = _tables(table, "offers"), _tables(table, "after")
    found = [f"offers.{name} has no text: write what is offered" for name in offers if not _text(offers[name], "text")]
    found += [
        f"after.{reason} is missing: write what is told and offered then"
        for reason in TransferReason
        if reason not in SAYS_NOTHING and reason not in after
    ]
    for reason, step in after.items():
        if not _text(step, "tell"):
            found.append(f"after.{reason} has no tell: write what the caller is told then")
        offered = step.get("offers")
        if not isinstance(offered, list):
            found.append(f"after.{reason} has no offers: write a list of some of {', '.join(offers)}, or []")
            continue
        found += [
            f"after.{reason} offers {name!r}: write one of {', '.join(offers)}"
            for name in offered
            if name not in offers
        ]
    return [f"prompts/{FILE}: {problem}" for problem in found]


def _tables(table: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """The tables under the key; a value that is no table counts as empty."""
    below = table.get(key)
    if not isinstance(below, dict):
        return {}
    return {name: value if isinstance(value, dict) else {} for name, value in below.items()}


def _text(table: dict[str, Any], key: str) -> str:
    return text if isinstance(text := table.get(key), str) else ""


def next_step(reason: TransferReason, tools: Collection[str], colleagues: int) -> str:
    """The model's instruction for now. `tools`: those that it has; `colleagues`: the number that can be called."""
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
