"""The texts of the front desk under `prompts/frontdesk/`, and what is filled into each."""

from __future__ import annotations

from frontdesk.offers import offer_problems
from transfer import prompts
from transfer.outcome import TransferReason

TEXTS = {
    f"frontdesk/{name}": frozenset(values.split())
    for name, values in {
        "anything_else.txt": "",
        "apology.txt": "",
        "before_transfer.txt": "name",
        "greeting.txt": "business",
        "introduction.txt": "",
        "offers.toml": "",
        "receptionist.txt": "business facts directory",
        "recorded.txt": "",
        "recording_ended.txt": "",
    }.items()
}


def text_problems() -> list[str]:
    """What is wrong with the texts of front desk and transfer, a line each."""
    found = prompts.problems({**prompts.TEXTS, **TEXTS})
    if not found and (missing := sorted({reason.value for reason in TransferReason} - set(prompts.failure_texts()))):
        found.append(f"prompts/transfer/failures.toml: has no text for {', '.join(missing)}: write one")
    return found or offer_problems()
