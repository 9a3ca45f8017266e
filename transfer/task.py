"""The warm transfer, top to bottom: hold, dial and brief, bridge; or one reason why not."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Coroutine, Generator, Sequence
from typing import Any, Literal

from livekit import api, rtc
from livekit.agents import NOT_GIVEN, AgentTask, JobContext, NotGivenOr, get_job_context, llm, stt, tts, vad
from livekit.agents.beta.workflows import WorkflowInstructions
from livekit.agents.llm.chat_context import Instructions
from livekit.agents.utils import is_given
from livekit.agents.voice.turn import TurnDetectionMode, TurnHandlingOptions

from transfer import brief, options, prompts
from transfer.attempt import Attempt, ConsultOptions
from transfer.bridge import Bridge, Bridged, BridgeKind, make_bridge
from transfer.bridged import AfterBridge, LineWatch
from transfer.consult import Consult
from transfer.dial import Destination, Origination
from transfer.events import EventListener, Phase
from transfer.hold import Hold
from transfer.hold_audio import HoldAudio
from transfer.journal import Journal
from transfer.outcome import GO_ON_AFTER, TransferReason, WarmTransferError, WarmTransferResult, is_busy_service
from transfer.presence import Departures, present_in
from transfer.redaction import Redact
from transfer.redaction import redact as redact_secrets

logger = logging.getLogger("transfer")

DEFAULT_CONSULT_DEADLINE = 120.0
"""Seconds from pick-up to a decision; what Vapi and Telnyx use."""
DEFAULT_HOLD_UPDATES = 20.0
"""Seconds between two spoken updates to the caller on hold."""
CANCEL_KEY = "*"
SILENT_MOVE = 1.0
"""Seconds that a bridge may take in silence; then the caller hears hold audio again."""
INTRODUCTION_LIMIT = 10.0
"""Seconds that the introduction may take."""

DialOrder = Literal["in_order", "all_at_once"]


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
        call_reason: str = "",
        human_name: str = "",
        destinations: Sequence[Destination] = (),
        dial_order: DialOrder = "in_order",
        go_on_after: Collection[TransferReason] = GO_ON_AFTER,
        hold_limit: float | None = None,
        hold_updates: float | None = DEFAULT_HOLD_UPDATES,
        cancel_key: str | None = CANCEL_KEY,
        bridge: BridgeKind = "auto",
        introduction: str | None = None,
        after_bridge: AfterBridge = "end",
        person_timeout: float | None = None,
        consult_deadline: float = DEFAULT_CONSULT_DEADLINE,
        voicemail_message: str = "",
        redact: Redact = redact_secrets,
        on_event: EventListener | None = None,
    ) -> None:
        """The stock task's parameters, with its meanings and defaults, and ours after them.

        Args:
            sip_call_to: Number of the human agent, their extension behind the trunk, or their SIP URI; a URI is dialled over an
                inline trunk to its host, with the credentials of `sip_connection` where that names the same host.
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
            call_reason: Why the caller needs a person, in a few words: in the briefing, in what the human's agent knows, in the
                result and in every event.
            human_name: Of the human agent, such as "Sarah": stands for them in events, spans and records, in place of the number.
            destinations: Instead of `sip_call_to`: several, for one hold. `dtmf`, `ringing_timeout` and `person_timeout` count
                for those that have none of their own.
            dial_order: One after the other, or all at once: the first to accept gets the call, the others are told so.
            go_on_after: Failures after which the next destination is dialled, or the others go on; any other ends the transfer.
            hold_limit: Seconds on hold after which the transfer is given up; None: no limit of its own.
            hold_updates: Seconds between two sentences to the caller on hold; None: none are said.
            cancel_key: With this key the caller ends the hold and gets the agent back; None: no key does.
            bridge: How the two are connected: by MoveParticipant ("move", LiveKit Cloud), by joining the two rooms ("relay",
                any server), or the first where the server has it and the second where not ("auto").
            introduction: One sentence that the caller's agent says to both after the bridge; it is silent from then on.
                None leaves that, as the stock task does, to the tool that awaits the task.
            after_bridge: When the human hangs up and the caller stays, the call ends ("end"). Or the task returns only
                then ("return"), so that the agent can go on with the caller; `ended_by` of the result tells who hung up
                first. Or the agent leaves the room and the line is not watched ("leave").
            person_timeout: Seconds from pick-up until a person speaks, where a queue with music comes first; the deadline then
                begins when they do. None: no limit but the deadline.
            consult_deadline: Seconds from pick-up until the human must have decided.
            voicemail_message: Said to a voicemail after its beep, such as who called and the number to call back; nothing
                about the caller belongs there. Empty: it is hung up on. The caller does not wait for it.
            redact: Takes out of the conversation all that neither a model nor the human may hear; `keep_all` takes out nothing.
            on_event: Called with each TransferEvent; its exceptions are logged, and the transfer goes on.

        Raises:
            ValueError: No target or two ways of naming it, a SIP URI that cannot be dialled, or neither trunk nor connection.
            WarmTransferError: From awaiting it: a ToolError that tells the model why the transfer failed.
        """
        if extra_instructions and is_given(instructions):
            logger.warning("`extra_instructions` will be ignored when `instructions` is provided")
        self._destinations = options.destinations(
            sip_call_to=sip_call_to or target_phone_number or "",
            destinations=destinations,
            dtmf=dtmf,
            ringing_timeout=ringing_timeout,
            person_timeout=person_timeout,
            name=human_name,
        )
        self._redact = redact
        self._history = brief.conversation(chat_ctx if is_given(chat_ctx) else None, redact)
        self._call_reason = " ".join(redact(call_reason).split()).rstrip(".?! ")
        self._consult_instructions, self._extra_instructions = instructions, extra_instructions
        # The task itself is the caller's agent from now on: it has no tools and answers nothing, and no stream to a
        # model that listens or thinks stays open.
        super().__init__(instructions=prompts.instruction("on_hold"), stt=None, vad=None, llm=None)
        self._options = ConsultOptions(
            line=self._way_out(
                sip_trunk_id=sip_trunk_id, sip_connection=sip_connection, sip_number=sip_number, sip_headers=sip_headers
            ),
            agent={
                "tools": list(tools or []),
                "stt": stt,
                "vad": vad,
                "llm": llm,
                "tts": tts,
            },
            turn_handling=options.turn_options(turn_handling, turn_detection, allow_interruptions),
            deadline=consult_deadline,
            voicemail_message=voicemail_message,
            joins_ahead=dial_order == "in_order" or len(self._destinations) == 1,
        )
        if target_phone_number:
            logger.warning("`target_phone_number` is deprecated, use `sip_call_to` instead")
        self._hold_audio: HoldAudio = hold_audio if is_given(hold_audio) else None
        self._default_hold_audio = not is_given(hold_audio)
        self._bridge_kind: BridgeKind = bridge
        self._bridge: Bridge | None = None
        self._introduction = introduction
        self._dial_order: DialOrder = dial_order
        self._go_on_after = frozenset(go_on_after)
        self._hold_limit = hold_limit
        self._hold_updates = hold_updates
        self._cancel_key = cancel_key
        self._after_bridge: AfterBridge = after_bridge
        self._id = f"transfer-{secrets.token_hex(4)}"
        self._journal = Journal(self._id, self._call_reason, on_event)
        self._attempts: list[Attempt] = []
        self._on_hold_since = 0.0
        self._stopped: asyncio.Future[TransferReason] = asyncio.get_running_loop().create_future()
        """Why the walk through the phases ends early: the caller's doing, or somebody else's."""
        self._stopped_at: float | None = None
        """When that was, on the clock of `time.monotonic`."""
        self._caller_identity: str | None = None
        self._caller_number = ""
        """As the telephone network reports it; empty where it is withheld, and for callers who have none."""
        self._room: rtc.Room | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._result: WarmTransferResult | None = None
        self._line: LineWatch | None = None

    def _way_out(self, **sip: Any) -> Origination:
        return options.line(**sip)

    # -- the life of the task

    async def on_enter(self) -> None:
        job = get_job_context()
        self._run_task = asyncio.create_task(self._run(job), name=self._id)
        job.add_shutdown_callback(self._on_job_shutdown)

    def __await__(self) -> Generator[None, None, WarmTransferResult]:
        try:
            return (yield from super().__await__())
        except RuntimeError as error:
            gone = self._why_closed() is TransferReason.CALLER_HUNG_UP or not get_job_context().room.isconnected()
            if self._run_task is None and gone:  # the session closes, and lets nothing begin
                raise WarmTransferError(self._why_closed()) from error
            raise

    def complete(self, result: WarmTransferResult | Exception) -> None:
        if isinstance(result, Exception) and self._run_task is None:
            result = WarmTransferError(self._why_closed())  # the session closed before it let us begin
        self._stop(result.reason if isinstance(result, WarmTransferError) else TransferReason.FAILED)
        super().complete(result)

    def cancel(self) -> None:
        """Called by a session that closes: the caller has left, which it may know sooner than we do, or the job shuts down."""
        if self._result is not None and not self.done():
            self.complete(self._result)
        elif not self.done():
            self.complete(WarmTransferError(self._stopped.result() if self._stopped.done() else self._why_closed()))
        super().cancel()

    def _why_closed(self) -> TransferReason:
        job = get_job_context(required=False)
        room = self._room or (job.room if job else None)
        if room is None:  # completed by somebody else, outside of any call
            return TransferReason.FAILED
        people = present_in(room)
        here = self._caller_identity in people if self._caller_identity else bool(people)
        return TransferReason.WORKER_STOPPING if here else TransferReason.CALLER_HUNG_UP

    def _stop(self, reason: TransferReason) -> None:
        """The first reason counts."""
        if not self._stopped.done():
            self._stopped.set_result(reason)
            self._stopped_at = time.monotonic()

    async def _on_job_shutdown(self) -> None:
        """A pending transfer ends with the job, in an outcome of its own."""
        if self._run_task and not self._run_task.done():
            if not self.done():
                self._run_task.cancel()
            await asyncio.gather(self._run_task, return_exceptions=True)

    async def _run(self, job: JobContext) -> None:
        """Walks the phases; however they end, nothing is left and the task completes once."""
        hold = Hold(self.session, job.room, self._hold_audio, use_default=self._default_hold_audio)
        bridge = make_bridge(self._bridge_kind, job, job.room, lambda: self._caller_identity)
        self._bridge = bridge
        self._watch_caller(job)
        known = brief.what_is_known(self._history, self._call_reason, self._caller_number)
        self._options.agent["instructions"] = options.resolve_instructions(
            self._consult_instructions, self._extra_instructions, known
        )
        outcome = await self._outcome(job, hold)
        self._unwatch_caller(job.room)
        if isinstance(outcome, WarmTransferResult):
            await self._see_them_off(job, hold, outcome)
        else:
            hold.give_back()
        if not self.done():
            self.complete(outcome)
        # Goodbyes and hanging up take time; the two who talk do not wait for them.
        leaving = [attempt.close() for attempt in self._attempts]
        await asyncio.gather(bridge.aclose(), *leaving, return_exceptions=True)

    async def _outcome(self, job: JobContext, hold: Hold) -> WarmTransferResult | WarmTransferError:
        """The transfer, and exactly one outcome of it."""
        failure: WarmTransferError | None = None
        briefing = self._start_briefing()
        try:
            await self._until_stopped(self._transfer(job, hold, briefing))
        except WarmTransferError as error:
            failure = error
        except asyncio.CancelledError:
            failure = WarmTransferError(TransferReason.WORKER_STOPPING)
        except Exception as error:
            logger.exception("the transfer failed")
            failure = WarmTransferError(TransferReason.FAILED, type(error).__name__)
        if self._result is not None:
            failure = None  # a hang-up once the two are connected ends a call, not a transfer
        elif failure is None:
            failure = WarmTransferError(TransferReason.FAILED)
        for attempt in self._attempts:
            attempt.close(failure, self._stopped_at)
        await hold.stop_audio()
        await briefing.aclose()
        outcome = self._result or failure
        assert outcome
        if failure:
            self._journal.enter(Phase.FAILED, failure.reason)
        outcome.call_reason = self._call_reason
        outcome.attempts = [attempt.record() for attempt in self._attempts]
        by_success = sorted(outcome.attempts, key=lambda record: record.reason is None)
        outcome.seconds = {**by_success[-1].seconds} if by_success else {}
        outcome.seconds["hold"] = round(time.monotonic() - self._on_hold_since, 3)
        self._journal.end(failure.reason if failure else None, outcome.seconds)
        return outcome

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work`, unless there is a reason to stop it."""
        task = asyncio.create_task(work)
        try:
            ends: set[asyncio.Future[Any]] = {task, self._stopped}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise WarmTransferError(self._stopped.result())
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- the caller

    def _watch_caller(self, job: JobContext) -> None:
        room = job.room
        linked = self.session.room_io.linked_participant
        others = list(room.remote_participants.values())
        caller = linked or (others[0] if len(others) == 1 else None)
        self._caller_identity, self._room = caller.identity if caller else None, room
        self._caller_number = caller.attributes.get("sip.phoneNumber", "") if caller else ""
        self._departures = Departures(job, self._on_participant_left)
        room.on("disconnected", self._on_room_left)
        room.on("sip_dtmf_received", self._on_key)
        if not room.isconnected() or (self._caller_identity and self._caller_identity not in present_in(room)):
            self._stop(TransferReason.CALLER_HUNG_UP)

    def _unwatch_caller(self, room: rtc.Room) -> None:
        self._departures.close()
        room.off("disconnected", self._on_room_left)
        room.off("sip_dtmf_received", self._on_key)

    def _on_participant_left(self, identity: str) -> None:
        if identity == self._caller_identity:
            self._stop(TransferReason.CALLER_HUNG_UP)

    def _on_room_left(self, reason: rtc.DisconnectReason.ValueType) -> None:
        """A job that shuts down leaves its room before it reports the shutdown; otherwise the room has ended with the caller."""
        own_doing = reason == rtc.DisconnectReason.CLIENT_INITIATED
        self._stop(TransferReason.WORKER_STOPPING if own_doing else TransferReason.CALLER_HUNG_UP)

    def _on_key(self, event: rtc.SipDTMF) -> None:
        by_caller = event.participant is not None and event.participant.identity == self._caller_identity
        if by_caller and event.digit == self._cancel_key:
            self._stop(TransferReason.CALLER_CANCELLED)

    # -- the phases

    async def _transfer(self, job: JobContext, hold: Hold, briefing: brief.Briefing) -> None:
        """Hold audio and dialling begin at once; returns when the two are connected."""
        self._on_hold_since = time.monotonic()
        self._journal.enter(Phase.HOLD)
        hold.start()
        updating = asyncio.create_task(self._update_caller(hold))
        try:
            async with asyncio.timeout(self._hold_limit):
                attempt = await self._somebody_who_accepts(job, briefing)
        except TimeoutError:
            raise WarmTransferError(TransferReason.HOLD_LIMIT) from None
        finally:
            updating.cancel()
            await asyncio.gather(updating, return_exceptions=True)
        attempt.journal.enter(Phase.BRIDGE)
        bridged = await self._connect(hold, attempt)
        human = attempt.consult.human_identity
        if self._is_gone(job.room, human, bridged):
            raise WarmTransferError(TransferReason.HUMAN_HUNG_UP)  # in the same moment; the caller gets the agent back
        attempt.journal.enter(Phase.BRIDGED, bridge=bridged.kind, bridge_reason=bridged.why)
        if self._after_bridge != "leave":
            returns = self._after_bridge == "return"
            self._line = LineWatch(job, self._caller_identity, human, returns=returns, relay=bridged.relay)
        self._result = WarmTransferResult(human, bridge=bridged.kind, bridge_reason=bridged.why)

    @staticmethod
    def _is_gone(room: rtc.Room, human: str, bridged: Bridged) -> bool:
        if bridged.relay is not None:
            return bridged.relay.ended.done()
        return room.connection_state == rtc.ConnectionState.CONN_CONNECTED and human not in present_in(room)

    def _start_briefing(self) -> brief.Briefing:
        """Written and spoken into memory while the phones ring."""
        given_model, given_voice = self._options.agent["llm"], self._options.agent["tts"]
        model = given_model if is_given(given_model) else self.session.llm
        voice = given_voice if is_given(given_voice) else self.session.tts
        chat_model = model if isinstance(model, llm.LLM) else None
        return brief.Briefing(chat_model, voice or None, self._history, self._redact, self._call_reason)

    async def _update_caller(self, hold: Hold) -> None:
        """Says now and then that something is being done; the hold audio goes on after it."""
        while self._hold_updates is not None:
            await asyncio.sleep(self._hold_updates)
            spoken_to = any(attempt.journal.clock.phase is Phase.BRIEF for attempt in self._attempts)
            await hold.say(prompts.sentence("transfer.hold_update_briefing" if spoken_to else "transfer.hold_update"))

    async def _somebody_who_accepts(self, job: JobContext, briefing: brief.Briefing) -> Attempt:
        """WarmTransferError: of the last destination asked, or of the first after which no other is asked."""
        one_by_one = [[destination] for destination in self._destinations]
        groups = one_by_one if self._dial_order == "in_order" else [self._destinations]
        for left in range(len(groups) - 1, -1, -1):
            try:
                winner = await self._ask(job, groups[-1 - left], briefing)
                break
            except WarmTransferError as error:
                if not left or error.reason not in self._go_on_after:
                    raise
        for attempt in self._attempts:
            if attempt is not winner:
                attempt.close(WarmTransferError(TransferReason.TAKEN))
        return winner

    async def _ask(self, job: JobContext, group: Sequence[Destination], briefing: brief.Briefing) -> Attempt:
        """Dials all of the group at the same time; returns the first to accept."""
        asking = {asyncio.create_task(self._try(job, destination, briefing)) for destination in group}
        try:
            while True:
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                failures = [error for task in done if (error := task.exception())]
                if len(failures) < len(done):
                    return next(task.result() for task in done if not task.exception())
                for error in failures:
                    goes_on = isinstance(error, WarmTransferError) and error.reason in self._go_on_after
                    if not asking or not goes_on:
                        raise error
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _try(self, job: JobContext, destination: Destination, briefing: brief.Briefing) -> Attempt:
        """One attempt; one more, under new names, when the SIP service had no room for the first."""
        assert self._bridge
        for last in (False, True):
            consult = Consult(job, self._id)
            attempt = Attempt(
                job,
                self.session,
                destination,
                consult,
                self._options,
                briefing,
                self._bridge,
                self._journal.new_attempt(destination.label, consult),
            )
            self._attempts.append(attempt)
            try:
                await attempt.run()
                return attempt
            except WarmTransferError as error:
                attempt.close(error)
                again = not last and isinstance(error.__cause__, Exception) and is_busy_service(error.__cause__)
                if again or len(self._destinations) > 1:
                    attempt.journal.enter(Phase.ATTEMPT_FAILED, error.reason)
                if not again:
                    raise
        raise AssertionError("the second try returns or raises")

    async def _connect(self, hold: Hold, attempt: Attempt) -> Bridged:
        """The hold audio stops before the human can hear it, and our agent stops hearing before the two can speak."""
        assert self._bridge
        consult = attempt.consult
        consult.session.input.set_audio_enabled(False)
        await consult.session.interrupt(force=True)
        hold.pause_audio()
        connecting = asyncio.create_task(self._bridge.connect(consult))
        try:
            await asyncio.wait({connecting}, timeout=SILENT_MOVE)
            if not connecting.done():
                hold.resume_audio()
                await asyncio.wait({connecting})
                hold.pause_audio()
            return connecting.result()
        except WarmTransferError:
            hold.resume_audio()
            raise
        except asyncio.CancelledError:
            connecting.cancel()
            (done,) = await asyncio.gather(connecting, return_exceptions=True)
            # It may have succeeded at the very moment at which the transfer ended, or may still succeed.
            self._bridge.turn_away(consult.human_identity)
            if isinstance(done, Bridged) and done.relay:
                await done.relay.stop()
            raise

    async def _see_them_off(self, job: JobContext, hold: Hold, result: WarmTransferResult) -> None:
        """Introduces the two, then follows `after_bridge`; the agent hears nothing of their talk."""
        if self._introduction is not None:
            hold.let_speak()
            try:
                async with asyncio.timeout(INTRODUCTION_LIMIT):
                    await self.session.say(self._introduction, allow_interruptions=False).wait_for_playout()
            except (TimeoutError, RuntimeError):
                logger.info("the introduction could not be said")
        elif self._after_bridge == "end":
            hold.give_back()  # as the stock task: the tool that awaited us decides the next words
        if self._after_bridge == "leave":
            job.shutdown("the two are connected")
        elif self._after_bridge == "return" and self._line:
            result.ended_by = await asyncio.shield(self._line.left)
            hold.give_back()
