"""`out/bench.json`, to which each part of the benchmark adds what it measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.lab import ROOT

BENCH = ROOT / "out" / "bench.json"


def write_results(metrics: Mapping[str, object], path: Path = BENCH, **others: object) -> None:
    """Puts `metrics` beside those that are there, and `others` beside "metrics"; what has the same name is replaced."""
    known: dict[str, Any] = {}
    if path.exists():
        known = json.loads(path.read_text())
    known["metrics"] = {**known.get("metrics", {}), **metrics}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**known, **others}, indent=1) + "\n")
