"""The whole phone lab as one thing: server, SIP, telephones and AI services, wired through LiveKit's ordinary API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from livekit import api

from lab.server import REAL_PACE, LabServer, Pace, ServerSettings
from lab.server.settings import API_KEY, API_SECRET, Edition
from lab.sip import GatewaySettings, PhoneExchange, SipGateway

ROOT = Path(__file__).resolve().parent.parent
FRONT_DESK = "+15550100"
CALLER = "+12025550111"
AGENT_NAME = "front-desk"
AI_NICENESS = 5
"""The speech models give way to the call: they can be late, sound cannot."""
AI_START_LIMIT = 60.0
"""Seconds."""


class LabError(Exception):
    """Names the problem and its remedy, in one line."""


def reason(error: OSError) -> str:
    """In the system's words; asyncio puts a sentence of its own into `strerror`."""
    return os.strerror(error.errno) if error.errno else str(error)


@dataclass(frozen=True)
class LabSettings:
    edition: Edition = "cloud"
    engine: Literal["speech", "instant"] = "speech"
    port: int = 0
    """Of the server; 0 lets the system choose."""
    sip_port: int = 0
    phones_address: str = "127.0.0.1:0"
    """Where the telephones are, for the outbound trunk."""
    agent_name: str = AGENT_NAME
    pace: Pace = REAL_PACE
    first_token: float = 0.0
    first_audio: float = 0.0
    final_transcript: float = 0.0
    """Simulated delays of the models, in seconds."""
    logs: Path | None = None
    """Folder for the AI services' log; None: their messages are not kept."""


class AiProcess:
    """The AI services as a process of their own."""

    def __init__(self, settings: LabSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def start(self) -> None:
        settings = self._settings
        command = [
            sys.executable, "-m", "lab.ai",
            "--engine", settings.engine,
            "--cache", str(ROOT / "out" / "cache"),
            "--first-token-ms", str(settings.first_token * 1000),
            "--first-audio-ms", str(settings.first_audio * 1000),
            "--final-transcript-ms", str(settings.final_transcript * 1000),
        ]  # fmt: skip
        log = (settings.logs / "ai.log").open("w") if settings.logs else None
        self._process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=log or asyncio.subprocess.DEVNULL,
            process_group=0,
            preexec_fn=lambda: os.nice(AI_NICENESS) and None,
        )
        if log:
            log.close()
        assert self._process.stdout
        try:
            async with asyncio.timeout(AI_START_LIMIT):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise LabError(
                f"the AI services did not start within {AI_START_LIMIT:g} s: run 'python -m lab.ai' to see why"
            )
        self.url = json.loads(line)["url"]

    async def stop(self) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()


class Lab:
    """`async with Lab(LabSettings()) as lab:` and a worker started with `lab.worker_environment()`."""

    def __init__(self, settings: LabSettings | None = None) -> None:
        self.settings = settings or LabSettings()
        host, _, port = self.settings.phones_address.partition(":")
        server = ServerSettings(port=self.settings.port, edition=self.settings.edition, pace=self.settings.pace)
        self.server = LabServer(server)
        self.gateway = SipGateway(self.server, GatewaySettings(port=self.settings.sip_port))
        self.phones = PhoneExchange(host, int(port or 0))
        self.ai = AiProcess(self.settings)
        self.trunk = ""
        self._stack = contextlib.AsyncExitStack()

    @property
    def sip_address(self) -> str:
        return self.gateway.address

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        stack = self._stack
        stack.push_async_callback(self.ai.stop)
        ai = asyncio.create_task(self.ai.start())
        try:
            await self._enter("the telephones", self.phones, self.settings.phones_address)
            await self._enter("the server", self.server, f"port {self.settings.port}")
            await self._enter("SIP", self.gateway, f"port {self.settings.sip_port}")
            self.trunk = await wire(
                self.server.http_url, API_KEY, API_SECRET, self.phones.address, self.settings.agent_name
            )
        finally:
            await asyncio.gather(ai, return_exceptions=True)
        await ai

    async def _enter(self, what: str, part: LabServer | SipGateway | PhoneExchange, where: str) -> None:
        try:
            await self._stack.enter_async_context(part)
        except OSError as error:
            raise LabError(f"{what} cannot listen on {where}: {reason(error)}: choose another port") from None

    def worker_environment(self) -> dict[str, str]:
        """The variables that point a worker at the lab; it is the same worker everywhere else."""
        return {
            "LIVEKIT_URL": self.server.url,
            "LIVEKIT_API_KEY": API_KEY,
            "LIVEKIT_API_SECRET": API_SECRET,
            "LIVEKIT_SIP_OUTBOUND_TRUNK": self.trunk,
            "AGENT_NAME": self.settings.agent_name,
            **ai_environment(self.ai.url),
        }


def ai_environment(url: str) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "lab",
        "DEEPGRAM_BASE_URL": url,
        "DEEPGRAM_API_KEY": "lab",
    }


async def wire(url: str, key: str, secret: str, phones_address: str, agent_name: str) -> str:
    """Makes the trunks and the dispatch rule of the front desk; returns the id of the outbound trunk."""
    async with api.LiveKitAPI(url, key, secret) as calls:
        inbound = await calls.sip.create_inbound_trunk(
            api.CreateSIPInboundTrunkRequest(trunk=api.SIPInboundTrunkInfo(name="front desk", numbers=[FRONT_DESK]))
        )
        outbound = await calls.sip.create_outbound_trunk(
            api.CreateSIPOutboundTrunkRequest(
                trunk=api.SIPOutboundTrunkInfo(name="colleagues", address=phones_address, numbers=[FRONT_DESK])
            )
        )
        individual = api.SIPDispatchRuleIndividual(room_prefix="call-")
        await calls.sip.create_dispatch_rule(
            api.CreateSIPDispatchRuleRequest(
                dispatch_rule=api.SIPDispatchRuleInfo(
                    name="front desk",
                    trunk_ids=[inbound.sip_trunk_id],
                    rule=api.SIPDispatchRule(dispatch_rule_individual=individual),
                    room_config=api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name=agent_name)]),
                )
            )
        )
        return outbound.sip_trunk_id
