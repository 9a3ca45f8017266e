"""The worker: LiveKit's, which checks its settings when it runs, and says how many more calls it can take."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from livekit.agents import AgentServer, JobProcess, JobRequest
from livekit.agents.utils.hw import get_cpu_monitor
from livekit.agents.worker import ServerEnvOption

from frontdesk.business.problems import ConfigurationError
from frontdesk.business.profile import Profile, read_profile
from frontdesk.voice import recording
from frontdesk.voice.environment import load_env_files, raw
from frontdesk.voice.logs import mask_all_logs
from frontdesk.voice.settings import (
    CALLS_PER_CORE,
    DEFAULT_AGENT_NAME,
    DEFAULT_HEALTH_PORT,
    ROOT,
    Settings,
    check_machine,
    settle,
)
from frontdesk.voice.texts import text_problems

logger = logging.getLogger("frontdesk")

TARGET_LOAD = 0.7
"""livekit-server (1.13) sends no job to a worker that reports more, regardless of the worker's own threshold
(`agents.target_load`), and never offers that call again."""
ALMOST_FULL = 0.69
"""Highest load that is reported while one more call fits."""
RETIRED = {"WORKER_LOAD_THRESHOLD": "WORKER_MAX_CALLS, how many calls this worker takes at once"}
"""Variables of earlier versions, and their replacements."""


class Capacity:
    """How many calls are taken at once: the meaning of the worker's load, and the places left."""

    def __init__(self, most: float) -> None:
        """`most`: calls at once; infinite in `dev`, which takes every call."""
        self.most = most
        self._promised = 0
        """Accepted calls that their process has not taken over yet."""

    def load(self, running: int) -> float:
        """From 0 to 1; more than TARGET_LOAD only when no more call fits."""
        calls = running + self._promised
        return 1.0 if calls >= self.most else min(calls / self.most, ALMOST_FULL)

    @contextlib.contextmanager
    def place(self, running: int) -> Iterator[bool]:
        """Keeps a place until the call runs; False when there is none."""
        if running + self._promised >= self.most:
            yield False
            return
        self._promised += 1
        try:
            yield True
        finally:
            self._promised -= 1


class FrontDeskServer(AgentServer):
    """Found by LiveKit's tools as `server` of agent.py. Making one reads raw values only: `run` checks them."""

    def __init__(self, prewarm: Callable[[Settings, Profile, JobProcess], None]) -> None:
        """`prewarm` gets the checked values: a job process never rereads a file that may have changed meanwhile."""
        # Here, not when it runs: only the constructor takes the port and the name.
        logging.getLogger("asyncio").setLevel(logging.INFO)  # at DEBUG it names its selector before anything is checked
        self._file_problems = load_env_files([Path.cwd(), ROOT])
        super().__init__(port=_raw_port())
        self._prewarm = prewarm
        self.agent_name = raw("AGENT_NAME") or raw("LIVEKIT_AGENT_NAME") or DEFAULT_AGENT_NAME
        self._told: dict[str, str] = {}
        self._capacity = Capacity(math.inf)

    def update_options(self, **options: Any) -> None:
        """Options of LiveKit's command line count before the environment."""
        names = {"ws_url": "LIVEKIT_URL", "api_key": "LIVEKIT_API_KEY", "api_secret": "LIVEKIT_API_SECRET"}
        self._told |= {names[option]: value for option, value in options.items() if option in names}
        super().update_options(**options)

    async def run(self, *, devmode: bool = False, unregistered: bool = False) -> None:
        """Ends the process with exit code 2, and a line on stderr for each problem, before anything starts."""
        mask_all_logs()
        settings, profile = self.check(devmode=devmode, unregistered=unregistered)
        self.setup_fnc = partial(self._prewarm, settings, profile)
        self._configure(settings, devmode=devmode)
        try:
            await super().run(devmode=devmode, unregistered=unregistered)
        except RuntimeError as error:
            # LiveKit's start would log a traceback and exit with 0, which a supervisor takes for success. The calls that
            # are going on end first.
            logger.error("this worker gives up: %s", error)
            atexit.register(_exit_with_failure)

    def check(self, *, devmode: bool, unregistered: bool) -> tuple[Settings, Profile]:
        """Checks everything that this mode needs, or does not return. The checked values are put into place."""
        problems = [*self._file_problems]
        try:
            settings = settle({**os.environ, **self._told}, "console" if unregistered else "worker")
        except ConfigurationError as error:
            refuse([*problems, *error.problems])
        recording.say_to_exporters(settings)
        problems += text_problems()
        try:
            profile = read_profile(settings.profile_path, dials_numbers_only=settings.dials_numbers_only)
        except ConfigurationError as error:
            problems += error.problems
        port = settings.health_port
        problems += check_machine(settings, (0 if devmode else DEFAULT_HEALTH_PORT) if port is None else port)
        if problems:
            refuse(problems)
        return settings, profile

    def _configure(self, settings: Settings, *, devmode: bool) -> None:
        for name in RETIRED.keys() & os.environ.keys():
            logger.warning("%s is not used any more: set %s", name, RETIRED[name])
        if settings.outbound:
            logger.info("colleagues are called over %s", settings.outbound.describe())
        super().update_options(initialize_process_timeout=settings.start_timeout)
        if settings.livekit_url:
            super().update_options(
                ws_url=settings.livekit_url, api_key=settings.livekit_api_key, api_secret=settings.livekit_api_secret
            )
        if settings.idle_processes is not None:
            super().update_options(num_idle_processes=settings.idle_processes)
        if self.worker_info.cloud_agents:
            return  # LiveKit Cloud scales by a load of its own and discards ours
        if not devmode:
            self._capacity.most = settings.max_calls or math.ceil(CALLS_PER_CORE * get_cpu_monitor().cpu_count())
            logger.info("this worker takes %d calls at once", self._capacity.most)
        self.load_fnc = self._load
        # Ours alone decides: LiveKit's own threshold guesses the cost of a beginning call.
        super().update_options(load_threshold=math.inf)

    def _load(self) -> float:
        return self._capacity.load(len(self.active_jobs))

    async def accept(self, request: JobRequest) -> None:
        """Takes the call, if there is a place: several may be offered before the server has heard of our load."""
        with self._capacity.place(len(self.active_jobs)) as free:
            if free:
                await request.accept()
            else:
                logger.warning("a call was turned away: this worker has %d, set WORKER_MAX_CALLS", self._capacity.most)
                await request.reject()


def _exit_with_failure() -> None:
    """The last thing that the process does."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(1)


def _raw_port() -> int | ServerEnvOption[int]:
    """The port as it will be used, if it is valid; `run` reports one that is not."""
    text = raw("WORKER_HEALTH_PORT")
    default = ServerEnvOption(dev_default=0, prod_default=DEFAULT_HEALTH_PORT)
    return int(text) if text.isascii() and text.isdigit() else default


def refuse(problems: list[str]) -> NoReturn:
    """Prints the problems and ends the process.

    An exception would not do: LiveKit's `start` catches it, logs a traceback and exits with 0, and its console waits for
    a session that never comes. Nothing has been started that would have to be ended.
    """
    print("\n".join(problems), file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(2)
