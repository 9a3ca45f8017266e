"""Plays one scenario in real time: starts its servers and worker, lets the people act, keeps the sound they heard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import soxr
from livekit import api

from lab.ai.engines import SPEAKING_RATE
from lab.lab import CALLER, FRONT_DESK, ROOT, AiProcess, Lab, LabError, LabSettings, ai_environment, reason
from lab.play import judge
from lab.play.judge import Evidence, Heard
from lab.play.machine import Load, LoadMeter, measure
from lab.play.people import Actor, CueMissed, PersonGone, Utterance, until
from lab.play.report import Event, Report, write
from lab.play.scenario import HumanPhone, Scenario, Step
from lab.play.worker import WorkerProcess
from lab.server.settings import Edition
from lab.sip import Answer, Phone, PhoneExchange, Refuse, Ring, Voicemail, g711
from lab.sip.phones import Behaviour

PASSED, FAILED, TOO_BUSY = 0, 1, 3
DIAL_LIMIT = 30.0
CLEAN_UP_LIMIT = {True: 2.0, False: 5.0}
"""Seconds until nothing may be left: in the lab, and on a real server, which announces silent participants every 3 s."""
ROOM_PREFIXES = ("call-", "consult-")
MARGIN = 0.25
"""Seconds around an utterance that are given to recognition."""

Print = Callable[[float, str, str], None]


@dataclass(frozen=True)
class Stack:
    """Where the call happens."""

    url: str
    key: str
    secret: str
    sip_address: str
    phones: PhoneExchange
    ai: AiProcess
    worker_environment: dict[str, str]
    own: bool
    """True in the lab, False on a real server."""


@contextlib.asynccontextmanager
async def open_stack(folder: Path, edition: Edition) -> AsyncIterator[Stack]:
    """The lab, of that edition, or with LIVEKIT_URL in the environment a server that already runs.

    The AI services are always ours.
    """
    url = os.environ.get("LIVEKIT_URL", "")
    if not url:
        async with Lab(LabSettings(logs=folder, edition=edition)) as lab:
            environment = lab.worker_environment()
            key, secret = environment["LIVEKIT_API_KEY"], environment["LIVEKIT_API_SECRET"]
            yield Stack(lab.server.url, key, secret, lab.sip_address, lab.phones, lab.ai, environment, own=True)
        return
    names = ("SIP_ADDRESS", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_SIP_OUTBOUND_TRUNK")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise LabError(f"with LIVEKIT_URL set, {', '.join(missing)} must be set as well")
    host, _, port = os.environ.get("PHONES_ADDRESS", "127.0.0.1:5071").partition(":")
    ai = AiProcess(LabSettings(logs=folder))
    try:
        await ai.start()
        async with PhoneExchange(host, int(port or 0)) as phones:
            key, secret, trunk = (os.environ[name] for name in names[1:])
            environment = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret}
            environment |= {"LIVEKIT_SIP_OUTBOUND_TRUNK": trunk, **ai_environment(ai.url)}
            yield Stack(url, key, secret, os.environ["SIP_ADDRESS"], phones, ai, environment, own=False)
    except OSError as error:
        raise LabError(f"the telephones cannot listen on {host}:{port}: {reason(error)}") from None
    finally:
        await ai.stop()


class Voices:
    """People's lines, synthesised before the call so that they cost nothing in it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lines: dict[tuple[str, str], np.ndarray] = {}

    async def prepare(self, lines: list[tuple[str, str]]) -> None:
        async with aiohttp.ClientSession() as session:
            for voice, text in lines:
                body = {"input": text, "voice": voice, "model": "lab"}
                async with session.post(f"{self._url}/v1/audio/speech", json=body) as response:
                    response.raise_for_status()
                    samples = np.frombuffer(await response.read(), "<i2")
                at_8k = soxr.resample(samples.astype(np.float32), SPEAKING_RATE, g711.RATE)
                loudest = max(1.0, float(np.abs(at_8k).max()))
                self._lines[voice, text] = (at_8k / loudest * 16000).astype(np.int16)

    def line(self, voice: str, text: str) -> np.ndarray:
        return self._lines[voice, text]


class Player:
    """One call."""

    def __init__(self, scenario: Scenario, stack: Stack, worker: WorkerProcess, voices: Voices, show: Print) -> None:
        self._scenario, self._stack, self._worker, self._voices, self._show = scenario, stack, worker, voices, show
        self._start = 0.0
        self.events: list[Event] = []
        self.problem = ""
        """Why the call could not be played to its end."""
        exchange = stack.phones
        caller = exchange.phone(CALLER, pilot_hertz=judge.PILOTS["caller"])
        human = exchange.phone(
            scenario.human.number,
            on_call=_behaviour(scenario.human, voices),
            pilot_hertz=judge.PILOTS["human"],
        )
        self.actors = {"caller": Actor("caller", caller), "human": Actor("human", human)}
        for name, actor in self.actors.items():
            actor.on_said = lambda text, name=name: self._tell(name, f"“{text}”")  # type: ignore[misc]
        self._last_hang_up = 0.0
        self.left: list[str] = []
        self.end_seconds = 0.0

    def now(self) -> float:
        return time.monotonic() - self._start

    def _tell(self, who: str, what: str) -> None:
        self.events.append(Event(round(self.now(), 3), who, what))
        self._show(self.now(), who, what)

    async def play(self) -> None:
        self._start = time.monotonic()
        self._worker.on_phase = self._on_phase
        watchers = [asyncio.create_task(self._follow(name)) for name in self.actors]
        try:
            await self._converse()
        except (CueMissed, PersonGone) as problem:
            self.problem = str(problem)
            self._tell("call", f"PROBLEM: {problem}")
        finally:
            for actor in self.actors.values():
                actor.phone.hang_up()
            self._last_hang_up = time.monotonic()
            await self._wait_for_the_end()
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _converse(self) -> None:
        caller = self.actors["caller"].phone
        try:
            status = await caller.dial(f"sip:{FRONT_DESK}@{self._stack.sip_address}", timeout=DIAL_LIMIT)
        except TimeoutError:
            raise CueMissed(f"the front desk does not answer within {DIAL_LIMIT:g} s") from None
        if status != 200:
            raise CueMissed(f"the front desk's number answers {status}")
        for number, step in enumerate(self._scenario.steps, 1):
            await self._do(step, f"step {number}, the {step.who}")

    async def _do(self, step: Step, name: str) -> None:
        actor = self.actors[step.who]
        if step.wait_for:
            await until(self._cue(step, actor), step.limit, f"{name} waits for '{step.wait_for}'", self._alive(step))
        await asyncio.sleep(step.after)
        if step.say:
            await actor.speak(step.say, self._voices.line(step.who, step.say))
        if step.press:
            await actor.phone.press(step.press)
            actor.act_now()
        if step.hang_up:
            actor.phone.hang_up()

    def _cue(self, step: Step, actor: Actor) -> Callable[[], bool]:
        human = self.actors["human"].phone
        match step.wait_for.partition(":"):
            case "heard", _, _:
                return actor.heard_something
            case "rings", _, _:
                return lambda: human.event("ringing") is not None
            case "picked_up", _, _:
                return lambda: human.event("answered") is not None
            case "stops_ringing", _, _:
                return lambda: human.event("ended") is not None
            case _, _, phase:
                return lambda: self._seen_phase(phase, actor)

    def _seen_phase(self, phase: str, actor: Actor) -> bool:
        seen = next((p for p in self._worker.phases if p["phase"] == phase and p["monotonic"] >= self._start), None)
        if seen:
            actor.act_now()
        return seen is not None

    def _alive(self, step: Step) -> Callable[[], bool]:
        caller = self.actors["caller"].phone
        if step.wait_for == "stops_ringing":
            return lambda: True
        return lambda: caller.in_call

    def _on_phase(self, phase: dict[str, Any]) -> None:
        reason = f": {phase['reason']}" if phase.get("reason") else ""
        self._tell("call", f"{phase['phase']}{reason}")

    async def _follow(self, name: str) -> None:
        """Prints live the events of a phone, and in words the speech heard there."""
        actor, told_events, told_words = self.actors[name], 0, 0
        async with aiohttp.ClientSession() as session:
            while True:
                for event in actor.phone.events[told_events:]:
                    told_events += 1
                    self._tell(
                        "call",
                        f"{name}'s phone: {event.name}" + (f" {event.detail}" if event.name != "invited" else ""),
                    )
                done = [u for u in actor.listener.utterances[told_words:] if time.monotonic() - u.end > 0.6]
                for utterance in done:
                    told_words += 1
                    text = await self.transcribe(session, actor.phone, utterance)
                    if text:
                        self._show(self.now(), name, f"hears: {text}")
                await asyncio.sleep(0.05)

    async def transcribe(self, session: aiohttp.ClientSession, phone: Phone, utterance: Utterance) -> str:
        samples = phone.ear.pcm(utterance.start - MARGIN, utterance.end + MARGIN)
        return await recognise(session, self._stack.ai.url, judge.without_pilots(samples))

    # -- the end

    async def _wait_for_the_end(self) -> None:
        """Asks the server and the phones, as any client could, until nothing is left."""
        limit = CLEAN_UP_LIMIT[self._stack.own]
        async with api.LiveKitAPI(
            self._stack.url.replace("ws", "http", 1), self._stack.key, self._stack.secret
        ) as calls:
            while True:
                self.left = await self._still_there(calls)
                self.end_seconds = time.monotonic() - self._last_hang_up
                if not self.left or self.end_seconds > limit + 1:
                    return
                await asyncio.sleep(0.05)

    async def _still_there(self, calls: api.LiveKitAPI) -> list[str]:
        left = [f"the {name}'s phone" for name, actor in self.actors.items() if actor.phone.in_call]
        for room in (await calls.room.list_rooms(api.ListRoomsRequest())).rooms:
            if room.name.startswith(ROOM_PREFIXES):
                left.append(f"room {room.name.partition('-')[0]}")
        if self._phase_names() and not {"bridged", "failed"} & set(self._phase_names()):
            left.append("a transfer without an outcome")
        return left

    def _phase_names(self) -> list[str]:
        return [p["phase"] for p in self._worker.phases if p["monotonic"] >= self._start]

    # -- facts known afterwards

    async def evidence(self) -> Evidence:
        end = self._last_hang_up
        phases = [p for p in self._worker.phases if p["monotonic"] >= self._start]
        at = {p["phase"]: p["monotonic"] - self._start for p in phases}
        evidence = Evidence(
            ears={name: actor.phone.ear.pcm(self._start, end) for name, actor in self.actors.items()},
            hold=at.get("hold"),
            transfer_end=at.get("bridged", at.get("failed")),
            bridge=at.get("bridge"),
            outcome=_outcome(phases),
            left=self.left,
            end_seconds=self.end_seconds,
            end_limit=CLEAN_UP_LIMIT[self._stack.own],
        )
        async with aiohttp.ClientSession() as session:
            for name, actor in self.actors.items():
                clean = judge.without_pilots(evidence.ears[name])
                evidence.heard[name] = [
                    Heard(round(u.start - self._start, 2), round(u.end - self._start, 2), text)
                    for u in actor.listener.utterances
                    if (text := await recognise(session, self._stack.ai.url, self._cut(clean, u)))
                ]
        return evidence

    def _cut(self, samples: np.ndarray, utterance: Utterance) -> np.ndarray:
        first = max(0, int((utterance.start - MARGIN - self._start) * g711.RATE))
        return samples[first : int((utterance.end + MARGIN - self._start) * g711.RATE)]

    def phases(self, seconds: float) -> list[tuple[str, float, float]]:
        """Bands for the timeline."""
        known = [
            (p["phase"], p["monotonic"] - self._start) for p in self._worker.phases if p["monotonic"] >= self._start
        ]
        return bands(known, seconds)


def bands(changes: list[tuple[str, float]], end: float) -> list[tuple[str, float, float]]:
    """Name, start and end of each phase from the moments of their changes; a call without a transfer has none."""
    ends = [at for _, at in changes[1:]] + [end]
    return [
        (name, round(at, 2), round(until_, 2))
        for (name, at), until_ in zip(changes, ends, strict=False)
        if name != "failed"
    ]


def _behaviour(phone: HumanPhone, voices: Voices) -> Behaviour:
    match phone.on_call:
        case "ring":
            return Ring()
        case "refuse":
            return Refuse(phone.status, phone.after)
        case "voicemail":
            return Voicemail(voices.line("human", phone.greeting), phone.after)
        case _:
            return Answer(phone.after)


def _outcome(phases: list[dict[str, Any]]) -> str:
    names = [p["phase"] for p in phases]
    if "bridged" in names:
        return "connected"
    return next((str(p.get("reason", "")) for p in reversed(phases) if p["phase"] == "failed"), "none")


async def recognise(session: aiohttp.ClientSession, url: str, samples: np.ndarray) -> str:
    """The words in 16-bit samples at 8 kHz."""
    address = f"{url}/v1/listen?encoding=linear16&sample_rate={g711.RATE}"
    async with session.post(address, data=samples.astype("<i2").tobytes()) as response:
        body = await response.json()
    return str(body["results"]["channels"][0]["alternatives"][0]["transcript"])


async def play(
    scenario: Scenario, out: Path, show: Print, say: Callable[[str], None], edition: Edition = "cloud"
) -> Report:
    """Starts everything, plays, judges and writes the files below `out`."""
    folder = out / scenario.name
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "worker.log"
    log.unlink(missing_ok=True)
    async with open_stack(folder, edition) as stack:
        worker = WorkerProcess({**stack.worker_environment, "WORKER_HEALTH_PORT": "0"}, log)
        voices = Voices(stack.ai.url)
        try:
            seconds, _ = await asyncio.gather(worker.start(), voices.prepare(scenario.lines()))
            say(f"worker ready after {seconds:.1f} s")
            before = await asyncio.to_thread(measure, 1.0)
            say(f"machine before the call: {before}")
            player = Player(scenario, stack, worker, voices, show)
            meter = LoadMeter()
            meter.start()
            try:
                await player.play()
            finally:
                during = meter.stop()
            evidence = await player.evidence()
        finally:
            await worker.stop()
    report = _report(scenario, player, evidence, before, during)
    ears = {name: judge.without_pilots(samples) for name, samples in evidence.ears.items()}
    write(folder, report, ears)
    return report


def _report(scenario: Scenario, player: Player, evidence: Evidence, before: Load, during: Load) -> Report:
    findings = judge.judge(evidence, scenario.outcome, scenario.expectations)
    if player.problem:
        findings.insert(0, judge.Finding("played to the end", False, player.problem))
    ok = all(finding.ok for finding in findings)
    seconds = max(len(samples) for samples in evidence.ears.values()) / g711.RATE
    start = player._start
    said = {
        name: [Heard(round(a - start, 2), round(b - start, 2), text) for a, b, text in actor.said]
        for name, actor in player.actors.items()
    }
    merge = judge.merge_moment(evidence) if evidence.outcome == "connected" else None
    load = {"before": before, "during": during}
    return Report(
        scenario=scenario.name,
        title=scenario.title,
        seconds=seconds,
        events=player.events,
        said=said,
        heard=evidence.heard,
        phases=player.phases(seconds),
        findings=[replace(finding) for finding in findings],
        merge=merge,
        load={name: vars(value) for name, value in load.items()},
        exit_code=PASSED if ok else TOO_BUSY if during.too_busy else FAILED,
    )


def output_folder() -> Path:
    return ROOT / "out" / "demo"
