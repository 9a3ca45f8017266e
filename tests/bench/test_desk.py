"""What a desk tells of a transfer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.desk import Desk
from lab.ai.engines import InstantEngine


def test_a_report_that_comes_late_is_not_taken_for_that_of_the_next_transfer(tmp_path: Path) -> None:
    nothing: Any = SimpleNamespace(engine=InstantEngine())
    desk = Desk(nothing, nothing, nothing, nothing, tmp_path)
    before = {"called": time.monotonic(), "outcome": "caller_hung_up"}
    desk.order()
    ours = {"called": time.monotonic(), "outcome": "phone_menu"}
    (tmp_path / "reports.jsonl").write_text(f"{json.dumps(before)}\n{json.dumps(ours)}\n")
    assert desk.reports() == [ours]
