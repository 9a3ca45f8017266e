"""The front desk's texts for models and callers: its keys under `prompts/`, and the check of all texts at start."""

from __future__ import annotations

from pathlib import Path

from frontdesk.voice.offers import offer_problems
from transfer import prompts, proofreading

INSTRUCTIONS = {
    **proofreading.INSTRUCTIONS,
    "receptionist": "business? language facts directory",
    "tools.transfer_to_human.description": "",
    "tools.transfer_to_human.destination": "directory",
    "tools.transfer_to_human.reason": "",
    "tools.transfer_to_human.unknown_destination": "destination known",
    "tools.transfer_to_human.no_telephone": "",
}
"""Keys, the transfer's included, each with the values that are filled in; values with ? may be left out."""
SENTENCES = {
    **proofreading.SENTENCES,
    "frontdesk.anything_else": "",
    "frontdesk.apology": "",
    "frontdesk.before_transfer": "name?",
    "frontdesk.greeting": "business?",
    "frontdesk.introduction": "",
    "frontdesk.recorded": "",
    "frontdesk.recording_ended": "",
}


def text_problems(folder: Path = prompts.FOLDER) -> list[str]:
    """Problems of the texts of front desk and transfer, a line each: file, key, and what to write."""
    return [*proofreading.problems(INSTRUCTIONS, SENTENCES, folder), *offer_problems(folder)]
