"""python -m lab: the lab for a developer. Prints what to point a worker and a softphone at, and runs until Ctrl+C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from lab.lab import FRONT_DESK, Lab, LabError, LabSettings
from lab.sip import Answer

COLLEAGUES = {"+12025550141": "Sarah", "+12025550142": "Tom", "+12025550143": "Maya"}
"""The colleagues of the shipped frontdesk.toml: their phones ring, and answer by themselves."""


def parse(arguments: list[str]) -> LabSettings:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("--port", type=int, default=7880, help="of the server (HTTP, websockets and media)")
    parser.add_argument("--sip-port", type=int, default=5060)
    parser.add_argument("--edition", choices=("cloud", "oss"), default="cloud")
    parser.add_argument("--engine", choices=("speech", "instant"), default="speech")
    given = parser.parse_args(arguments)
    return LabSettings(edition=given.edition, engine=given.engine, port=given.port, sip_port=given.sip_port)


async def run(settings: LabSettings) -> None:
    stopped = asyncio.Event()
    for stop in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop, stopped.set)
    print("Starting the lab ...", flush=True)
    async with Lab(settings) as lab:
        for number in COLLEAGUES:
            lab.phones.phone(number, on_call=Answer(after=3.0))
        print(
            f"\nThe lab is up ({settings.edition} edition). Dial sip:{FRONT_DESK}@{lab.sip_address} with a softphone."
        )
        print("Colleagues answer after 3 s and say nothing: " + ", ".join(f"{n} {w}" for n, w in COLLEAGUES.items()))
        print("\nPoint a worker here, then run: python agent.py start\n")
        for name, value in lab.worker_environment().items():
            print(f"export {name}={value}")
        print("\nCtrl+C stops it.", flush=True)
        await stopped.wait()
    print("The lab is down.")


def main() -> None:
    try:
        asyncio.run(run(parse(sys.argv[1:])))
    except LabError as error:
        sys.exit(f"lab: {error}")


if __name__ == "__main__":
    main()
