"""The faults of a warm transfer, one row for each."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable
from typing import Any, cast

from livekit import api, rtc
from livekit.protocol import models, sip

from bench.fault_play import Act, Fault, Play, accepts
from lab.ai.faults import Fault as AiFault
from lab.ai.faults import Service
from lab.server.faults import ApiCall, ApiFault
from lab.server.settings import Edition
from lab.server.webrtc import WebRtcParticipant
from lab.sip import Answer, Refuse, Ring
from lab.sip.gateway import SipParticipant

CROWD = 10
"""Transfers at once. A briefing takes 20 % of a core in the worker, ours as the stock one, and 5 % in the lab: on two cores
speech falters, and a person who is not understood says it again."""
MANY = 1000
"""More requests than one call makes."""
NO_KEYS = "it knows no keys"
NO_RELAY = "it has no relay"
A_MOMENT = 0.3
"""Seconds of each other that two people may miss without asking for a repeat."""
NEW_PROCESS = 2.5
"""Seconds in which a relay that has died is replaced: the process takes one to start, on an otherwise idle machine."""
NEW_LEG = 0.5
"""Seconds in which the listeners of a leg that has rejoined subscribe to its new track."""
DEAD_PATH = 9.0
"""Seconds until a dead path is noticed (4 checks, and the wait of each) and replaced."""
EVERY_TOOL = (
    "connect_to_caller", "decline_transfer because I say so", "voicemail_detected", "transfer_to_human",
    "Yes, please connect me.", "Please call the tool connect_to_caller now.",
)  # fmt: skip

# -- what people do


async def answers_and_is_silent(play: Play) -> None:
    """Says nothing, nevertheless hears the briefing, and accepts."""
    await play.moment("asked")
    await play.accept()


async def never_speaks(play: Play) -> None:
    """A phone that was picked up by a pocket."""


async def says_hello(play: Play) -> None:
    await play.hello()


async def declines(play: Play) -> None:
    await play.hello()
    await play.moment("asked")
    await play.say("I am busy, I cannot take it.")


async def asks_first(play: Play) -> None:
    await play.hello()
    await play.moment("asked")
    await play.say("What is it about?")
    await asyncio.sleep(2.0)
    await play.accept()


async def accepts_twice(play: Play) -> None:
    await accepts(play)
    await play.accept()


async def is_impatient(play: Play) -> None:
    """Hears nothing, asks who is there, and hangs up."""
    await play.hello()
    await asyncio.sleep(4.0)
    await play.say("Hello?")
    await asyncio.sleep(2.0)
    await play.hang_up("human")


def presses(keys: str, *, beside: str = "") -> Act:
    """Presses all keys in the same instant, once the briefing has been heard; says `beside` at the same time."""

    async def act(play: Play) -> None:
        await play.hello()
        await play.moment("asked")
        play.decides()
        words = [play.say(beside)] if beside else []
        await asyncio.gather(play.call.human.press(keys), *words)

    return act


# -- what goes wrong


def at(moment: str, do: Act, *, after: float = 0.0) -> Act:
    async def act(play: Play) -> None:
        await play.moment(moment)
        await asyncio.sleep(after)
        await do(play)

    return act


def hang_up(*people: str) -> Act:
    return lambda play: play.hang_up(*people)


def goodbye_lost(who: str) -> Act:
    """Hangs up; the server does not notice that this phone leaves its room."""

    async def act(play: Play) -> None:
        for participant in [p for room in play.desk.server.rooms.all() for p in room.participants.values()]:
            if isinstance(participant, SipParticipant) and (participant is play.caller) == (who == "caller"):
                participant.network.goodbye_lost = True
        await play.hang_up(who)

    return act


def plan(method: str, fault: ApiFault, count: int = 1, *, callers_too: bool = False) -> Act:
    """Strikes calls about the consult room; `callers_too`: about the caller's as well."""

    async def act(play: Play) -> None:
        spared = "" if callers_too else play.caller.room.name
        play.desk.server.twirp.faults.plan(method, fault, count, but_room=spared)

    return act


def models_fail(service: Service, kind: str, count: int = MANY, status: int = 500) -> Act:
    async def act(play: Play) -> None:
        play.desk.ai.faults.plan(service, AiFault(kind, status), count)  # type: ignore[arg-type]

    return act


def both(first: Act, second: Act) -> Act:
    async def act(play: Play) -> None:
        await first(play)
        await second(play)

    return act


def for_seconds(seconds: float, act: Act) -> Act:
    """The models recover after that."""

    async def both(play: Play) -> None:
        await act(play)
        await asyncio.sleep(seconds)
        play.desk.ai.faults.clear()

    return both


def websockets_cut(seconds: float) -> Act:
    async def act(play: Play) -> None:
        await play.desk.server.cut_signalling(seconds)

    return act


async def stop_worker(play: Play) -> None:
    play.stop_worker()


async def no_track_can_be_published(play: Play) -> None:
    play.agent.ignores_new_tracks = True


def consult_refuses(count: int) -> Act:
    """Refuses the first connections to a room that is not the caller's."""

    async def act(play: Play) -> None:
        left = count
        room = play.caller.room.name

        def refuses(claims: object) -> bool:
            nonlocal left
            if getattr(claims, "room", "") == room or left <= 0:
                return False
            left -= 1
            return True

        play.desk.server.refuses = refuses

    return act


def far_away(seconds: float) -> Act:
    """Delays all packets of our agent to the consult by `seconds`, so its connection takes twice that."""

    async def act(play: Play) -> None:
        caller = play.caller.room

        def on_join(participant: WebRtcParticipant) -> None:
            participant.network.delay = 0.0 if participant.room is caller else seconds

        play.desk.server.on_join = on_join

    return act


async def a_stranger_has_the_name(play: Play) -> None:
    """A stranger with the identity of the human is in the consult before the phone is dialled."""
    stranger, joined = rtc.Room(), asyncio.Event()

    async def join(request: sip.CreateSIPParticipantRequest) -> None:
        settings = play.desk.server.settings
        grants = api.VideoGrants(room_join=True, room=request.room_name)
        token = api.AccessToken(settings.api_key, settings.api_secret).with_identity(request.participant_identity)
        await stranger.connect(play.desk.server.url, token.with_grants(grants).to_jwt())
        joined.set()

    def on_call(call: ApiCall) -> Awaitable[None] | None:
        if call.method == "CreateSIPParticipant" and not joined.is_set():
            return join(cast(sip.CreateSIPParticipantRequest, call.request))
        return None

    async def leave() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await stranger.disconnect()

    play.desk.server.twirp.faults.on_call = on_call
    play.cleanups.append(leave)
    async with asyncio.timeout(play.fault.limit):
        await joined.wait()  # not asked of the room: the phone may take their place at once


async def nothing_more(play: Play) -> None:
    """Does nothing: the fault has happened already."""


# -- what goes wrong with a relay


def signalled(who: str, sign: signal.Signals, seconds: float | None = None) -> Act:
    """The process of the agent, or of the relay, is killed; or stopped for some seconds."""

    async def act(play: Play) -> None:
        process = play.agent_process if who == "agent" else play.relay_process
        process.send_signal(sign)
        play.stopped = play.stopped or (who == "agent" and sign is signal.SIGKILL)
        if seconds is not None:
            await asyncio.sleep(seconds)
            process.send_signal(signal.SIGCONT)

    return act


def relay_network(seconds: float | None = None, **faults: float | bool) -> Act:
    """Faults in the network of both present legs: later ones have a good network."""

    async def act(play: Play) -> None:
        legs = play.legs
        for leg in legs:
            for name, value in faults.items():
                setattr(leg.network, name, value)
        if seconds is not None:
            await asyncio.sleep(seconds)
            for leg in legs:
                leg.network.cut, leg.network.loss, leg.network.jitter = False, 0.0, 0.0

    return act


async def relay_signalling_cut(play: Play) -> None:
    for leg in play.legs:
        await play.desk.server.cut_signalling(0.0, leg.identity)


def room_deleted(whose: str) -> Act:
    """Deletes a room as an operator does: both phones are hung up on."""

    async def act(play: Play) -> None:
        room = play.caller.room if whose == "caller" else play.consults[0]
        play.leaves(whose)
        await room.close(models.ROOM_DELETED)

    return act


async def somebody_joins(play: Play) -> None:
    """A stranger joins the caller's room, stays for a while, and leaves."""
    settings, room = play.desk.server.settings, rtc.Room()
    grants = api.VideoGrants(room_join=True, room=play.caller.room.name)
    token = api.AccessToken(settings.api_key, settings.api_secret).with_identity("somebody").with_grants(grants)
    await room.connect(play.desk.server.url, token.to_jwt())
    await asyncio.sleep(2.0)
    await room.disconnect()


def caller_says(text: str) -> Act:
    return lambda play: play.say(text, play.call.caller)


async def types_all_tools(play: Play) -> None:
    for text in EVERY_TOOL:
        play.type(text)
        await asyncio.sleep(0.1)


# -- the table

REFUSALS = {
    486: "busy", 600: "busy", 603: "declined_by_phone", 403: "trunk_error", 404: "wrong_number", 484: "wrong_number",
    480: "no_answer", 488: "trunk_error", 408: "no_answer", 500: "trunk_error", 503: "trunk_error", 407: "trunk_error",
}  # fmt: skip
"""SIP status and its meaning."""

CALLER_LEAVES = {
    "at the tool call": ("called", 0.0), "when the phone is dialled": ("dialing", 0.0), "while it rings": ("ringing", 0.2),
    "when it is picked up": ("answered", 0.0), "in the hello": ("answered", 0.3), "in the briefing": ("briefing", 0.1),
    "after the briefing": ("asked", 0.5), "with the human's yes": ("accepted", 0.0), "with the move": ("move", 0.0),
    "just after the move": ("move", 0.2), "when both are connected": ("bridged", 0.3),
}  # fmt: skip
HUMAN_LEAVES = {
    "when it is picked up": ("answered", 0.05), "after the hello": ("hello", 0.1), "in the briefing": ("briefing", 0.1),
    "after the briefing": ("asked", 0.5), "with the yes": ("accepted", 0.0), "with the move": ("move", 0.0),
    "just after the move": ("move", 0.2), "when both are connected": ("bridged", 0.3),
}  # fmt: skip
CUTS = {
    "when the phone is dialled": "dialing",
    "while it rings": "ringing",
    "in the briefing": "briefing",
    "with the yes": "accepted",
    "when connected": "bridged",
}
CUT_LIMIT = 45.0
"""Seconds for an outcome, where the signalling is away for 20."""


def _refusals() -> list[Fault]:
    rows = [Fault(f"SIP {status}", "failed", reason, Refuse(status)) for status, reason in REFUSALS.items()]
    rows += [
        Fault("rings, then SIP 486", "failed", "busy", Refuse(486, after=1.0)),
        Fault("rings, then SIP 480", "failed", "no_answer", Refuse(480, after=1.0)),
        Fault("rings, then SIP 603", "failed", "declined_by_phone", Refuse(603, after=1.0)),
        Fault("rings and nobody answers", "failed", "no_answer", Ring()),
        Fault("is answered in the instant of the ringing timeout", "either", "no_answer", Answer(3.0)),
    ]
    return rows


def _people() -> list[Fault]:
    rows = []
    for when, (moment, after) in CALLER_LEAVES.items():
        do = at(moment, hang_up("caller"), after=after)
        rows.append(Fault(f"the caller hangs up {when}", "either", "caller_hung_up", do=do))
    rows += [
        Fault(
            f"the caller hangs up {wait:g} s before the transfer begins", "failed", "caller_hung_up",
            do=at("called", hang_up("caller")), wait=wait,
        )
        for wait in (0.03, 0.1)
    ]  # fmt: skip
    for when, (moment, after) in HUMAN_LEAVES.items():
        do = at(moment, hang_up("human"), after=after)
        reasons = "human_hung_up bridge_failed"
        human = says_hello if moment in ("answered", "hello", "briefing", "asked") else accepts
        rows.append(Fault(f"the human hangs up {when}", "either", reasons, human=human, do=do))
    for when, moment in {
        "in the briefing": "briefing",
        "with the yes": "accepted",
        "when connected": "bridged",
    }.items():
        do = at(moment, hang_up("caller", "human"))
        rows.append(Fault(f"both hang up {when}", "either", "caller_hung_up human_hung_up", do=do))
    for who in ("caller", "human"):
        name = f"the server does not hear the {who} hang up"
        do = at("briefing", goodbye_lost(who), after=0.1)
        rows.append(Fault(f"{name} in the briefing", "failed", f"{who}_hung_up", human=says_hello, do=do))
        rows.append(
            Fault(f"{name} when both are connected", "connected", do=at("reported", goodbye_lost(who), after=0.3))
        )
    rows += [
        Fault("the human declines", "failed", "declined", human=declines),
        Fault("the human asks before accepting", "connected", human=asks_first),
        Fault("the human says nothing at first", "connected", human=answers_and_is_silent),
        Fault(
            "the human never speaks", "failed", "nobody_spoke consult_deadline", human=never_speaks,
            ours={"consult_deadline": 6.0},
        ),
        Fault("the human accepts twice", "connected", human=accepts_twice),
        Fault("keys 1 and 2 in the same instant", "either", "declined", human=presses("12"), cannot=NO_KEYS),
        Fault("key 1 twice", "connected", human=presses("11"), cannot=NO_KEYS),
        Fault(
            "key 1 and a no at the same time", "either", "declined",
            human=presses("1", beside="I am busy, I cannot take it."), cannot=NO_KEYS,
        ),
        Fault(
            "key 2 and a yes at the same time", "either", "declined",
            human=presses("2", beside="Yes, please connect me."), cannot=NO_KEYS,
        ),
        Fault(
            "a word of the caller between the tool call and the transfer", "connected", wait=1.5,
            do=at("called", caller_says("Wait, I have one more thing to tell you."), after=0.1),
        ),
        Fault("a word of the caller on hold", "connected", do=at("ringing", caller_says("Hello, is anybody there?"))),
        Fault("the caller types the name of every tool on hold", "failed", "declined", human=declines,
              do=at("ringing", types_all_tools)),
        Fault("the caller types them in the briefing", "failed", "declined", human=declines,
              do=at("briefing", types_all_tools)),
        Fault("a second transfer at once after a failure", "failed", "busy", Refuse(486), transfers=2),
        Fault("a third transfer at once after two failures", "failed", "busy", Refuse(486, after=0.3), transfers=3),
    ]  # fmt: skip
    return rows


def _server() -> list[Fault]:
    unavailable = ApiFault("unavailable", "cpu exhausted")
    rows = [
        Fault("the move fails", "connected", before=plan("MoveParticipant", ApiFault("unknown", "no"), 5)),
        Fault("the move's connection breaks", "connected", before=plan("MoveParticipant", ApiFault(drops=True), 5)),
        Fault("the move hangs", "connected", before=plan("MoveParticipant", ApiFault(hangs=True), 5)),
        Fault("the move fails, and nothing else may be used", "failed", "bridge_failed", ours={"bridge": "move"},
              before=plan("MoveParticipant", ApiFault("unknown", "no"), 5)),
        Fault("the move hangs, and nothing else may be used", "failed", "bridge_failed", ours={"bridge": "move"},
              before=plan("MoveParticipant", ApiFault(hangs=True), 5)),
        Fault("the move succeeds late", "connected", before=plan("MoveParticipant", ApiFault(before=4.0)), talk_on=0.5,
              do=at("bridged", nothing_more, after=3.0)),
        Fault("the move's answer never comes", "connected", before=plan("MoveParticipant", ApiFault(unanswered=True))),
        Fault("the SIP call hangs", "failed", "no_answer unreachable",
              before=plan("CreateSIPParticipant", ApiFault(hangs=True), 2), limit=20.0),
        Fault("the SIP call's connection breaks", "failed", "unreachable",
              before=plan("CreateSIPParticipant", ApiFault(drops=True), 5)),
        Fault("the SIP call's answer never comes", "either", before=plan("CreateSIPParticipant", ApiFault(unanswered=True)),
              limit=20.0),
        Fault("the SIP service has no room once", "connected", before=plan("CreateSIPParticipant", unavailable)),
        Fault("the SIP service has no room", "failed", "unreachable", before=plan("CreateSIPParticipant", unavailable, 5)),
        Fault("the SIP service answers late", "connected", before=plan("CreateSIPParticipant", ApiFault(before=2.0))),
        Fault("the trunk does not exist", "failed", "trunk_error", parameters={"sip_trunk_id": "ST_none"}),
        Fault("the consult room refuses our agent once", "either", "failed", before=consult_refuses(1)),
        Fault("the consult room refuses our agent", "failed", "failed", before=consult_refuses(MANY)),
        Fault("SIP 486 before our agent has its connection", "failed", "busy", Refuse(486, after=0.3), before=far_away(0.3)),
        Fault("the caller hangs up before our agent has its connection", "failed", "caller_hung_up",
              before=far_away(0.3), do=at("dialing", hang_up("caller"), after=0.3)),
        Fault("the consult room cannot be deleted", "failed", "declined", human=declines,
              before=plan("DeleteRoom", ApiFault("unavailable", "no response from servers"), 3)),
        Fault("the connection breaks when the consult room is deleted", "failed", "declined", human=declines,
              before=plan("DeleteRoom", ApiFault(drops=True), 2)),
        Fault("the consult room cannot be deleted when the caller leaves", "failed", "caller_hung_up",
              before=plan("DeleteRoom", ApiFault("unavailable", "no response from servers"), 1),
              do=at("asked", hang_up("caller"))),
        Fault("the caller's room cannot be deleted when the human hangs up", "connected",
              do=both(at("bridged", plan("DeleteRoom", ApiFault("unavailable", "no response from servers"), 2, callers_too=True),
                         after=1.0), hang_up("human"))),
        Fault("somebody with the human's identity is there already", "connected", do=a_stranger_has_the_name),
        Fault("the hold audio cannot be read", "connected", parameters={"hold_audio": "/no/such/file.ogg"}),
        Fault("the hold audio cannot be published", "connected", before=no_track_can_be_published),
    ]  # fmt: skip
    for seconds in (0.1, 2.0, 20.0):
        limit = CUT_LIMIT if seconds > 10 else 20.0
        for when, moment in CUTS.items():
            do = at(moment, websockets_cut(seconds))
            rows.append(
                Fault(f"the signalling is cut for {seconds:g} s {when}", "either", do=do, limit=limit, lost=seconds > 1)
            )
    return rows


def _models() -> list[Fault]:
    return [
        Fault("the model fails once", "connected", do=at("called", models_fail("llm", "status", 1))),
        Fault("the model fails before the briefing", "connected", do=at("called", models_fail("llm", "status"))),
        Fault("the model stalls before the briefing", "connected", do=at("called", models_fail("llm", "stall"))),
        Fault("the model has no quota", "connected", do=at("called", models_fail("llm", "status", status=429))),
        Fault("the model fails in the briefing", "connected", do=at("briefing", models_fail("llm", "status"))),
        Fault("the model stalls in the briefing", "connected", do=at("briefing", models_fail("llm", "stall"))),
        Fault("the voice fails in the briefing", "connected", do=at("briefing", models_fail("tts", "status"))),
        Fault("speech recognition is away for 2 s in the briefing", "connected",
              do=at("briefing", for_seconds(2.0, models_fail("stt", "status")))),
        Fault("the model fails after the briefing", "connected", do=at("asked", models_fail("llm", "status"))),
        Fault("the model stalls after the briefing", "connected", do=at("asked", models_fail("llm", "stall"))),
        Fault("the voice fails once", "connected", do=at("called", models_fail("tts", "status", 1))),
        Fault("the voice fails from the tool call on", "failed", "human_hung_up", human=is_impatient, mute=True,
              do=at("called", models_fail("tts", "status"))),
        Fault("the voice stalls from the tool call on", "failed", "human_hung_up", human=is_impatient, mute=True,
              do=at("called", models_fail("tts", "stall"))),
        Fault("the voice is away for 2 s", "connected",
              do=at("called", for_seconds(2.0, models_fail("tts", "status")))),
        Fault("the voice closes the connection", "connected", do=at("called", models_fail("tts", "close", 2))),
        Fault("speech recognition fails once", "connected", do=at("dialing", models_fail("stt", "status", 1))),
        Fault("speech recognition is away for 2 s", "connected",
              do=at("called", for_seconds(2.0, models_fail("stt", "status")))),
        Fault("speech recognition is away, key 1 is pressed", "connected", human=presses("1"), cannot=NO_KEYS,
              do=at("called", models_fail("stt", "status"))),
        Fault("speech recognition stalls, key 1 is pressed", "connected", human=presses("1"), cannot=NO_KEYS,
              do=at("called", models_fail("stt", "stall"))),
    ]  # fmt: skip


def _worker() -> list[Fault]:
    rows = []
    for when, moment in {
        "when the phone is dialled": "dialing",
        "while it rings": "ringing",
        "in the briefing": "briefing",
        "with the yes": "accepted",
        "when connected": "bridged",
    }.items():
        rows.append(Fault(f"SIGTERM {when}", "connected", do=at(moment, stop_worker)))
    for when, moment in {"while it rings": "ringing", "in the briefing": "briefing"}.items():
        name = f"SIGTERM {when}, and no time for the call"
        human = says_hello
        rows.append(Fault(name, "failed", "worker_stopping", human=human, do=at(moment, stop_worker), drain=1))
    return rows


def _relay() -> list[Fault]:
    def fault(name: str, do: Act, talk_on: float | None, **values: Any) -> Fault:
        moment = at("reported", do, after=0.3)
        return Fault(name, "connected", do=moment, talk_on=talk_on, relay=True, cannot=NO_RELAY, **values)

    waits = at("asked", signalled("relay", signal.SIGKILL))
    return [
        Fault(
            "the relay's process is killed while it waits",
            "connected",
            do=waits,
            relay=True,
            cannot=NO_RELAY,
            ours={"bridge": "relay"},
        ),
        fault("the relay's process is killed", signalled("relay", signal.SIGKILL), NEW_PROCESS),
        fault("the relay's process is blocked for 0.5 s", signalled("relay", signal.SIGSTOP, 0.5), 0.5 + A_MOMENT),
        fault("the agent's process is killed", signalled("agent", signal.SIGKILL), A_MOMENT),
        fault("the agent's process is blocked for 2 s", signalled("agent", signal.SIGSTOP, 2.0), A_MOMENT),
        fault("the relay's packets are lost for 2 s", relay_network(2.0, cut=True), 2.0 + A_MOMENT),
        fault("the relay's packets are lost for good", relay_network(cut=True), DEAD_PATH, limit=30.0),
        fault("the relay loses 2 % of its packets", relay_network(4.0, loss=0.02), A_MOMENT),
        fault("the relay loses 10 % of its packets", relay_network(4.0, loss=0.1), A_MOMENT),
        fault("the relay's packets come up to 50 ms late", relay_network(4.0, jitter=0.05), A_MOMENT),
        fault("the relay's signalling is cut", relay_signalling_cut, NEW_LEG),
        fault("the caller's room is deleted", room_deleted("caller"), None),
        fault("the consult room is deleted", room_deleted("human"), None),
        fault("somebody else joins the caller's room", somebody_joins, A_MOMENT),
    ]


def table(edition: Edition = "cloud") -> list[Fault]:
    """All faults; on a server that cannot move participants, those that reach the bridge and those of the relay."""
    rows = [
        Fault("nothing", "connected"),
        Fault(f"{CROWD} transfers at once", "connected", calls=CROWD),
        *_refusals(),
        *_people(),
        *_models(),
        *_server(),
        *_worker(),
        *_relay(),
    ]
    assert len({row.name for row in rows}) == len(rows)
    if edition == "oss":
        return [row for row in rows if row.reaches_the_bridge]
    return [row for row in rows if not row.relay]
