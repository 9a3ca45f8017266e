"""The warm transfer, top to bottom: hold and dial, brief, bridge; or one reason why not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from livekit import api, rtc
from livekit.agents import NOT_GIVEN, AgentTask, JobContext, NotGivenOr, get_job_context, llm, stt, tts, vad
from livekit.agents.beta.workflows import WorkflowInstructions
from livekit.agents.llm.chat_context import Instructions
from livekit.agents.utils import is_given
from livekit.agents.voice.turn import TurnDetectionMode, TurnHandlingOptions

from transfer import brief, prompts
from transfer.bridge import BridgeKind, make_bridge
from transfer.bridged import LineWatch
from transfer.consult import Consult, ConsultAgent, consult_session
from transfer.dial import Destination, dial
from transfer.events import EventListener, Phase, TransferEvent
from transfer.hold import Hold
from transfer.hold_audio import HoldAudio
from transfer.outcome import TransferReason, WarmTransferError, WarmTransferResult, is_busy_service

logger = logging.getLogger("transfer")

SILENCE_BEFORE_BRIEFING = 1.0
"""Seconds after pick-up: a human who says nothing is spoken to."""
DEFAULT_CONSULT_DEADLINE = 120.0
"""Seconds from pick-up to a decision; what Vapi and Telnyx use."""
BRIEFING_GRACE = 0.5
"""Seconds after the hello that a briefing still being written gets; then it is built without the model."""
JOIN_LIMIT = 15.0
"""Seconds that our own way into the consult room may take."""
SILENT_MOVE = 1.0
"""Seconds of a bridge that does not come about; then the caller hears hold audio again."""
INTRODUCTION_LIMIT = 10.0
"""Seconds that the introduction may take."""
GOODBYES = {
    TransferReason.DECLINED: "transfer/declined.txt",
    TransferReason.CONSULT_DEADLINE: "transfer/deadline.txt",
}
GOODBYE_LIMIT = 6.0
"""Seconds that a goodbye may take."""
CONSULT_TURN_HANDLING: TurnHandlingOptions = {"endpointing": {"min_delay": 0.4, "max_delay": 1.2}}
"""A colleague answers the phone with half a sentence ("Sarah here"); nobody waits 3 s for the rest of it."""


class WarmTransferTask(AgentTask[WarmTransferResult]):
    """Awaited by a tool of the caller's agent; returns when the human is in the caller's room."""

    def __init__(
        self,
        sip_call_to: NotGivenOr[str] = NOT_GIVEN,
        *,
        sip_trunk_id: NotGivenOr[str | None] = NOT_GIVEN,
        sip_connection: NotGivenOr[api.SIPOutboundConfig] = NOT_GIVEN,
        sip_number: NotGivenOr[str] = NOT_GIVEN,
        sip_headers: NotGivenOr[dict[str, str]] = NOT_GIVEN,
        dtmf: NotGivenOr[str | None] = NOT_GIVEN,
        ringing_timeout: NotGivenOr[float | None] = NOT_GIVEN,
        hold_audio: NotGivenOr[HoldAudio] = NOT_GIVEN,
        instructions: NotGivenOr[WorkflowInstructions | Instructions | str] = NOT_GIVEN,
        chat_ctx: NotGivenOr[llm.ChatContext] = NOT_GIVEN,
        turn_handling: NotGivenOr[TurnHandlingOptions] = NOT_GIVEN,
        turn_detection: NotGivenOr[TurnDetectionMode | None] = NOT_GIVEN,
        tools: NotGivenOr[list[llm.Tool | llm.Toolset]] = NOT_GIVEN,
        stt: NotGivenOr[stt.STT | None] = NOT_GIVEN,
        vad: NotGivenOr[vad.VAD | None] = NOT_GIVEN,
        llm: NotGivenOr[llm.LLM | llm.RealtimeModel | None] = NOT_GIVEN,
        tts: NotGivenOr[tts.TTS | None] = NOT_GIVEN,
        allow_interruptions: NotGivenOr[bool] = NOT_GIVEN,
        extra_instructions: str = "",
        target_phone_number: NotGivenOr[str] = NOT_GIVEN,
        bridge: BridgeKind = "auto",
        introduction: str | None = None,
        consult_deadline: float = DEFAULT_CONSULT_DEADLINE,
        on_event: EventListener | None = None,
    ) -> None:
        """The stock task's parameters, with its meanings and defaults, and ours after them.

        Args:
            sip_call_to: Number or SIP URI of the human agent.
            sip_trunk_id: Stored outbound trunk; LIVEKIT_SIP_OUTBOUND_TRUNK when not given.
            sip_connection: Inline trunk; wins over the environment's.
            sip_number: Caller ID; LIVEKIT_SIP_NUMBER when not given, the trunk's when empty.
            sip_headers: Headers of the INVITE.
            dtmf: Keys after the answer, `w` waits half a second; heard in the consult only.
            ringing_timeout: Seconds until a phone that nobody answers is given up.
            hold_audio: What the caller hears meanwhile; None: nothing. Default: the built-in hold music.
            instructions: Of the agent that speaks to the human.
            chat_ctx: The conversation with the caller.
            tools: More tools for that agent; one with the name of ours takes its place.
            extra_instructions: Appended to the default instructions.
            target_phone_number: Old name of `sip_call_to`.
            bridge: How the two are connected.
            introduction: One sentence that the caller's agent says to both after the bridge; it is silent from then on.
                None leaves that, as the stock task does, to whoever awaits the task.
            consult_deadline: Seconds from pick-up until the human must have decided.
            on_event: Called with each TransferEvent.

        Raises:
            ValueError: No target, or neither trunk nor connection.
            WarmTransferError: From awaiting it: a ToolError that tells the model why the transfer failed.
        """
        if extra_instructions and is_given(instructions):
            logger.warning("`extra_instructions` will be ignored when `instructions` is provided")
        history = brief.conversation(chat_ctx if is_given(chat_ctx) else None)
        # The task itself is the caller's agent during the hold: it has no tools and answers nothing.
        super().__init__(instructions=prompts.read("transfer/on_hold.txt"))
        self._consult_values: dict[str, Any] = {
            "instructions": _resolve_instructions(instructions, extra_instructions, history),
            "tools": list(tools or []),
            "stt": stt,
            "vad": vad,
            "llm": llm,
            "tts": tts,
        }
        self._consult_turns = _turn_options(turn_handling, turn_detection, allow_interruptions)
        self._destination = _destination(
            sip_call_to=sip_call_to or target_phone_number or "",
            sip_trunk_id=sip_trunk_id,
            sip_connection=sip_connection,
            sip_number=sip_number,
            sip_headers=sip_headers,
            dtmf=dtmf,
            ringing_timeout=ringing_timeout,
        )
        if target_phone_number:
            logger.warning("`target_phone_number` is deprecated, use `sip_call_to` instead")
        if bridge == "relay":
            make_bridge(bridge, None, None)  # type: ignore[arg-type]  # refuses at once, not in mid-call
        self._hold_audio: HoldAudio = hold_audio if is_given(hold_audio) else None
        self._default_hold_audio = not is_given(hold_audio)
        self._conversation = chat_ctx if is_given(chat_ctx) else None
        self._bridge_kind: BridgeKind = bridge
        self._introduction = introduction
        self._consult_deadline = consult_deadline
        self._on_event = on_event
        self._id = f"transfer-{secrets.token_hex(4)}"
        self._attempts = 0
        self._phase: tuple[Phase, float] | None = None
        self._seconds: dict[str, float] = {}
        self._ended = asyncio.Event()
        self._caller_gone = asyncio.Event()
        self._caller_identity: str | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._spoke = asyncio.Event()
        self._briefing: brief.Briefing | None = None
        self._result: WarmTransferResult | None = None
        self._closing: asyncio.Task[None] | None = None

    # -- the life of the task

    async def on_enter(self) -> None:
        job = get_job_context()
        self._run_task = asyncio.create_task(self._run(job), name=self._id)
        job.add_shutdown_callback(self._on_job_shutdown)

    def complete(self, result: WarmTransferResult | Exception) -> None:
        self._ended.set()
        super().complete(result)

    async def _on_job_shutdown(self) -> None:
        """A pending transfer ends with the job, in an outcome of its own."""
        if self._run_task and not self._run_task.done():
            if not self.done():
                self._run_task.cancel()
            await asyncio.gather(self._run_task, return_exceptions=True)

    async def llm_node(self, *_: Any, **__: Any) -> None:
        """A caller who types during the hold gets no answer, as one who speaks."""

    async def _run(self, job: JobContext) -> None:
        """Walks the phases; however they end, nothing is left and the task completes once."""
        hold = Hold(self.session, job.room, self._hold_audio, use_default=self._default_hold_audio)
        self._watch_caller(job.room)
        outcome = await self._outcome(job, hold)
        job.room.off("participant_disconnected", self._on_participant_left)
        job.room.off("disconnected", self._on_room_left)
        if isinstance(outcome, WarmTransferResult) and self._introduction is not None:
            await self._introduce(hold)
        else:
            hold.give_back()
        if not self.done():
            self.complete(outcome)
        if self._closing:  # closing takes its time; nobody who talks waits for it
            await asyncio.gather(self._closing, return_exceptions=True)

    async def _outcome(self, job: JobContext, hold: Hold) -> WarmTransferResult | WarmTransferError:
        """The transfer, and exactly one outcome of it."""
        failure: WarmTransferError | None = None
        try:
            await self._until_ended(self._transfer(job, hold))
        except WarmTransferError as error:
            failure = error
        except asyncio.CancelledError:
            failure = WarmTransferError(TransferReason.WORKER_STOPPING)
        except Exception as error:
            logger.exception("the transfer failed")
            failure = WarmTransferError(TransferReason.FAILED, type(error).__name__)
        finally:
            await hold.stop_audio()
            if self._briefing is not None:
                await self._briefing.aclose()
        if self._result is not None:
            return self._result  # who hangs up once the two are connected ends a call, not a transfer
        failure = failure or WarmTransferError(TransferReason.FAILED)
        self._enter(Phase.FAILED, failure.reason)
        failure.seconds = dict(self._seconds)
        return failure

    async def _until_ended(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work`, unless the caller leaves or somebody else completes the task; then it is cancelled."""
        task = asyncio.create_task(work)
        caller = asyncio.create_task(self._caller_gone.wait())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({task, caller, ended}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            elif caller.done():
                raise WarmTransferError(TransferReason.CALLER_HUNG_UP)
            else:
                raise WarmTransferError(TransferReason.FAILED, "the task was completed from outside")
        finally:
            for pending in (task, caller, ended):
                pending.cancel()
            await asyncio.gather(task, caller, ended, return_exceptions=True)

    # -- the caller

    def _watch_caller(self, room: rtc.Room) -> None:
        linked = self.session.room_io.linked_participant
        others = list(room.remote_participants.values())
        caller = linked or (others[0] if len(others) == 1 else None)
        self._caller_identity = caller.identity if caller else None
        room.on("participant_disconnected", self._on_participant_left)
        room.on("disconnected", self._on_room_left)
        if not room.isconnected() or (self._caller_identity and self._caller_identity not in room.remote_participants):
            self._caller_gone.set()

    def _on_participant_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller_identity:
            self._caller_gone.set()

    def _on_room_left(self, reason: object) -> None:
        self._caller_gone.set()

    # -- the phases

    async def _transfer(self, job: JobContext, hold: Hold) -> None:
        """Hold audio, dialling, our agent's way into the consult room and the briefing: all at once."""
        self._enter(Phase.HOLD)
        hold.start()
        self._briefing = self._start_briefing()
        try:
            await self._attempt(job, hold)
        except WarmTransferError as error:
            # One more try, under new names, when the SIP service had no room for the first.
            if not (isinstance(error.__cause__, Exception) and is_busy_service(error.__cause__)):
                raise
            await self._attempt(job, hold)

    async def _attempt(self, job: JobContext, hold: Hold) -> None:
        """One consult from its first moment to its last; whatever ends it, it is closed."""
        self._attempts += 1
        self._enter(Phase.DIAL)
        consult = Consult(job)
        try:
            await self._reach_the_human(job, consult)
            self._enter(Phase.ANSWERED)
            await self._brief(consult)
            self._enter(Phase.BRIDGE)
            await self._bridge(job, hold, consult)
            self._enter(Phase.BRIDGED)
            LineWatch(job, self._caller_identity, consult.human_identity)
            self._result = WarmTransferResult(consult.human_identity, dict(self._seconds))
        finally:
            self._closing = asyncio.create_task(consult.close())
            if self._result is None:
                await asyncio.shield(self._closing)

    def _start_briefing(self) -> brief.Briefing:
        given_model, given_voice = self._consult_values["llm"], self._consult_values["tts"]
        model = given_model if is_given(given_model) else self.session.llm
        voice = given_voice if is_given(given_voice) else self.session.tts
        chat_model = model if isinstance(model, llm.LLM) else None
        return brief.Briefing(chat_model, voice or None, self._conversation)

    async def _reach_the_human(self, job: JobContext, consult: Consult) -> None:
        """Returns when the phone has been picked up and our agent is there."""
        with one_failure():
            async with asyncio.TaskGroup() as group:
                group.create_task(dial(job, self._destination, consult))
                ringing = group.create_task(self._tell_ringing(consult))
                group.create_task(self._join(consult))
                group.create_task(self._stop_waiting(consult, ringing))

    async def _tell_ringing(self, consult: Consult) -> None:
        await consult.human_ringing.wait()
        self._enter(Phase.RINGING)

    @staticmethod
    async def _stop_waiting(consult: Consult, ringing: asyncio.Task[None]) -> None:
        """A phone that is picked up at once never rings."""
        await consult.human_active.wait()
        ringing.cancel()

    async def _join(self, consult: Consult) -> None:
        options: TurnHandlingOptions = {**CONSULT_TURN_HANDLING}
        if self.session.turn_detection is not None:
            options["turn_detection"] = self.session.turn_detection
        options = {**options, **self._consult_turns}
        self._spoke.clear()
        agent = ConsultAgent(on_first_turn=lambda words: self._spoke.set(), **self._consult_values)
        try:
            async with asyncio.timeout(JOIN_LIMIT):
                await consult.join(consult_session(self.session, options), agent)
        except TimeoutError:
            raise WarmTransferError(TransferReason.FAILED, "our agent cannot join the consult") from None

    async def _brief(self, consult: Consult) -> None:
        """Says the briefing and waits for the decision; returns when the human accepts."""
        consult.on_repeat = lambda: self._say_briefing(consult)
        opener = asyncio.create_task(self._open_briefing(consult))
        try:
            async with asyncio.timeout(self._consult_deadline):
                decision = await consult.decision()
        except TimeoutError:
            decision = WarmTransferError(TransferReason.CONSULT_DEADLINE)
        finally:
            opener.cancel()
            await asyncio.gather(opener, return_exceptions=True)
        if isinstance(decision, WarmTransferError):
            if goodbye := GOODBYES.get(decision.reason):
                await self._say_goodbye(consult, goodbye)
            raise decision

    async def _open_briefing(self, consult: Consult) -> None:
        """The human's hello comes first; one who says nothing is spoken to after a second."""
        try:
            async with asyncio.timeout(SILENCE_BEFORE_BRIEFING):
                await self._spoke.wait()
        except TimeoutError:
            assert consult.agent
            if consult.session.user_state == "speaking" or consult.agent.spoken_to:
                await self._spoke.wait()
        assert self._briefing
        await self._briefing.settle(BRIEFING_GRACE)
        self._say_briefing(consult)

    def _say_briefing(self, consult: Consult) -> None:
        agent, briefing = consult.agent, self._briefing
        assert agent and briefing
        if agent.decision.done():
            return
        if not agent.briefed:
            self._enter(Phase.BRIEF)
            agent.briefed = True
        consult.session.interrupt()
        if briefing.spoken:
            consult.session.say(briefing.text, audio=briefing.audio())
        else:
            consult.session.say(briefing.text)

    async def _say_goodbye(self, consult: Consult, prompt: str) -> None:
        """A last sentence to the human, as far as one can still be said."""
        try:
            async with asyncio.timeout(GOODBYE_LIMIT):
                await consult.session.interrupt(force=True)
                await consult.session.say(prompts.read(prompt), allow_interruptions=False).wait_for_playout()
        except (TimeoutError, RuntimeError):
            logger.info("the goodbye could not be said")

    async def _bridge(self, job: JobContext, hold: Hold, consult: Consult) -> None:
        """The hold audio is gone before the human could hear it, and our agent's ear before the two can speak."""
        consult.session.input.set_audio_enabled(False)
        await consult.session.interrupt(force=True)
        hold.pause_audio()
        connecting = asyncio.create_task(make_bridge(self._bridge_kind, job, job.room).connect(consult))
        try:
            await asyncio.wait({connecting}, timeout=SILENT_MOVE)
            if not connecting.done():
                hold.resume_audio()
                await asyncio.wait({connecting})
                hold.pause_audio()
            connecting.result()
        except WarmTransferError:
            hold.resume_audio()
            await self._say_goodbye(consult, "transfer/bridge_failed.txt")
            raise
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    async def _introduce(self, hold: Hold) -> None:
        """One sentence to both; the agent hears nothing of what they say."""
        hold.give_back()
        self.session.input.set_audio_enabled(False)
        assert self._introduction
        try:
            async with asyncio.timeout(INTRODUCTION_LIMIT):
                await self.session.say(self._introduction, allow_interruptions=False).wait_for_playout()
        except (TimeoutError, RuntimeError):
            logger.info("the introduction could not be said")

    # -- telling

    def _enter(self, phase: Phase, reason: str = "") -> None:
        now = time.monotonic()
        if self._phase is not None:
            old, since = self._phase
            self._seconds[old] = round(self._seconds.get(old, 0.0) + now - since, 3)
        self._phase = (phase, now)
        values = {"phase": phase.value, "transfer": self._id, "attempt": self._attempts, "monotonic": round(now, 3)}
        logger.info("transfer phase", extra={**values, **({"reason": reason} if reason else {})})
        if self._on_event:
            self._on_event(TransferEvent(self._id, phase, now, self._attempts, reason))


@contextlib.contextmanager
def one_failure() -> Iterator[None]:
    """Raises the one failure behind a task group's: an outcome of ours before anything else."""
    try:
        yield
    except BaseExceptionGroup as group:
        failure = next((error for error in _leaves(group) if isinstance(error, WarmTransferError)), _leaves(group)[0])
        raise failure from failure.__cause__


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _resolve_instructions(
    instructions: NotGivenOr[WorkflowInstructions | Instructions | str], extra: str, history: str
) -> Instructions | str:
    if isinstance(instructions, str) or (is_given(instructions) and not isinstance(instructions, WorkflowInstructions)):
        return instructions
    given = instructions if is_given(instructions) else WorkflowInstructions(extra=extra)
    return given.resolve(
        template=prompts.read("transfer/consult.txt"),
        default_persona=prompts.read("transfer/persona.txt"),
        _conversation_history=history,
    )


def _turn_options(
    turn_handling: NotGivenOr[TurnHandlingOptions],
    turn_detection: NotGivenOr[TurnDetectionMode | None],
    allow_interruptions: NotGivenOr[bool],
) -> TurnHandlingOptions:
    """The old parameters count only without `turn_handling`, as in every agent of LiveKit."""
    if is_given(turn_handling):
        return turn_handling
    options: TurnHandlingOptions = {}
    if is_given(turn_detection):
        options["turn_detection"] = turn_detection
    if is_given(allow_interruptions):
        options["interruption"] = {"enabled": allow_interruptions}
    return options


def _destination(
    *,
    sip_call_to: str,
    sip_trunk_id: NotGivenOr[str | None],
    sip_connection: NotGivenOr[api.SIPOutboundConfig],
    sip_number: NotGivenOr[str],
    sip_headers: NotGivenOr[dict[str, str]],
    dtmf: NotGivenOr[str | None],
    ringing_timeout: NotGivenOr[float | None],
) -> Destination:
    if not sip_call_to:
        raise ValueError("`sip_call_to` must be set")
    connection = sip_connection if is_given(sip_connection) else None
    trunk = sip_trunk_id if is_given(sip_trunk_id) else None
    if not is_given(sip_trunk_id) and connection is None:
        trunk = os.getenv("LIVEKIT_SIP_OUTBOUND_TRUNK")
    if trunk is None and connection is None:
        raise ValueError(
            "`LIVEKIT_SIP_OUTBOUND_TRUNK` environment variable, `sip_trunk_id`, or `sip_connection` must be set"
        )
    return Destination(
        call_to=sip_call_to,
        trunk_id=trunk,
        connection=connection,
        number=sip_number if is_given(sip_number) else os.getenv("LIVEKIT_SIP_NUMBER", ""),
        headers=sip_headers if is_given(sip_headers) else {},
        dtmf=(dtmf if is_given(dtmf) else None) or "",
        ringing_timeout=ringing_timeout if is_given(ringing_timeout) else None,
    )
