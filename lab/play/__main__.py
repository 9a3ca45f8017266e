"""Plays a call and listens to it. Exit code 0: all held; 1: something did not; 2: it could not be set up; 3: the machine was
too busy to judge."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time

from lab.lab import LabError
from lab.play.player import FAILED, TOO_BUSY, output_folder, play
from lab.play.report import Report
from lab.play.scenario import ScenarioError, load, names
from lab.server.settings import Edition

COLOURS = {"caller": "\033[94m", "human": "\033[93m", "agent": "\033[92m", "call": "\033[90m"}
RESET, GREEN, RED, BOLD = "\033[0m", "\033[92m", "\033[91m", "\033[1m"
NOT_SET_UP = 2
INTERRUPTED = 130


def painted(text: str, colour: str) -> str:
    plain = "NO_COLOR" in os.environ or not (sys.stdout.isatty() or os.environ.get("FORCE_COLOR"))
    return text if plain else f"{colour}{text}{RESET}"


def show(at: float, who: str, what: str) -> None:
    print(f"{at:6.1f}  {painted(f'{who:7}', COLOURS.get(who, ''))} {what}", flush=True)


def verdict(report: Report) -> None:
    print()
    for finding in report.findings:
        mark = painted("✓", GREEN) if finding.ok else painted("✗", RED)
        print(f"  {mark} {finding.what}" + (f": {finding.detail}" if finding.detail else ""))
    if report.exit_code == TOO_BUSY:
        print(painted("\nThe machine was too busy with other things to judge this call: run it again.", BOLD))
    folder = output_folder() / report.scenario
    print(f"\nListen and look: {os.path.relpath(folder)}/timeline.html (also call.wav, transcript.md, timeline.json)")


async def run(name: str, edition: Edition) -> int:
    scenario = load(name)
    began = time.monotonic()
    print(painted(f"{scenario.title}  ({scenario.name})", BOLD), flush=True)
    report = await play(scenario, output_folder(), show, lambda text: print(f"        {text}", flush=True), edition)
    verdict(report)
    outcome = "PASSED" if report.exit_code == 0 else "FAILED" if report.exit_code == FAILED else "NOT JUDGED"
    print(painted(f"{outcome} in {time.monotonic() - began:.0f} s", GREEN if report.exit_code == 0 else RED))
    return report.exit_code


async def until_stopped(name: str, edition: Edition) -> int:
    """Ctrl+C and SIGTERM at any moment end everything that was started."""
    task = asyncio.create_task(run(name, edition))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        print("\ninterrupted: everything is stopped", file=sys.stderr)
        return INTERRUPTED


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.play", description=__doc__)
    parser.add_argument("scenario", nargs="?", help=f"one of {', '.join(names())}")
    parser.add_argument("--list", action="store_true", help="what there is to play")
    parser.add_argument(
        "--edition", choices=("cloud", "oss"), default="cloud", help="of the lab's server; oss moves nobody"
    )
    given = parser.parse_args()
    if given.list:
        for name in names():
            print(f"{name:16} {load(name).title}")
        return 0
    if not given.scenario:
        parser.error(f"which one? {', '.join(names())}")
    try:
        return asyncio.run(until_stopped(given.scenario, given.edition))
    except (ScenarioError, LabError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return NOT_SET_UP


if __name__ == "__main__":
    sys.exit(main())
