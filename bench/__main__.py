"""python -m bench [--only transfer|relay]: ours and the stock task side by side, on the same lab in one run, and what the
relay between two rooms costs. See `bench.speed` and `bench.relay`."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys

from lab.lab import ROOT

PARTS = ("transfer", "relay")
TRANSFERS, ROUNDS = 10, 6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures ours beside the stock task.")
    parser.add_argument("--only", choices=PARTS, help="one of the two")
    parser.add_argument("--transfers", type=int, default=TRANSFERS, help=f"of each kind; default {TRANSFERS}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of the relay's calls; default {ROUNDS}")
    given = parser.parse_args()
    if given.only == "transfer":
        from bench import speed

        asyncio.run(speed.run(given.transfers))
    elif given.only == "relay":
        from bench import relay

        asyncio.run(relay.run(given.rounds))
    else:
        # A process for each: the modules and leftovers of one do not slow the other.
        amounts = ["--transfers", str(given.transfers), "--rounds", str(given.rounds)]
        for part in PARTS:
            subprocess.run([sys.executable, "-m", "bench", "--only", part, *amounts], cwd=ROOT, check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
