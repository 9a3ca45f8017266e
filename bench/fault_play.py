"""One call with a transfer, a fault at a given moment in it, and its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
from livekit.protocol import models

from bench import agent
from bench.desk import CLEAN_UP, HUMAN, REQUEST, Call, Desk
from bench.laws import HEAR_EACH_OTHER, SPEAKS_AGAIN, Ends, Seen
from bench.speed import first_sound, longest_miss, longest_silence
from lab.play.judge import OTHER
from lab.server import Participant, Room
from lab.server.webrtc import WebRtcParticipant
from lab.server.workers import FINISHED
from lab.sip import Answer, Phone
from lab.sip.phones import Behaviour
from lab.waiting import until
from transfer.relay.relay import CHILD

QUESTION = "Shall I connect you?"
RINGING_TIMEOUT = 3
"""Seconds."""
OUTCOME_LIMIT = 15.0
"""Seconds from the tool call within which a transfer has to end."""
STILL_TO_COME = 5.0
"""Seconds that a fault still has to happen once the transfer has ended."""
LATER_LIMIT = agent.LATER + 5.0
LONG = 600.0
BACK_LIMIT = 30.0
"""Seconds that the SDK may take to reconnect after the signalling was away."""
END_LIMIT = CLEAN_UP + 5.0
STOP_LIMIT = 8.0
"""Seconds that a job has to end after its call."""
TALK_ON = 3.0
"""Seconds for which the connected pair is listened to after the fault."""

Act = Callable[["Play"], Awaitable[None]]


async def accepts(play: Play) -> None:
    """The human says hello, listens, and says yes."""
    await play.hello()
    await play.moment("asked")
    await play.accept()


@dataclass(frozen=True)
class Fault:
    """A fault, and how a transfer that keeps the laws nevertheless ends."""

    name: str
    ends: Ends
    reasons: str = ""
    """Our reasons that fit, separated by blanks."""
    on_call: Behaviour = field(default_factory=lambda: Answer(0.5))
    human: Act = accepts
    """Done by the human once the phone is picked up."""
    before: Act | None = None
    """Done when the caller has been greeted."""
    do: Act | None = None
    """Done beside the call; waits for its moment itself. If it is not done by the end, the row has shown nothing."""
    wait: float = 0.0
    """Seconds between the tool call and the transfer."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Of both tasks."""
    ours: dict[str, Any] = field(default_factory=dict)
    """Of ours alone."""
    calls: int = 1
    """Number of calls that come in at once, each with its own human."""
    transfers: int = 1
    """Number of transfers that the caller asks for, each at once after the failure before."""
    limit: float = OUTCOME_LIMIT
    mute: bool = False
    """True: the agent cannot speak afterwards."""
    lost: bool = False
    """True: the agent's connection is away so long that it is made again, or given up: nobody can speak meanwhile, and
    the server's own time limits end the parts that only the agent could end."""
    drain: int | None = None
    """Seconds that the worker waits for its calls when it is asked to stop."""
    talk_on: float | None = None
    """Seconds for which the two, once connected, may not hear each other while `do` is done and 3 s after; None: it ends
    their call, or comes before it."""
    relay: bool = False
    """True: it is about the relay, so it happens where a server cannot move participants."""
    cannot: str = ""
    """Why it cannot happen to the stock task."""

    @property
    def reaches_the_bridge(self) -> bool:
        return self.ends != "failed"


class Play:
    """The call under way, and the ways for a fault to act on it."""

    def __init__(self, desk: Desk, fault: Fault, task: str) -> None:
        self.desk, self.fault, self.task = desk, fault, task
        self.call: Call = desk.call(fault.on_call)
        self.seen = Seen(fault.ends, frozenset(fault.reasons.split() if task == "ours" else ()), fault.transfers)
        self.seen.mute, self.seen.lost = fault.mute or fault.lost, fault.lost
        self.seen.may_miss = fault.talk_on if task != "stock" else None
        self.stopped = False
        """True when the worker has been asked to stop."""
        self.cleanups: list[Callable[[], Awaitable[None]]] = []
        """Callbacks that remove a fault's additions to the call."""
        self._done: dict[str, asyncio.Event] = {}
        self._hung_up_at: dict[str, float] = {}
        self._decided_at = 0.0
        self._room = ""
        self._watching: asyncio.Task[None] | None = None
        self._bridged_at = 0.0
        """When the two were found to hear each other."""
        self._ended_at: float | None = None
        """When no room and no leg was left."""

    # -- what people do

    async def hello(self) -> None:
        await asyncio.sleep(max(0.0, self.call.say(self.call.human, "Hello, this is Sarah.") - time.monotonic()))
        self.reached("hello")

    async def say(self, text: str, phone: Phone | None = None) -> None:
        """The human speaks, if no phone is named."""
        await asyncio.sleep(max(0.0, self.call.say(phone or self.call.human, text) - time.monotonic()))

    def decides(self) -> None:
        """From now on the human may be connected; before, any sound of one at the other's ear is a leak."""
        self._decided_at = self._decided_at or time.monotonic()

    async def accept(self) -> None:
        self.decides()
        await self.say("Yes, please connect me.")
        self.reached("accepted")

    async def hang_up(self, *people: str) -> None:
        for who in people:
            self.leaves(who)
            getattr(self.call, who).hang_up()

    def leaves(self, who: str) -> None:
        """From now on the clock of law 4 runs."""
        self._hung_up_at.setdefault(who, time.monotonic())
        self._watching = self._watching or asyncio.create_task(self._watch_the_end())

    async def _watch_the_end(self) -> None:
        await until(self._nothing_there, "the call ends", LONG)
        self._ended_at = time.monotonic()

    def type(self, text: str) -> None:
        """The caller writes into the chat of the call."""
        caller = self.caller
        stream = f"stream-{time.monotonic()}"
        header = models.DataStream.Header(
            stream_id=stream,
            timestamp=int(time.time() * 1000),
            topic="lk.chat",
            mime_type="text/plain",
            text_header=models.DataStream.TextHeader(),
        )
        chunk = models.DataStream.Chunk(stream_id=stream, chunk_index=0, content=text.encode())
        for packet in (
            models.DataPacket(stream_header=header),
            models.DataPacket(stream_chunk=chunk),
            models.DataPacket(stream_trailer=models.DataStream.Trailer(stream_id=stream)),
        ):
            caller.room.route_data(caller, packet, True)

    # -- participants and processes

    @property
    def caller(self) -> Participant:
        everybody = (p for room in self.desk.server.rooms.all() for p in room.participants.values())
        found = next((p for p in everybody if self._calls(p)), None)
        assert found, "the caller is in no room"
        return found

    def _calls(self, participant: Participant) -> bool:
        return participant.identity == f"sip_{self.call.caller.number}"

    @property
    def agent(self) -> WebRtcParticipant:
        """The caller's agent."""
        agents = [p for p in self.caller.room.participants.values() if p.is_agent and not is_relay(p)]
        assert agents and isinstance(agents[0], WebRtcParticipant)
        return agents[0]

    @property
    def legs(self) -> list[WebRtcParticipant]:
        """The relay's legs, in both rooms."""
        everybody = (p for room in self.desk.server.rooms.all() for p in room.participants.values())
        return [p for p in everybody if isinstance(p, WebRtcParticipant) and is_relay(p)]

    @property
    def agent_process(self) -> psutil.Process:
        return psutil.Process(int((self.desk.folder / "process").read_text()))

    @property
    def relay_process(self) -> psutil.Process:
        """The process that carries the audio, or waits to."""
        found = [child for child in self.agent_process.children() if str(CHILD) in child.cmdline()]
        assert found, "there is no relay process"
        return found[0]

    @property
    def consults(self) -> list[Room]:
        return [r for r in self.desk.server.rooms.all() if not any(self._calls(p) for p in r.participants.values())]

    # -- moments

    def reached(self, moment: str) -> None:
        self._done.setdefault(moment, asyncio.Event()).set()

    async def moment(self, name: str) -> None:
        """called, dialing, ringing, answered, hello, briefing, asked, accepted, move, bridged, reported."""
        phone = self.call.human
        match name:
            case "called":
                await until((self.desk.folder / "called").exists, name, self.fault.limit)
            case "dialing":
                await until(lambda: self._requested("CreateSIPParticipant"), name, self.fault.limit)
            case "ringing" | "answered":
                await phone.wait_for(name, self.fault.limit)
            case "briefing":
                await self.moment("answered")
                answered = phone.event("answered")
                assert answered
                await until(
                    lambda: first_sound(phone, answered.at + 0.1) is not None, name, self.fault.limit, every=0.03
                )
            case "asked":
                await self.moment("answered")
                await until(
                    lambda: QUESTION in self.call.heard(phone, time.monotonic() - 2), name, self.fault.limit, every=0.05
                )
            case "move":
                moves = self.desk.server.settings.edition == "cloud"
                await until(
                    lambda: self._requested("MoveParticipant") if moves else "bridge" in self.call.phases,
                    name,
                    self.fault.limit,
                )
            case "bridged":
                await until(self.call.hear_each_other, name, self.fault.limit, every=0.05)
            case "reported":
                await until(self._outcomes, name, self.fault.limit)
            case _:
                async with asyncio.timeout(self.fault.limit):
                    await self._done.setdefault(name, asyncio.Event()).wait()

    def _requested(self, method: str) -> float:
        """When the method was first called since this play began; 0: not yet."""
        calls = self.desk.server.twirp.faults.calls
        return next((call.at for call in calls if call.method == method and call.at >= self.call.started), 0.0)

    # -- the worker

    def stop_worker(self) -> None:
        self.stopped = True
        os.kill(self.desk.worker.pid, signal.SIGTERM)

    # -- the whole play

    async def run(self) -> Seen:
        fault, call = self.fault, self.call
        own = fault.ours if self.task != "stock" else {}
        self.desk.order(
            self.task,
            wait=fault.wait,
            **{"sip_call_to": HUMAN, "ringing_timeout": RINGING_TIMEOUT, **fault.parameters, **own},
        )
        acting: list[asyncio.Task[None]] = []
        try:
            await call.dial(agent.GREETING)
            self._room = self.caller.room.name
            if fault.before:
                await fault.before(self)
            acting = [asyncio.create_task(self._act())]
            if fault.do:
                acting.append(asyncio.create_task(self._meet(fault.do)))
            call.say(call.caller, REQUEST)
            await self.moment("called")
            await self._transfers()
            if fault.talk_on is not None and self.seen.heard_each_other is not None:
                await self._talk_on(acting[-1])
            elif fault.do:
                await asyncio.wait({acting[-1]}, timeout=STILL_TO_COME)
        finally:
            for task in acting:
                task.cancel()
            await asyncio.gather(*acting, *(clean_up() for clean_up in self.cleanups), return_exceptions=True)
        await self._ends()
        return self.seen

    async def _act(self) -> None:
        await self.moment("answered")
        await self.fault.human(self)

    async def _meet(self, do: Act) -> None:
        self.seen.came_about = False
        with contextlib.suppress(AssertionError, TimeoutError):
            await do(self)
            self.seen.came_about = True

    def _outcomes(self) -> list[dict[str, Any]]:
        return [line for line in self.desk.reports() if "outcome" in line]

    async def _transfers(self) -> None:
        """Waits for each transfer's outcome; after a failure the caller asks again, as often as the fault says."""
        for number in range(1, self.fault.transfers + 1):
            with contextlib.suppress(AssertionError):
                await until(lambda n=number: len(self._outcomes()) >= n, "outcome", self.fault.limit, every=0.02)  # type: ignore[misc]
            await self._after(number == self.fault.transfers)
            if self.seen.gone or len(self._outcomes()) < number:
                break
            if number < self.fault.transfers:
                await self.say(REQUEST, self.call.caller)

    async def _after(self, last: bool) -> None:
        """Checks after an outcome."""
        lines = self._outcomes()
        self.seen.outcomes = [str(line["outcome"]) for line in lines]
        ended = float(lines[-1]["ended"]) if lines else time.monotonic()
        connected = bool(lines) and lines[-1]["outcome"] == "connected"
        self.seen.gone = self._call_is_over(connected) or (self.stopped and not connected)
        if connected and not self.seen.gone:
            with contextlib.suppress(AssertionError):
                await until(self.call.hear_each_other, "they hear each other", HEAR_EACH_OTHER, every=0.05)
                self._bridged_at = time.monotonic()
                self.seen.heard_each_other = self._bridged_at - ended
        elif lines and not self.seen.gone and not self.seen.mute:
            await self._agent_is_back(ended, last)
        called = float((self.desk.folder / "called").read_text())
        until_when = min([time.monotonic(), *self._hung_up_at.values()])
        self.seen.silence = max(self.seen.silence, longest_silence(self.call, called, until_when))
        self.seen.leaks += [f"the {who} heard the other" for who in self.call.leaks(self._decided_at or None)]
        if QUESTION in self.call.heard(self.call.caller, self.call.started):
            self.seen.leaks.append("the caller heard the briefing")
        if lines and not connected and "caller" not in self._hung_up_at and last:
            await self._nothing_left(ended)

    async def _talk_on(self, doing: asyncio.Task[None]) -> None:
        """Measures how much the two miss of each other from now on, during the fault and for a while after."""
        await asyncio.wait({doing})
        done = time.monotonic()
        with contextlib.suppress(AssertionError):
            await until(self.call.hear_each_other, "they hear each other again", TALK_ON, every=0.1)
        await asyncio.sleep(max(0.0, done + TALK_ON - time.monotonic()))
        self.seen.missed = max(longest_miss(self.call, who, self._bridged_at, time.monotonic()) for who in OTHER)

    async def _agent_is_back(self, ended: float, last: bool) -> None:
        caller = self.call.caller
        with contextlib.suppress(AssertionError):
            await until(lambda: self.call.heard(caller, ended) != "", "it speaks", SPEAKS_AGAIN, every=0.05)
            self.seen.spoke_again = time.monotonic() - ended
        if self.seen.spoke_again is None:
            return
        await until(lambda: self.call.heard(caller, time.monotonic() - 0.5) == "", "it has spoken", every=0.05)
        if not last:
            return
        spoken = time.monotonic()
        await self.say("And what now?", caller)
        self.seen.answered_again = False
        with contextlib.suppress(AssertionError):
            await until(lambda: self.call.heard(caller, spoken) != "", "it answers", SPEAKS_AGAIN, every=0.05)
            self.seen.answered_again = True

    async def _nothing_left(self, ended: float) -> None:
        """Waits until nothing is left of a failed transfer, while the caller's call goes on."""
        await asyncio.sleep(max(0.0, ended + CLEAN_UP - time.monotonic()))
        left = [f"room {_short(room)}" for room in self.consults]
        left += ["the human's leg"] if self.call.human.in_call else []
        if not self.stopped and not self.seen.mute:  # an agent that cannot speak has its own tasks that try
            with contextlib.suppress(AssertionError):
                later = await until(self.desk.later_report, "the later report", LATER_LIMIT, every=0.05) or {}
                left += [f"track {name}" for name in later["tracks"] if name != "roomio_audio"]
                left += [f"task {name}" for name in later["tasks"]]
        self.seen.left_after_transfer = left

    def _call_is_over(self, connected: bool) -> bool:
        """Once the two are connected, the call ends with either of them."""
        return "caller" in self._hung_up_at or (connected and "human" in self._hung_up_at)

    async def _ends(self) -> None:
        """The caller hangs up, if the call has not ended; then everything ends."""
        if not self._call_is_over(self.seen.outcomes[-1:] == ["connected"]):
            with contextlib.suppress(AssertionError):
                await until(self._agent_is_there, "the agent's connection is back", BACK_LIMIT, every=0.05)
            await self.hang_up("caller")
        assert self._watching
        await asyncio.wait({self._watching}, timeout=END_LIMIT)
        if self._ended_at is not None:
            over = (
                min(self._hung_up_at.values())
                if self.seen.outcomes[-1:] == ["connected"]
                else self._hung_up_at["caller"]
            )
            self.seen.call_ended = self._ended_at - over
        else:
            self._watching.cancel()
            self.seen.left_after_call = [f"room {_short(room)}" for room in self.desk.server.rooms.all()]
            self.seen.left_after_call += ["the human's leg"] if self.call.human.in_call else []
        with contextlib.suppress(AssertionError):
            await until(lambda: len(self._outcomes()) >= self.seen.transfers, "the outcomes", 1.0)
        self.seen.outcomes = [str(line["outcome"]) for line in self._outcomes()]
        try:
            await until(self._job_has_ended, "the job ends", STOP_LIMIT)
        except AssertionError:
            self.seen.left_after_call.append(f"the job runs on after {STOP_LIMIT:g} s")

    def _job_has_ended(self) -> bool:
        """A room that has lost its agent may outlive the job, and remembers it."""
        return all(job.state.status in FINISHED for job in self.desk.server.dispatcher.jobs.values())

    def _agent_is_there(self) -> bool:
        """The clocks of law 4 begin when the signalling works."""
        if self.stopped or not self.call.caller.in_call:
            return True
        agents = [p for p in self.caller.room.participants.values() if isinstance(p, WebRtcParticipant)]
        return any(agent.websocket is not None for agent in agents) or not self.desk.server.dispatcher.jobs

    def _nothing_there(self) -> bool:
        rooms = [room for room in self.desk.server.rooms.all() if not (self.fault.lost and room.name == self._room)]
        return not (rooms or any(phone.in_call for phone in self.call.phones))


CROWD_LIMIT = 60.0
"""Seconds that each step of many calls at once may take."""
CROWD_LOOK = 0.5
"""Seconds between two looks at the sound of a phone: the lab plays all phones and has one core for it."""
INSIST = 5.0
"""Seconds after which a person in a crowd tries once more if no answer has come."""
LISTENS = 15.0
"""Seconds for which a human listens to a briefing that falters, and then nevertheless takes the call."""


async def crowd(desk: Desk, fault: Fault, task: str) -> list[Seen]:
    """Many transfers at the same time, all to be connected: some may be late, but no caller is lost or mixed up.

    The calls come in one after another: their workers' processes start meanwhile, and that is not judged. All else
    goes before them: the server and the telephones are no part of a machine that has too much to do.
    """
    os.setpriority(os.PRIO_PGRP, desk.worker.pid, 19)
    desk.order(task, sip_call_to="+120255502{caller}", ringing_timeout=30)
    calls = [
        desk.call(fault.on_call, f"+120255503{number:02}", f"+120255502{number:02}") for number in range(fault.calls)
    ]
    for call in calls:
        await call.dial(agent.GREETING)
    return list(await asyncio.gather(*map(_one_of_many, calls)))


async def _one_of_many(call: Call) -> Seen:
    seen = Seen("connected")
    phone = call.human
    with contextlib.suppress(AssertionError):
        await insist(lambda: call.say(call.caller, REQUEST), lambda: phone.in_call, "the human picks up")
        call.say(phone, "Hello, this is Sarah.")
        with contextlib.suppress(AssertionError):
            await call.hears(phone, QUESTION, LISTENS, CROWD_LOOK)
        seen.leaks += [f"the {who} heard the other" for who in call.leaks()]
        await insist(lambda: call.say(phone, "Yes, please connect me."), call.hear_each_other, "they hear each other")
        name = f"I am {call.caller.number}."
        spoken = time.monotonic()
        await insist(
            lambda: call.say(call.caller, name), lambda: name in call.heard(phone, spoken), "who was connected to whom"
        )
        seen.heard_each_other, seen.outcomes = 0.0, ["connected"]
    hung_up = time.monotonic()
    call.caller.hang_up()
    with contextlib.suppress(AssertionError):
        await until(lambda: not phone.in_call, "the human's leg ends", CLEAN_UP)
        seen.call_ended = time.monotonic() - hung_up
    return seen


async def insist(tries: Callable[[], object], done: Callable[[], object], what: str) -> None:
    """Tries again every `INSIST` seconds until it is done; an AssertionError that names `what` after `CROWD_LIMIT`."""
    end = time.monotonic() + CROWD_LIMIT
    while True:
        tries()
        try:
            await until(done, what, INSIST, every=CROWD_LOOK)
            return
        except AssertionError:
            if time.monotonic() > end:
                raise


def is_relay(participant: Participant) -> bool:
    return participant.identity.startswith("relay-")


def _short(room: Room) -> str:
    """A room's name without the number of the caller."""
    return room.name.partition("_")[0]
