"""The front desk as a LiveKit agent worker.

    python agent.py dev | start | console | download-files

Reads top to bottom in the order in which a call happens.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from dotenv import load_dotenv
from livekit.agents import AgentServer, AgentSession, ErrorEvent, JobContext, JobProcess, cli
from livekit.agents.voice.room_io import RoomOptions

from frontdesk.logs import mask_all_logs
from frontdesk.pipeline import Pipeline, make_pipeline
from frontdesk.problems import ConfigurationError
from frontdesk.profile import read_profile
from frontdesk.receptionist import FrontDeskAgent
from frontdesk.settings import check_port, read_settings
from transfer import Departures, delete_room, present_in, prompts

logger = logging.getLogger("frontdesk")

APOLOGY_LIMIT = 8.0
"""Seconds until a caller whose agent has died is hung up on, apology or not."""


def prewarm(process: JobProcess) -> None:
    """Before a call comes: what takes long is loaded once in each job process."""
    mask_all_logs()
    settings = read_settings()
    process.userdata["profile"] = read_profile(settings.profile_path)
    process.userdata["pipeline"] = make_pipeline(settings)


async def answer(job: JobContext) -> None:
    """A caller is in the room: the agent joins, which answers the phone, and greets."""
    pipeline: Pipeline = job.proc.userdata["pipeline"]
    session: AgentSession[None] = AgentSession(
        stt=pipeline.stt,
        llm=pipeline.llm,
        tts=pipeline.tts,
        vad=pipeline.vad,
        turn_handling={"turn_detection": pipeline.turn_detector},
    )

    async def apologise_and_hang_up() -> None:
        """The agent cannot go on: nobody is left in silence."""
        try:
            async with asyncio.timeout(APOLOGY_LIMIT):
                await session.say(prompts.read("frontdesk/apology.txt"), allow_interruptions=False)
        except (TimeoutError, RuntimeError):
            logger.warning("the apology could not be said")
        if not job.is_fake_job():  # in the console there is no server
            await delete_room(job.api, job.room.name)

    tasks: set[asyncio.Task[None]] = set()

    def on_error(event: ErrorEvent) -> None:
        if not getattr(event.error, "recoverable", True) and not tasks:
            tasks.add(asyncio.create_task(apologise_and_hang_up()))

    def on_caller_left(_identity: str) -> None:
        """Nobody but agents is left: the call is over, and its room need not wait for that."""
        if not present_in(job.room):
            job.delete_room()

    session.on("error", on_error)
    Departures(job, on_caller_left)
    await session.start(
        agent=FrontDeskAgent(job.proc.userdata["profile"]),
        room=job.room,
        room_options=RoomOptions(delete_room_on_close=False),
    )


def make_server() -> AgentServer:
    """The worker; ConfigurationError when the environment or frontdesk.toml is wrong."""
    settings = read_settings()
    read_profile(settings.profile_path)
    check_port(settings.health_port)
    server = AgentServer(
        load_threshold=settings.load_threshold,
        port=settings.health_port,
        setup_fnc=prewarm,
    )
    server.rtc_session(answer, agent_name=settings.agent_name)
    return server


def main() -> None:
    load_dotenv()
    mask_all_logs()
    needs_no_settings = {"download-files", "--help", "--version"} & set(sys.argv[1:]) or len(sys.argv) == 1
    try:
        server = AgentServer() if needs_no_settings else make_server()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    cli.run_app(server)


if __name__ == "__main__":
    main()
