"""Who may import whom: imports go down only, and none runs in a circle. CONTRIBUTING.md has the layout in words."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = {"agent.py", "frontdesk/business", "frontdesk/voice", "transfer", "transfer/relay", "lab"}
MAY_IMPORT = {
    "agent.py": {"frontdesk/business", "frontdesk/voice", "transfer"},
    "frontdesk": set(),
    "frontdesk/business": set(),
    "frontdesk/voice": {"frontdesk/business", "transfer"},
    "transfer": {"transfer/relay"},
    "transfer/relay": set(),  # a process of its own
    "lab": set(),  # the worker must not know that it is there, nor it the worker
    "tools": set(),
    "bench": {*EVERYTHING, "tests"},
    "tests": {*EVERYTHING, "bench", "tools"},
}
"""By place, the longest that fits: what else of ours may be imported there."""
KNOW_LIVEKIT_AGENTS = {"agent.py", "frontdesk/voice", "transfer", "bench", "tests"}
EXCEPTIONS = {
    # The words that LiveKit's server and SDK have for "gone" and "not found": one copy of them serves both processes.
    ("transfer/relay/leg.py", "transfer.server_api"),
    ("transfer/relay/rooms.py", "transfer.server_api"),
    ("transfer/relay/sdk.py", "transfer.server_api"),
}
"""(file, what it imports though it may not). The list only shrinks: one that is not needed any more fails."""

FILES = sorted(
    path.relative_to(ROOT)
    for place in MAY_IMPORT
    for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
)
MODULES = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def place_of(path: Path) -> str:
    return max((place for place in MAY_IMPORT if path.is_relative_to(place)), key=len)


def imported(path: Path) -> Iterator[str]:
    """Every name that the file imports, in functions too: "livekit.rtc", "transfer.Target"."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} imports by dots: write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """The modules of ours that the file imports."""
    found = set()
    for name in imported(path):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found |= {name} - {""}
    return found


def test_imports_go_down_only() -> None:
    against = {
        (str(path), module)
        for path in set(FILES)
        for module in ours(path)
        if place_of(MODULES[module]) not in {place_of(path), *MAY_IMPORT[place_of(path)]}
    }
    assert against == EXCEPTIONS


def test_no_import_runs_in_a_circle() -> None:
    graph = {module: ours(path) - {module} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


@pytest.mark.parametrize("place", sorted(set(MAY_IMPORT) - KNOW_LIVEKIT_AGENTS))
def test_few_know_the_agents_of_livekit(place: str) -> None:
    files = [path for path in FILES if place_of(path) == place]
    assert not [
        path for path in files for name in imported(path) if name.startswith(("livekit.agents", "livekit.plugins"))
    ]


def test_what_the_owner_wrote_is_read_by_the_standard_library_and_without_a_clock() -> None:
    files = [path for path in FILES if place_of(path) == "frontdesk/business"]
    allowed = sys.stdlib_module_names - {"time", "sqlite3", "socket", "asyncio"} | {"frontdesk"}
    assert files and {name.partition(".")[0] for path in files for name in imported(path)} <= allowed
    assert not [
        path for path in files if ".now(" in (ROOT / path).read_text() or ".today(" in (ROOT / path).read_text()
    ]
