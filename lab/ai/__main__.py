"""python -m lab.ai: the services as a process of their own. Prints one line of JSON when they can serve."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from lab.ai.services import AiServices
from lab.ai.settings import AiSettings


def parse(arguments: list[str]) -> AiSettings:
    parser = argparse.ArgumentParser(prog="python -m lab.ai", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--engine", choices=("speech", "instant"), default="speech")
    parser.add_argument("--first-token-ms", type=float, default=0)
    parser.add_argument("--first-audio-ms", type=float, default=0)
    parser.add_argument("--final-transcript-ms", type=float, default=0)
    parser.add_argument("--end-silence-ms", type=float, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--events", type=Path)
    given = parser.parse_args(arguments)
    return AiSettings(
        port=given.port,
        engine=given.engine,
        first_token=given.first_token_ms / 1000,
        first_audio=given.first_audio_ms / 1000,
        final_transcript=given.final_transcript_ms / 1000,
        end_silence=given.end_silence_ms / 1000,
        threads=given.threads,
        cache=given.cache,
        events=given.events,
    )


async def serve(settings: AiSettings) -> None:
    began = time.monotonic()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AiServices(settings) as services:
        ready = {"ready": True, "url": services.url, "seconds": round(time.monotonic() - began, 2)}
        print(json.dumps(ready), flush=True)
        await stopped.wait()


def main() -> None:
    settings = parse(sys.argv[1:])
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        sys.exit(
            f"the AI services cannot listen on port {settings.port}: {os.strerror(error.errno or 0)}: choose another --port"
        )


if __name__ == "__main__":
    main()
