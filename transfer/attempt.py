"""One destination, from its first ring to its decision. The next attempt reuses nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from livekit.agents import AgentSession, JobContext, llm
from livekit.agents.utils import is_given
from livekit.agents.voice.turn import TurnHandlingOptions

from transfer import prompts
from transfer.bridge import Bridge
from transfer.brief import Briefing
from transfer.consult import Consult, ConsultAgent, consult_session
from transfer.dial import Destination, Origination
from transfer.events import Phase
from transfer.journal import AttemptJournal
from transfer.outcome import AttemptRecord, TransferReason, WarmTransferError
from transfer.screen import Answerer, from_model

logger = logging.getLogger("transfer")

EARS_LIMIT = 2.0
"""Seconds that the human's sound may take to reach our agent before silence is counted: a media path is set up in one."""
SILENCE_BEFORE_BRIEFING = 1.0
"""Seconds of silence from the human after which our agent speaks first."""
OPINION_LIMIT = 2.0
"""Seconds that the model has to say who picked up."""
AFTER_THE_BEEP = 1.5
"""Seconds of silence after which a voicemail has said all, beep included."""
VOICEMAIL_LIMIT = 40.0
"""Seconds that a voicemail's greeting may take; then no message is left."""
HEARING_OUT_LIMIT = 6.0
"""Seconds for which our agent listens to a line that is never quiet: noise is no reason never to speak."""
BRIEFING_GRACE = 0.5
"""Seconds after the hello that a briefing still being written gets; then it is built without the model."""
JOIN_LIMIT = 8.0
"""Seconds from pick-up that our agent may take to join the consult room: the human hears nothing until then."""
DEADLINE_WARNING = 20.0
"""Seconds before the deadline at which the human is told that the caller waits; half of a shorter deadline."""
GOODBYE_LIMIT = 6.0
"""Seconds that a goodbye may take."""
SHORT_GOODBYE_LIMIT = 1.5
"""Seconds after the caller hangs up at which a goodbye ends: after 2, no leg is left."""
CONSULT_TURN_HANDLING: TurnHandlingOptions = {
    "endpointing": {"min_delay": 0.4, "max_delay": 1.2},
    "interruption": {"discard_audio_if_uninterruptible": False},
}
"""A colleague answers the phone with half a sentence ("Sarah here"); our agent does not wait 3 s for the rest. And
speech over the opening is heard: it may be a machine's."""
GOODBYES = {
    TransferReason.DECLINED: "transfer.goodbye_declined",
    TransferReason.CONSULT_DEADLINE: "transfer.goodbye_deadline",
    TransferReason.HOLD_LIMIT: "transfer.goodbye_deadline",
    TransferReason.TAKEN: "transfer.goodbye_taken",
    TransferReason.CALLER_HUNG_UP: "transfer.goodbye_caller_gone",
    TransferReason.CALLER_CANCELLED: "transfer.goodbye_caller_gone",
    TransferReason.BRIDGE_FAILED: "transfer.goodbye_bridge_failed",
}
"""Last words to a human who has been spoken to."""


@dataclass(frozen=True)
class ConsultOptions:
    """Options that all attempts of one transfer share."""

    line: Origination
    agent: dict[str, Any]
    """Instructions, tools and models of the ConsultAgent."""
    turn_handling: TurnHandlingOptions
    deadline: float
    """Seconds from pick-up to a decision."""
    voicemail_message: str = ""
    """Said to a voicemail; empty: nothing."""
    joins_ahead: bool = True
    """False where several consults go on at once: a relay waits in one of them at most."""


@dataclass
class Attempt:
    """`await run()` returns when the human accepts; `close` ends the rest of it, at any moment."""

    job: JobContext
    caller: AgentSession
    destination: Destination
    consult: Consult
    options: ConsultOptions
    briefing: Briefing
    bridge: Bridge
    journal: AttemptJournal
    failure: WarmTransferError | None = None

    def __post_init__(self) -> None:
        self.consult.on_said = self.journal.said
        self._hello = asyncio.Event()
        """The answering party has said something and paused."""
        self._words = asyncio.Event()
        """Speech has become words, and they were no machine's."""
        self._briefed = asyncio.Event()
        """A person is there, and the briefing begins."""
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Raises WarmTransferError with the reason why nobody accepted."""
        self.journal.enter(Phase.DIAL)
        await self._reach_the_human()
        self.journal.enter(Phase.ANSWERED)
        self.bridge.prepare()  # a phone that is picked up at once never rings
        await self._brief()

    def record(self) -> AttemptRecord:
        return AttemptRecord(
            destination=self.destination.label,
            reason=self.failure.reason if self.failure else None,
            sip_status_code=self.failure.sip_status_code if self.failure else None,
            sip_status=self.failure.sip_status if self.failure else None,
            seconds=dict(self.journal.clock.seconds),
            transcript=list(self.consult.transcript),
        )

    def close(self, failure: WarmTransferError | None = None, since: float | None = None) -> asyncio.Task[None]:
        """Hangs up, after a goodbye that fits the failure to a human who has been spoken to. Only the first call counts.

        `since`: when the failure happened, on the clock of `time.monotonic`; now, when not given.
        """
        if self._closing is None:
            self.failure = failure
            spoken_to = self.journal.clock.phase in (Phase.BRIEF, Phase.BRIDGE) and not self.consult.human_left.is_set()
            self.journal.decided(failure.reason if failure else None)
            goodbye = GOODBYES.get(failure.reason) if failure and spoken_to else None
            message = (
                failure is not None and failure.reason is TransferReason.VOICEMAIL and self.options.voicemail_message
            )
            self._closing = asyncio.create_task(
                self._leave_message(message) if message else self._close(goodbye, since)
            )
        return self._closing

    @property
    def is_open(self) -> bool:
        return self._closing is None

    async def _close(self, goodbye: str | None, since: float | None = None) -> None:
        if goodbye:
            limit = GOODBYE_LIMIT
            if self.failure is not None and self.failure.reason is TransferReason.CALLER_HUNG_UP:
                late = 0.0 if since is None else time.monotonic() - since
                limit = SHORT_GOODBYE_LIMIT - late
            await self._say_goodbye(goodbye, limit)
        await self.consult.close()
        if self.failure:
            self.journal.end(self.failure.reason, self.failure.sip_status_code)
        else:
            self.journal.end(None)

    async def _leave_message(self, text: str) -> None:
        """Speaks after the greeting and the beep; the caller does not wait for it."""
        agent = self.consult.agent
        assert agent
        try:
            async with asyncio.timeout(VOICEMAIL_LIMIT):
                await agent.line.quiet_for(AFTER_THE_BEEP)
                await self.consult.session.interrupt(force=True)
                await self.consult.session.say(text, allow_interruptions=False).wait_for_playout()
        except (TimeoutError, RuntimeError):
            logger.info("the message could not be left")
        await self._close(None)

    async def _say_goodbye(self, goodbye: str, limit: float) -> None:
        """Says a last sentence to the human, where that is still possible."""
        if self.consult.is_away:
            return
        try:
            async with asyncio.timeout(limit):
                await self.consult.session.interrupt(force=True)
                await self.consult.session.say(prompts.sentence(goodbye), allow_interruptions=False).wait_for_playout()
        except (TimeoutError, RuntimeError):
            logger.info("the goodbye could not be said")

    # -- until the phone is picked up

    async def _reach_the_human(self) -> None:
        """Returns when the phone has been picked up and our agent is there."""
        with one_failure():
            async with asyncio.TaskGroup() as group:
                group.create_task(self.options.line.dial(self.job, self.destination, self.consult))
                ringing = group.create_task(self._tell_ringing())
                group.create_task(self._join())
                group.create_task(self._stop_waiting(ringing))

    async def _tell_ringing(self) -> None:
        await self.consult.human_ringing.wait()
        self.journal.enter(Phase.RINGING)
        self.bridge.prepare()  # not sooner: the call itself must not wait for it

    async def _stop_waiting(self, ringing: asyncio.Task[None]) -> None:
        """A phone that is picked up at once never rings."""
        await self.consult.human_active.wait()
        ringing.cancel()

    async def _join(self) -> None:
        options: TurnHandlingOptions = {**CONSULT_TURN_HANDLING}
        if self.caller.turn_detection is not None:
            options["turn_detection"] = self.caller.turn_detection
        options = {**options, **self.options.turn_handling}
        agent = ConsultAgent(
            on_hello=self._hello.set,
            on_words=self._words.set,
            walks_menus=bool(self.destination.dtmf),
            **self.options.agent,
        )
        joining = asyncio.create_task(self.consult.join(consult_session(self.caller, options), agent))
        picked_up = asyncio.create_task(self.consult.human_active.wait())
        try:
            await asyncio.wait({joining, picked_up}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({joining}, timeout=JOIN_LIMIT)
            if not joining.done():
                raise WarmTransferError(TransferReason.FAILED, "our agent cannot join the consult")
            joining.result()
        finally:
            joining.cancel()
            picked_up.cancel()
            await asyncio.gather(joining, picked_up, return_exceptions=True)

    # -- the human is there

    async def _brief(self) -> None:
        """Says the briefing and waits for the decision; returns when the human accepts."""
        self.consult.on_repeat = self._repeat
        opener = asyncio.create_task(self._open_briefing())
        reminder = asyncio.create_task(self._remind())
        try:
            async with asyncio.timeout(self.destination.person_timeout or self.options.deadline) as self._deadline:
                decision = await self.consult.decision()
        except TimeoutError:
            decision = WarmTransferError(self._why_undecided())
        finally:
            for task in (opener, reminder):
                task.cancel()
            await asyncio.gather(opener, reminder, return_exceptions=True)
        if isinstance(decision, WarmTransferError):
            raise decision

    def _why_undecided(self) -> TransferReason:
        agent = self.consult.agent
        assert agent
        # Music and announcements are no person.
        waited_for_one = self.destination.person_timeout is not None and not agent.briefed
        return TransferReason.NOBODY_SPOKE if waited_for_one or not agent.spoken_to else TransferReason.CONSULT_DEADLINE

    def _repeat(self) -> None:
        self._repeating = asyncio.create_task(self._say_briefing())

    async def _open_briefing(self) -> None:
        """Waits for the human's hello; after a second of silence our agent speaks first.

        A speaker who goes on over the opening, as machines do, is heard out before a word about the caller is said.
        """
        agent = self.consult.agent
        assert agent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EARS_LIMIT):
                await self.consult.has_ears.wait()
        try:
            async with asyncio.timeout(SILENCE_BEFORE_BRIEFING):
                await self._hello.wait()
        except TimeoutError:
            if self.consult.session.user_state == "speaking" or agent.spoken_to or not agent.line.is_quiet:
                await self._hello.wait()
        if agent.decision.done():
            return
        self.journal.enter(Phase.BRIEF)
        if self.options.joins_ahead:
            self.bridge.join_ahead(self.consult)
        # Not to be interrupted: the words of the hello itself arrive while it is said.
        await self._say_opening()
        await self._hear_out()
        if agent.line.is_long and agent.answerer is None:
            agent.take_for(await self._second_opinion())
        while agent.answerer is not None and not agent.decision.done():
            await self._wait_for_a_person(agent)
        await self.briefing.settle(BRIEFING_GRACE)
        if self.destination.person_timeout is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + self.options.deadline)
        agent.briefed = True
        self._briefed.set()
        await self._say_briefing()

    async def _say_opening(self) -> None:
        await self.briefing.opening.say(self.consult.session, allow_interruptions=False).wait_for_playout()

    async def _hear_out(self) -> None:
        agent = self.consult.agent
        assert agent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARING_OUT_LIMIT):
                while not agent.line.is_quiet or self.consult.session.user_state == "speaking":
                    self._words.clear()
                    await self._words.wait()

    async def _second_opinion(self) -> Answerer | None:
        """Asks the model about a greeting that is too long for a hello and has none of the words that machines use."""
        model = self.options.agent["llm"] if is_given(self.options.agent["llm"]) else self.caller.llm
        words = " ".join(said.text for said in self.consult.transcript if said.who == "human")
        if not isinstance(model, llm.LLM) or not words:
            return None
        request = llm.ChatContext.empty()
        request.add_message(role="system", content=prompts.instruction("screen", words=words))
        request.add_message(role="user", content=prompts.instruction("requests.screen"))
        try:
            async with asyncio.timeout(OPINION_LIMIT):
                return from_model((await model.chat(chat_ctx=request).collect()).text)
        except Exception as error:  # people are briefed even when the model fails
            logger.info("no second opinion on who picked up: %s", type(error).__name__)
            return None

    async def _wait_for_a_person(self, agent: ConsultAgent) -> None:
        """Introduces us to an assistant, without a word about the caller, and waits until somebody else speaks."""
        session = self.consult.session
        if agent.answerer is Answerer.ASSISTANT:
            answer = session.say(prompts.sentence("transfer.screening_answer"), allow_interruptions=False)
            await answer.wait_for_playout()
        self._words.clear()
        await self._words.wait()
        await self._hear_out()
        if agent.answerer is None:
            await self._say_opening()

    async def _say_briefing(self) -> None:
        """Says all about the caller, and asks the question."""
        agent, session = self.consult.agent, self.consult.session
        assert agent
        if agent.decision.done():
            return
        await session.interrupt()
        said = self.briefing.details.say(session)
        await said.wait_for_playout()
        agent.asked = agent.asked or not said.interrupted

    async def _remind(self) -> None:
        """Reminds the human once, before the deadline, that the caller waits."""
        if self.destination.person_timeout is not None:
            await self._briefed.wait()
        await asyncio.sleep(max(self.options.deadline - DEADLINE_WARNING, self.options.deadline / 2))
        assert self.consult.agent
        if self.consult.agent.briefed and not self.consult.agent.decision.done():
            self.consult.session.say(prompts.sentence("transfer.deadline_warning"))


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
