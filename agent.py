"""The front desk as a LiveKit agent worker.

    python -m livekit.agents start agent.py           as the image starts it
    lk agent dev | console | simulate                 LiveKit's command line, which looks for `server`
    python agent.py dev | start | console | download-files

Reads top to bottom in the order in which a call happens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from livekit import rtc
from livekit.agents import AgentSession, ErrorEvent, JobContext, JobProcess, cli
from livekit.agents.__main__ import main as livekit_agents
from livekit.agents.voice.room_io import RoomOptions

from frontdesk.business.profile import Profile
from frontdesk.voice.call_state import CallState
from frontdesk.voice.logs import mask_all_logs
from frontdesk.voice.pipeline import Pipeline, make_pipeline
from frontdesk.voice.receptionist import FrontDeskAgent
from frontdesk.voice.recording import Recording
from frontdesk.voice.settings import Settings
from frontdesk.voice.worker import FrontDeskServer
from transfer import Departures, delete_room, present_in, prompts

logger = logging.getLogger("frontdesk")

APOLOGY_LIMIT = 8.0
"""Seconds until a caller whose agent has died is hung up on, apology or not."""


def prewarm(settings: Settings, profile: Profile, process: JobProcess) -> None:
    """Before a call comes: slow parts are loaded once in each job process. The worker has read and checked the rest."""
    mask_all_logs()
    process.userdata["settings"] = settings
    process.userdata["profile"] = profile
    process.userdata["pipeline"] = make_pipeline(settings)


server = FrontDeskServer(prewarm)


async def keep_recording(job: JobContext) -> None:
    """After the call: the job's own folder, with the recording in it, is about to be deleted."""
    recording = Recording.by(job.proc.userdata["settings"])
    if job.tagger.outcome is None:
        recording.mark(job, success=True, reason="answered without a transfer")
    await recording.copy_out(job)


@server.rtc_session(agent_name=server.agent_name, on_request=server.accept, on_session_end=keep_recording)
async def answer(job: JobContext) -> None:
    """A caller is in the room: the agent joins, which answers the phone, and greets."""
    settings: Settings = job.proc.userdata["settings"]
    pipeline: Pipeline = job.proc.userdata["pipeline"]
    recording = Recording.by(settings)
    recording.begin(job)
    if not job.is_fake_job() and await is_stranger(job, welcome=settings.answers_without_trunk):
        return
    call = CallState(job.proc.userdata["profile"], settings.outbound, recording)
    session: AgentSession[CallState] = AgentSession(
        userdata=call,
        stt=pipeline.stt,
        llm=pipeline.llm,
        tts=pipeline.tts,
        vad=pipeline.vad,
        turn_handling={"turn_detection": pipeline.turn_detector},
    )

    async def apologise_and_hang_up() -> None:
        """The agent cannot go on: the caller is not left in silence."""
        recording.mark(job, success=False, reason="a model failed")
        try:
            async with asyncio.timeout(APOLOGY_LIMIT):
                await session.say(prompts.sentence("frontdesk.apology"), allow_interruptions=False)
        except (TimeoutError, RuntimeError):
            logger.warning("the apology could not be said")
        if not job.is_fake_job():  # in the console there is no server
            await delete_room(job.api, job.room.name)

    tasks: set[asyncio.Task[None]] = set()

    def on_error(event: ErrorEvent) -> None:
        if not getattr(event.error, "recoverable", True) and not tasks:
            tasks.add(asyncio.create_task(apologise_and_hang_up()))

    def on_caller_left(_identity: str) -> None:
        """Only agents are left: the call is over, and its room need not wait for that."""
        if not present_in(job.room):
            job.delete_room()

    session.on("error", on_error)
    Departures(job, on_caller_left)
    await session.start(
        agent=FrontDeskAgent(call),
        room=job.room,
        room_options=RoomOptions(delete_room_on_close=False),
        record=recording.is_on,
    )


async def is_stranger(job: JobContext, *, welcome: bool) -> bool:
    """Hangs up on a SIP caller without a trunk, before the call is answered. True when there is no caller to serve.

    A dispatch rule without a trunk lets in every caller that finds the SIP port; scanners dial it all day.
    """
    await job.connect()
    try:
        caller = await job.wait_for_participant()
    except RuntimeError:  # the room has ended before a caller was there
        return True
    is_sip = caller.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP
    if welcome or not is_sip or caller.attributes.get("sip.trunkID"):
        return False
    logger.warning("a call that came over no trunk is ended: name the inbound trunk in the dispatch rule (README)")
    await delete_room(job.api, job.room.name)
    job.shutdown("the call came over no trunk")
    return True


def main(arguments: list[str]) -> int | None:
    """`start` and `dev` go through `python -m livekit.agents`, which lasts; LiveKit's older command line has the rest."""
    mode, options = (arguments[0] if arguments else ""), arguments[1:]
    if mode == "download-files":
        return livekit_agents([mode])
    if mode in ("start", "dev"):
        sys.modules["agent"] = sys.modules[__name__]  # found by its name, this file is not run a second time
        return livekit_agents(["start", __file__, *_start_options(mode, options)])
    if mode == "console" and not {"--help", "--list-devices"} & set(options):
        server.check(devmode=True, unregistered=True)  # before the older command line prints and opens the microphone
    cli.run_app(server)
    return None


def _start_options(mode: str, options: list[str]) -> list[str]:
    """The older command line's options and variables, as the newer one takes them."""
    options = [option for option in options if option not in ("--reload", "--no-reload")]
    if mode == "dev":
        os.environ["LIVEKIT_DEV_MODE"] = "1"
        options.append("--dev")
    if "--drain-timeout" in options[:-1]:
        at = options.index("--drain-timeout")
        _, seconds = options.pop(at), options.pop(at)
        server.update_options(drain_timeout=int(seconds))
    level = os.environ.get("LIVEKIT_LOG_LEVEL") or ("DEBUG" if mode == "dev" else "")
    if level and "--log-level" not in options:
        options += ["--log-level", level.upper()]
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
