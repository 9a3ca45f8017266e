"""python -m bench [--transfers N]: ours and the stock task side by side, on the same lab in one run. See `bench.speed`."""

from __future__ import annotations

import argparse
import asyncio

from bench.speed import LEAST, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures ours beside the stock task.")
    parser.add_argument("--transfers", type=int, default=LEAST, help=f"of each kind; default {LEAST}")
    given = parser.parse_args()
    asyncio.run(run(given.transfers))


if __name__ == "__main__":
    main()
