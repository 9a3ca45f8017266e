"""The front desk offers only what it can do: every offer is compared with the tools that keep it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frontdesk.business.profile import read_profile
from frontdesk.voice.call_state import CallState
from frontdesk.voice.offers import SAYS_NOTHING, next_step, offer_problems, policy
from frontdesk.voice.receptionist import FrontDeskAgent
from frontdesk.voice.recording import Recording
from transfer import TransferReason, prompts

ROOT = Path(__file__).resolve().parents[3]
PROFILE = read_profile(ROOT / "frontdesk.toml")
PROMISES = re.compile(r"\b(take|leave) (a|your|their) message|\bcall (you|them) back|\bappointment", re.IGNORECASE)
"""What nobody can do yet."""


def tools() -> list[str]:
    agent = FrontDeskAgent(CallState(PROFILE, None, Recording(False, Path("/nowhere"))))
    return [tool.id for tool in agent.tools]


async def test_every_offer_has_the_tool_that_keeps_it() -> None:
    needed = {offer["tool"] for offer in policy()["offers"].values() if "tool" in offer}
    assert needed <= set(tools())


@pytest.mark.parametrize("reason", [reason for reason in TransferReason if reason not in SAYS_NOTHING])
def test_after_every_failure_the_model_is_told_what_to_do(reason: TransferReason) -> None:
    step = next_step(reason, ["transfer_to_human"], colleagues=2)
    assert step.endswith(".") and "{" not in step


def test_what_cannot_be_done_is_not_offered() -> None:
    assert next_step(TransferReason.BUSY, ["transfer_to_human"], colleagues=2) == (
        "Tell the caller. Offer to try again, or to put them through to somebody else, or to answer a question yourself."
    )
    assert "somebody else" not in next_step(TransferReason.BUSY, ["transfer_to_human"], colleagues=1)
    assert next_step(TransferReason.BUSY, [], colleagues=2) == "Tell the caller. Offer to answer a question yourself."
    assert next_step(TransferReason.CALLER_HUNG_UP, ["transfer_to_human"], colleagues=2) == ""


@pytest.mark.parametrize("path", sorted(prompts.FOLDER.rglob("*.t*")), ids=lambda path: path.name)
def test_no_text_promises_what_nobody_does(path: Path) -> None:
    assert PROMISES.search(path.read_text()) is None


def test_the_transfer_says_what_happened_and_leaves_the_offer_to_the_agent() -> None:
    texts = [prompts.instruction(f"failures.{reason}", detail="") for reason in TransferReason]
    assert not [text for text in texts if re.search(r"\b(offer|tell|apologise)\b", text, re.I)]


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        ("busy = {", "occupied = {", ["after.busy is missing: write what is told and offered then"]),
        ('"question"] }', '"riddle"] }', ["after.busy offers 'riddle': write one of again, somebody_else, question"]),
        ('tell = "Tell the caller.", ', "", ["after.busy has no tell: write what the caller is told then"]),
        (
            'offers = ["again", "somebody_else", "question"]',
            'offers = "again"',
            ["after.busy has no offers: write a list of some of again, somebody_else, question, or []"],
        ),
        ('text = "to try again"', "", ["offers.again has no text: write what is offered"]),
        ("[after]", "[after", None),
    ],
)
def test_a_slip_in_the_offers_is_one_line(
    tmp_path: Path, written: str, instead: str, problem: list[str] | None
) -> None:
    (tmp_path / "instructions").mkdir()
    text = (prompts.FOLDER / "instructions/offers.toml").read_text(encoding="utf-8")
    (tmp_path / "instructions/offers.toml").write_text(text.replace(written, instead, 1))
    found = offer_problems(tmp_path)
    if problem is None:
        assert len(found) == 1 and "offers.toml: is not TOML (" in found[0]
    else:
        assert found == [f"prompts/instructions/offers.toml: {line}" for line in problem]
