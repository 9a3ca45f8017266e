"""`out/bench.json`, to which each part of the benchmark adds its measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.lab import ROOT

BENCH = ROOT / "out" / "bench.json"


def write_results(metrics: Mapping[str, object], path: Path = BENCH, **others: object) -> None:
    """Adds `metrics` to the file's, and `others` beside "metrics"; an entry of the same name is replaced."""
    known: dict[str, Any] = {}
    if path.exists():
        known = json.loads(path.read_text())
    known["metrics"] = {**known.get("metrics", {}), **metrics}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**known, **others}, indent=1) + "\n")
