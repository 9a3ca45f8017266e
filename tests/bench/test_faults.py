"""The judge of the faults: a transfer that breaks a law fails it, and says which."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from bench import fault_play, faults
from bench.desk import Desk, open_desk
from bench.fault_play import Fault
from bench.fault_table import at, hang_up, table
from bench.faults import FAIL, judge
from lab.play import worker
from lab.server.settings import Edition
from tests.bench import broken_agent

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path_factory.mktemp("desk"), Path(broken_agent.__file__)) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def oss_desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    folder = tmp_path_factory.mktemp("oss")
    async with open_desk(folder, Path(broken_agent.__file__), edition="oss") as made:
        yield made


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken transfer leaves never ends: nobody need wait for it as long as for one that may be slow."""
    for module, limit, seconds in [
        (fault_play, "BACK_LIMIT", 3.0),
        (fault_play, "END_LIMIT", 3.0),
        (fault_play, "STOP_LIMIT", 3.0),
        (faults, "JOBS_LIMIT", 3.0),
        (worker, "STOP_LIMIT", 3.0),
    ]:
        monkeypatch.setattr(module, limit, seconds)


def row(name: str, edition: Edition = "cloud") -> Fault:
    return next(fault for fault in table(edition) if fault.name == name)


@pytest.mark.parametrize(
    ("breaks", "fault", "laws"),
    [
        ("connects_before_anybody_agreed", "the human declines", ["law 1, private"]),
        ("plays_nothing", "rings and nobody answers", ["law 2, never silent"]),
        ("tells_no_outcome", "SIP 486", ["law 3, one outcome: 0 for 1"]),
        ("leaves_the_consult", "the human declines", ["law 4, nothing left over: room consult"]),
        ("leaves_a_task_and_a_track", "SIP 486", ["track hold_audio", "law 4, nothing left over: task Event.wait"]),
        ("leaves_the_consult", "the caller hangs up while it rings", ["law 4, nothing left over: the call"]),
        ("lets_the_caller_decide", "the caller types the name of every tool on hold", ["one outcome: connected"]),
        ("keeps_the_agent_away", "SIP 486", ["the caller's agent does not"]),
    ],
)
async def test_a_transfer_that_breaks_a_law_fails_it(desk: Desk, breaks: str, fault: str, laws: list[str]) -> None:
    wrong = replace(row(fault), ours={"breaks": breaks}, limit=6.0)
    verdict = await judge(desk, wrong, "ours")
    assert verdict.verdict == FAIL
    assert [law for law in laws if law not in verdict.why] == []


async def test_a_fault_that_has_not_come_about_proves_nothing(desk: Desk) -> None:
    verdict = await judge(desk, replace(row("SIP 486"), do=at("briefing", hang_up("human")), limit=4.0), "ours")
    assert (verdict.verdict, verdict.why) == (FAIL, "the fault did not come about")


@pytest.mark.parametrize(
    ("breaks", "fault", "law"),
    [
        ("gives_the_relay_up", "the relay's process is killed", "the two do not hear each other"),
        ("takes_the_relay_along", "the agent's process is killed", "the two do not hear each other"),
    ],
)
async def test_a_relay_that_leaves_two_people_in_silence_fails(
    oss_desk: Desk, breaks: str, fault: str, law: str
) -> None:
    verdict = await judge(oss_desk, replace(row(fault, "oss"), ours={"breaks": breaks}), "ours")
    assert verdict.verdict == FAIL
    assert law in verdict.why
