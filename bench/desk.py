"""The real worker process on the lab, with speech that costs nothing, and people on the phones: for events, not for ears."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from lab.ai import AiServices, AiSettings
from lab.ai.engines import HEARING_RATE, SPEAKING_RATE, InstantEngine
from lab.lab import AGENT_NAME, CALLER, FRONT_DESK, ROOT, ai_environment, wire
from lab.play.judge import OTHER, PILOTS, pilot_present, runs
from lab.play.worker import WorkerProcess
from lab.server import LabServer, Pace, ServerSettings
from lab.server.settings import Edition
from lab.sip import Answer, Phone, PhoneExchange, SipGateway, g711
from lab.sip.phones import Behaviour
from lab.waiting import LIMIT, until

HUMAN = "+12025550141"
GREETING = "Thank you for calling Northwind Trading. How can I help you today?"
HOLD = "Please hold while I call Sarah for you."
CONNECTED = "You are now connected. I will leave you to it."
REQUEST = "I have a question about my bill. Can I speak to a person please?"
RINGING_TIMEOUT = 5
CLEAN_UP = 2.0
"""Seconds: law 4."""
LEAK_FRAMES = 4
"""Looks in a row (80 ms) that make a leak: fewer than among voices, since speech here is tones, none near a pilot."""
SENTENCE = 4.0
"""Seconds: longer than the instant speech takes for any awaited sentence."""


class Desk:
    """A lab with a worker that takes calls."""

    def __init__(
        self, server: LabServer, gateway: SipGateway, exchange: PhoneExchange, ai: AiServices, folder: Path
    ) -> None:
        self.folder, self.ai = folder, ai
        self.server, self.gateway, self.exchange = server, gateway, exchange
        assert isinstance(ai.engine, InstantEngine)
        self.code = ai.engine.code
        self.environment: dict[str, str] = {}
        self.program: Path
        self.worker: WorkerProcess
        self.calls: list[Call] = []
        self._ordered_at = 0.0

    async def start_worker(self, **environment: str) -> None:
        self.worker = WorkerProcess({**self.environment, **environment}, self.folder / "worker.log", self.program)
        await self.worker.start()

    def call(self, on_call: Behaviour | None = None, caller: str = CALLER, human: str = HUMAN) -> Call:
        call = Call(self, on_call or Answer(after=0.2), caller, human)
        self.calls.append(call)
        return call

    def order(self, task: str = "ours", *, wait: float = 0.0, **parameters: Any) -> None:
        """Orders the task that the worker of `bench.agent` runs `wait` seconds after the caller asks for a person."""
        (self.folder / "order.json").write_text(json.dumps({"task": task, "parameters": parameters, "wait": wait}))
        (self.folder / "reports.jsonl").unlink(missing_ok=True)
        (self.folder / "called").unlink(missing_ok=True)
        self._ordered_at = time.monotonic()

    def reports(self) -> list[dict[str, Any]]:
        """A line for each transfer since `order` that has ended, and later lines about its leftovers.

        A transfer that ended before may be reported after it.
        """
        path = self.folder / "reports.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["called"] >= self._ordered_at]

    async def report(self) -> dict[str, Any]:
        """The outcome of the last transfer that has ended."""

        def outcomes() -> list[dict[str, Any]]:
            return [line for line in self.reports() if "outcome" in line]

        return (await until(outcomes, "the transfer is reported", every=0.02))[-1]

    def later_report(self) -> dict[str, Any] | None:
        """The leftovers of the last transfer some seconds after it, while the caller's call went on."""
        return next((line for line in self.reports() if "later" in line), None)

    async def end_calls(self) -> None:
        for call in self.calls:
            for phone in call.phones:
                phone.hang_up()
        for call in self.calls:
            await call.ends()
        self.calls.clear()


class Call:
    """Two people and the outcome of their call."""

    def __init__(self, desk: Desk, on_call: Behaviour, caller: str, human: str) -> None:
        self.desk = desk
        self.caller = desk.exchange.phone(caller, pilot_hertz=PILOTS["caller"])
        self.human = desk.exchange.phone(human, on_call=on_call, pilot_hertz=PILOTS["human"])
        self.phones = [self.caller, self.human]
        self.started = time.monotonic()
        self._known_until: dict[str, float] = {}

    @property
    def phases(self) -> list[str]:
        return [p["phase"] for p in self.desk.worker.phases if p["monotonic"] >= self.started]

    @property
    def reason(self) -> str:
        """Why the transfer failed; empty until it has."""
        failed = [p for p in self.desk.worker.phases if p["monotonic"] >= self.started and p["phase"] == "failed"]
        return str(failed[-1]["reason"]) if failed else ""

    def colleague(self, number: str, on_call: Behaviour) -> Phone:
        """Adds a phone that can be called."""
        phone = self.desk.exchange.phone(number, on_call=on_call, pilot_hertz=PILOTS["human"])
        self.phones.append(phone)
        return phone

    async def dial(self, greeting: str = GREETING) -> None:
        """Calls the front desk and is greeted."""
        assert await self.caller.dial(f"sip:{FRONT_DESK}@{self.desk.gateway.address}", timeout=LIMIT) == 200
        await self.hears(self.caller, greeting)

    async def ask_for_a_person(self, greeting: str = GREETING) -> None:
        await self.dial(greeting)
        self.say(self.caller, REQUEST)

    def say(self, phone: Phone, text: str) -> float:
        """Says `text`; returns the moment at which it ends, if the phone was silent."""
        samples = self.desk.code.synthesize(text).astype(np.float32)
        at_8k = soxr.resample(samples, SPEAKING_RATE, g711.RATE).astype(np.int16)
        phone.say(at_8k)
        return time.monotonic() + len(at_8k) / g711.RATE

    def heard(self, phone: Phone, since: float) -> str:
        """The words said to this phone since then: speech comes sentence by sentence."""
        samples = phone.ear.pcm(since, time.monotonic()).astype(np.float32)
        at_16k = soxr.resample(samples, g711.RATE, HEARING_RATE).astype(np.int16)
        return " ".join(self.desk.code.read_all(at_16k, HEARING_RATE))

    async def hears(self, phone: Phone, words: str, limit: float = LIMIT, every: float = 0.1) -> None:
        """Waits until this phone hears `words`, after the words already found, and until it is quiet.

        Looks once in `every` seconds: each look reads some seconds of speech.
        """
        since = self._known_until.get(phone.number, self.started)
        looked = since

        def said() -> bool:
            """Reads only the sound since the last look, and the sentence that may have begun before it."""
            nonlocal looked
            start, looked = max(since, looked - SENTENCE), time.monotonic()
            return words in self.heard(phone, start)

        try:
            await until(said, f"{phone.number} hears {words!r}", limit, every=every)
        except AssertionError as error:
            raise AssertionError(f"{error}; heard was {self.heard(phone, since)!r}") from None
        await until(lambda: self.heard(phone, time.monotonic() - 0.5) == "", "and its end", every=0.05)
        self._known_until[phone.number] = time.monotonic()

    async def reach_the_human(self, hello: str = "Hello, this is Sarah.") -> None:
        """Asks for a person; the human picks up, says hello and hears the briefing."""
        await self.ask_for_a_person()
        await self.human.wait_for("answered", LIMIT)
        if hello:
            self.say(self.human, hello)
        await self.hears(self.human, "Shall I connect you?")

    async def ends(self) -> float:
        """Waits until nothing of the call is left; returns the seconds that it took."""
        start = time.monotonic()
        await until(
            lambda: not (self.desk.server.rooms.all() or any(phone.in_call for phone in self.phones)),
            "no room and no leg is left",
        )
        return time.monotonic() - start

    def music_on_hold(self) -> bool:
        """Whether the caller heard music for the last second: sound that is no speech of ours."""
        now = time.monotonic()
        samples = self.caller.ear.pcm(now - 1.0, now).astype(np.float64)
        return bool(np.sqrt(np.mean(samples**2)) > 100) and self.heard(self.caller, now - 1.0) == ""

    def leaks(self, bridged_at: float | None = None, least: int = LEAK_FRAMES) -> list[str]:
        """Who heard the other before the bridge, for `least` looks (20 ms) in a row."""
        found = []
        end = bridged_at or time.monotonic()
        for name, phone in (("caller", self.caller), ("human", self.human)):
            ear = phone.ear.pcm(self.started, end)
            if runs(pilot_present(ear, PILOTS[OTHER[name]]), least):
                found.append(name)
        return found

    def phase_time(self, phase: str) -> float:
        return next(
            float(p["monotonic"])
            for p in self.desk.worker.phases
            if p["phase"] == phase and p["monotonic"] >= self.started
        )

    def hear_each_other(self) -> bool:
        now = time.monotonic()
        return all(
            bool(runs(pilot_present(phone.ear.pcm(now - 0.5, now), PILOTS[OTHER[name]]), 5))
            for name, phone in (("caller", self.caller), ("human", self.human))
        )


@contextlib.asynccontextmanager
async def open_desk(
    folder: Path,
    program: Path = ROOT / "agent.py",
    settings: AiSettings | None = None,
    edition: Edition = "cloud",
    pace: Pace | None = None,
) -> AsyncIterator[Desk]:
    """A lab with `program` as its worker; afterwards nothing of any call is left on it.

    Measurements use `REAL_PACE`; without a pace the server takes no time of its own, so that tests take none.
    """
    settings = replace(settings or AiSettings(), engine="instant", events=folder / "ai.jsonl")
    profile = folder / "frontdesk.toml"
    numbers = (ROOT / "frontdesk.toml").read_text()
    profile.write_text(
        numbers.replace(f'number = "{HUMAN}"', f'number = "{HUMAN}"\nringing_timeout = {RINGING_TIMEOUT}')
    )
    server = LabServer(ServerSettings(edition=edition, pace=pace or Pace()))
    gateway = SipGateway(server)
    async with (
        PhoneExchange() as exchange,
        server,
        gateway,
        AiServices(settings) as ai,
    ):
        made = Desk(server, gateway, exchange, ai, folder)
        key, secret = server.settings.api_key, server.settings.api_secret
        environment = {
            "LIVEKIT_URL": server.url,
            "LIVEKIT_API_KEY": key,
            "LIVEKIT_API_SECRET": secret,
            "LIVEKIT_SIP_OUTBOUND_TRUNK": await wire(server.http_url, key, secret, exchange.address, AGENT_NAME),
            "AGENT_NAME": AGENT_NAME,
            "SIP_TRUNK_HOSTNAME": exchange.address,
            "FRONTDESK_TOML": str(profile),
            "TRANSFER_ORDER": str(folder / "order.json"),
            "TRANSFER_REPORT": str(folder / "reports.jsonl"),
            "WORKER_HEALTH_PORT": "0",
            **ai_environment(ai.url),
        }
        made.environment, made.program = environment, program
        try:
            await made.start_worker()
            yield made
        finally:
            await asyncio.shield(made.worker.stop())
    assert not gateway.endpoint.legs and not exchange.endpoint.legs
    assert not server.leftovers()
