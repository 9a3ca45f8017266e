"""Two whole calls in real time: real speech on real phones, the real worker process, judged by what the phones received."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.play.player import PASSED, TOO_BUSY, play
from lab.play.report import Report
from lab.play.scenario import load
from lab.server.settings import Edition


async def played(name: str, edition: Edition, folder: Path) -> Report:
    """A call on a machine that was too busy was not judged: it is played once more, and then it counts."""
    scenario = load(name)
    report = await play(scenario, folder / "first", lambda at, who, what: None, lambda text: None, edition)
    if report.exit_code == TOO_BUSY:
        report = await play(scenario, folder / "second", lambda at, who, what: None, lambda text: None, edition)
    return report


@pytest.mark.alone
@pytest.mark.parametrize(("name", "edition"), [("accept", "oss"), ("decline", "cloud")])
async def test_a_spoken_call_keeps_the_laws_and_says_what_it_should(
    name: str, edition: Edition, tmp_path: Path
) -> None:
    report = await played(name, edition, tmp_path)
    failed = [f"{finding.what}: {finding.detail}" for finding in report.findings if not finding.ok]
    assert report.exit_code == PASSED, f"{failed}; machine: {report.load}"
    written = {path.name for path in tmp_path.rglob("*") if path.stat().st_size}  # noqa: ASYNC240
    assert {"call.wav", "transcript.md", "timeline.json", "timeline.html"} <= written
