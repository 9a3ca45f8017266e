"""The consult: a private room where our agent and the human agent are alone, and the agent that speaks there.

Its tools exist only here: nothing that the caller says or types can reach them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from livekit import api, rtc
from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentSession,
    ConversationItemAddedEvent,
    JobContext,
    ModelSettings,
    StopResponse,
    UserInputTranscribedEvent,
    function_tool,
    llm,
    stt,
)
from livekit.agents.llm import ToolFlag
from livekit.agents.voice.room_io import RoomOptions

from transfer.livekit_adapter import server_url
from transfer.masking import mask
from transfer.outcome import TransferReason, WarmTransferError
from transfer.presence import Departures
from transfer.screen import Answerer, HelloWatch, answerer, is_plain_acceptance
from transfer.server_api import API_ERRORS, CALL_LIMIT, delete_room, is_not_found
from transfer.transcript import Said

logger = logging.getLogger("transfer")

ROOM_EMPTY_TIMEOUT = 120
"""Seconds after which the server itself closes a consult room in which our agent is alone: a killed worker leaves one."""
ROOM_DEPARTURE_TIMEOUT = 5
CONNECT_PAUSE = 0.3
"""Seconds between two tries to join."""
SETTLE_LIMIT = 1.0
"""Seconds that a connection under way, or a session that starts, gets before the room is deleted: if that happens
while the SDK (1.1.21) connects, it waits 15 s for media that cannot come and then creates the room again."""
LATE_LIMIT = 20.0
"""Seconds that closing waits for either, to end it."""
ENDING_LIMIT = 10.0
"""Seconds that closing waits for the end of a call that was being set up."""

KEY_ACCEPT, KEY_DECLINE, KEY_REPEAT = "1", "2", "3"


@dataclass(frozen=True)
class Accepted:
    """The human takes the call."""


Decision = Accepted | WarmTransferError


class ConsultAgent(Agent):
    """Speaks to the human, whose decision is in `decision`."""

    def __init__(
        self,
        *,
        on_hello: Callable[[], None],
        on_words: Callable[[], None],
        tools: list[llm.Tool | llm.Toolset],
        walks_menus: bool = False,
        **values: Any,
    ) -> None:
        """Before the briefing: `on_hello` when an utterance is over, `on_words` when its words are known.

        `walks_menus`: keys are sent, so a phone menu is on the way to the human and not the end of it.
        """
        self.decision: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.briefed = False
        """True once the briefing has begun; before, nothing is answered."""
        self.asked = False
        """True once the human has heard the whole briefing: a plain yes answers it."""
        self.line = HelloWatch()
        self.answerer: Answerer | None = None
        """The last speaker, when it was not the person called."""
        self._walks_menus = walks_menus
        self.spoken_to = False
        """True once somebody has said something or pressed a key, though the turn may not be over."""
        self._on_hello, self._on_words = on_hello, on_words
        given = set(_names(tools))
        own = [
            function_tool(method, flags=ToolFlag.IGNORE_ON_ENTER)
            for method in (self.connect_to_caller, self.decline_transfer, self.voicemail_detected)
            if method.__name__ not in given
        ]
        self._decides_itself = "connect_to_caller" not in given
        super().__init__(tools=[*tools, *own], **values)

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncIterable[stt.SpeechEvent]:
        async for event in Agent.default.stt_node(self, self._listening(audio), model_settings):
            yield event

    async def _listening(self, audio: AsyncIterable[rtc.AudioFrame]) -> AsyncIterator[rtc.AudioFrame]:
        async for frame in audio:
            if self.line.feed(frame):
                self._on_hello()
            yield frame

    def decide(self, decision: Decision) -> None:
        """The first decision counts."""
        if not self.decision.done():
            self.decision.set_result(decision)

    def on_words(self, event: UserInputTranscribedEvent) -> None:
        """Recognises a machine by its words, only before the briefing: machines speak first; later, only people do."""
        if not event.transcript.strip():
            return
        self.spoken_to = True
        if self.briefed:
            return
        heard = answerer(event.transcript)
        if heard or event.is_final:
            self.take_for(heard)
        if event.is_final and not self.decision.done():
            self._on_words()

    def take_for(self, heard: Answerer | None) -> None:
        """There is no person behind a voicemail, nor behind a menu without the keys for it; an assistant may fetch one."""
        self.answerer = heard
        if heard is Answerer.VOICEMAIL:
            self.decide(WarmTransferError(TransferReason.VOICEMAIL))
        elif heard is Answerer.MENU and not self._walks_menus:
            self.decide(WarmTransferError(TransferReason.PHONE_MENU))

    async def connect_to_caller(self) -> None:
        """Called when the human agent wants to connect to the caller."""
        self.decide(Accepted())
        raise StopResponse()

    async def decline_transfer(self, reason: str) -> None:
        """Handles the case when the human agent explicitly declines to connect to the caller.

        Args:
            reason: A short explanation of why the human agent declined to connect to the caller
        """
        self.decide(WarmTransferError(TransferReason.DECLINED, reason))
        raise StopResponse()

    async def voicemail_detected(self) -> None:
        """Called when the call reaches voicemail. Use this tool AFTER you hear the voicemail greeting"""
        self.decide(WarmTransferError(TransferReason.VOICEMAIL))
        raise StopResponse()

    async def on_user_turn_completed(self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage) -> None:
        if not self.briefed:
            self._on_hello()
            raise StopResponse()
        if self.asked and self._decides_itself and is_plain_acceptance(new_message.text_content or ""):
            self.decide(Accepted())  # nobody waits for a model to understand a yes
        if self.decision.done():
            raise StopResponse()


def _names(tools: Sequence[llm.Tool | llm.Toolset]) -> Iterator[str]:
    for tool in tools:
        if isinstance(tool, llm.Toolset):
            yield from _names(tool.tools)
        else:
            yield tool.id


class Consult:
    """One attempt's room, connection, session and identity; none of them is reused."""

    def __init__(self, job: JobContext, transfer: str) -> None:
        """`transfer`: the id of the transfer."""
        self._job, self._transfer = job, transfer
        self._session: AgentSession | None = None
        self._joining: asyncio.Task[None] | None = None
        self._closed = False
        tag = secrets.token_hex(6)
        # The caller's room is named after the caller's number; the consult room must not be.
        self.room_name = f"consult-{tag}"
        self.human_identity = f"human-agent-{tag}"
        self.room = rtc.Room()
        self.human_left = asyncio.Event()
        self.human_active = asyncio.Event()
        """Set when the phone has been picked up: `sip.callStatus` is `active`. A published track is no answer."""
        self.human_ringing = asyncio.Event()
        self.human_heard = asyncio.Event()
        """Set when the human has a track: with a connector, which knows no call status, that is the answer."""
        self.has_ears = asyncio.Event()
        """Set when the human's track has reached our agent, which cannot know earlier words."""
        self.keeps_room = False
        """True once the human stays in this room, which has been joined to the caller's: only our agent leaves it."""
        self.ending: asyncio.Task[None] | None = None
        """Further work that ends a call that was being set up."""
        self.agent: ConsultAgent | None = None
        self.room.on("participant_connected", self._on_participant)
        self.room.on("participant_attributes_changed", lambda changed, participant: self._on_participant(participant))
        self.room.on("track_published", lambda publication, participant: self._on_participant(participant))
        self.room.on("track_subscribed", self._on_subscribed)
        self._departures = Departures(job, self._on_leave, self.room)
        self.room.on("disconnected", self._on_lost)
        self.room.on("sip_dtmf_received", self._on_key)
        self.on_repeat: Callable[[], None] = lambda: None
        self.transcript: list[Said] = []
        self.on_said: Callable[[Said], None] = lambda said: None

    async def create_room(self) -> None:
        """Short time limits: a worker that is killed leaves no room behind for long.

        The metadata tells what the room is for: the server lists it, sends it with each webhook and shows it to everybody
        in the room. So the caller's room is named by its sid: its name may hold the caller's number, as those of dispatch
        rules do, and another call may have that name later.
        """
        metadata = json.dumps({"transfer": self._transfer, "caller_room": self._job.job.room.sid})
        request = api.CreateRoomRequest(
            name=self.room_name,
            empty_timeout=ROOM_EMPTY_TIMEOUT,
            departure_timeout=ROOM_DEPARTURE_TIMEOUT,
            metadata=metadata,
        )
        await self._job.api.room.create_room(request)

    async def join(self, session: AgentSession, agent: ConsultAgent) -> None:
        """Connects our agent to the room and starts its session; it hears and speaks to the human alone."""
        self._session, self.agent = session, agent
        grants = api.VideoGrants(
            room_join=True, room=self.room_name, can_publish=True, can_subscribe=True, can_update_own_metadata=True
        )
        token = api.AccessToken().with_identity(f"agent-{self.room_name}").with_grants(grants).with_kind("agent")
        session.on("user_input_transcribed", agent.on_words)
        session.on("user_input_transcribed", self._on_words)
        session.on("conversation_item_added", self._on_item)
        # Shielded: cancelled half-way, a connection would nevertheless succeed, unseen, and a session could not be closed.
        self._joining = asyncio.create_task(self._join(token.to_jwt(), session, agent))
        self._joining.add_done_callback(lambda joining: joining.cancelled() or joining.exception())
        await asyncio.shield(self._joining)

    async def _join(self, token: str, session: AgentSession, agent: ConsultAgent) -> None:
        await self._connect(token)
        if self._closed:
            return
        if human := self.room.remote_participants.get(self.human_identity):
            self._on_participant(human)
        options = RoomOptions(
            participant_identity=self.human_identity, close_on_disconnect=False, delete_room_on_close=False
        )
        await session.start(agent=agent, room=self.room, room_options=options, record=False)

    async def _connect(self, token: str) -> None:
        """Tries again as long as the consult goes on: the server may be unreachable for a moment while the phone rings."""
        while True:
            try:
                return await self.room.connect(server_url(self._job), token)
            except rtc.ConnectError as error:
                if self._closed:
                    raise
                logger.warning("our agent cannot join the consult yet: %s", mask(str(error)))
                await asyncio.sleep(CONNECT_PAUSE)

    @property
    def is_away(self) -> bool:
        """True while our agent has no connection to the room: nobody hears it."""
        return self.room.connection_state != rtc.ConnectionState.CONN_CONNECTED

    @property
    def session(self) -> AgentSession:
        assert self._session is not None
        return self._session

    def _on_participant(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity != self.human_identity:
            return
        if participant.track_publications:
            self.human_heard.set()
        match participant.attributes.get("sip.callStatus"):
            case "ringing":
                self.human_ringing.set()
            case "active":
                self.human_active.set()
            case "hangup":
                self.human_left.set()

    def _on_subscribed(
        self, _track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if participant.identity == self.human_identity:
            self.has_ears.set()

    def _on_leave(self, identity: str) -> None:
        if identity == self.human_identity:
            self.human_left.set()

    def _on_lost(self, reason: rtc.DisconnectReason.ValueType) -> None:
        """The room has been deleted, or our connection is lost for good."""
        if self.agent is not None and reason != rtc.DisconnectReason.ROOM_DELETED:
            self.agent.decide(WarmTransferError(TransferReason.FAILED, "the connection to the consult was lost"))
        self.human_left.set()

    def _on_words(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            self._note("human", event.transcript)

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage) and event.item.role == "assistant":
            self._note("assistant", event.item.text_content or "")

    def _note(self, who: Literal["human", "assistant"], text: str) -> None:
        said = Said(who, text.strip())
        if said.text:
            self.transcript.append(said)
            self.on_said(said)

    def _on_key(self, event: rtc.SipDTMF) -> None:
        if self.agent is None or event.participant is None or event.participant.identity != self.human_identity:
            return
        self.agent.spoken_to = True
        if event.digit == KEY_ACCEPT and self.agent.briefed:
            self.agent.decide(Accepted())
        elif event.digit == KEY_DECLINE:
            self.agent.decide(WarmTransferError(TransferReason.DECLINED, "declined by a key"))
        elif event.digit == KEY_REPEAT and self.agent.briefed:
            self.on_repeat()

    async def decision(self) -> Decision:
        """The human's decision; a hang-up, when they leave before it or at the same moment."""
        assert self.agent
        gone = asyncio.create_task(self.human_left.wait())
        pending: list[asyncio.Future[Any]] = [self.agent.decision, gone]
        try:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        decided = self.agent.decision.result() if self.agent.decision.done() else None
        if decided is None or (self.human_left.is_set() and isinstance(decided, Accepted)):
            return WarmTransferError(TransferReason.HUMAN_HUNG_UP)
        return decided

    async def close_session(self) -> None:
        """Our agent stops hearing and speaking."""
        session, self._session = self._session, None
        if session is not None:
            session.shutdown(drain=False)
            await session.aclose()

    async def close(self) -> None:
        """Ends everything: first the phone, ringing or talking, then our session, connection and the room."""
        self._closed = True
        if self.keeps_room:
            await self.close_session()
            await self.room.disconnect()
            return
        hanging_up = asyncio.create_task(self._hang_up()) if self._is_joining else None
        if hanging_up is not None:
            await self._settle(SETTLE_LIMIT)
        deleted = await delete_room(self._job.api, self.room_name, pauses=())
        if not deleted:
            await self._hang_up()
        late = self._departures.is_away or self._is_joining
        await self._settle(LATE_LIMIT)
        if self._joining is not None:
            self._joining.cancel()
        await self.close_session()
        await self.room.disconnect()
        if self.ending is not None:
            await asyncio.wait({self.ending}, timeout=ENDING_LIMIT)
        if late or not deleted:
            # Our late arrival has created it again, or the server did not delete it at first; if it never does, it closes
            # the room by itself, ROOM_DEPARTURE_TIMEOUT after the last participant has left.
            await delete_room(self._job.api, self.room_name)
        if hanging_up is not None:
            await hanging_up

    @property
    def _is_joining(self) -> bool:
        return self._joining is not None and not self._joining.done()

    async def _settle(self, limit: float) -> None:
        """Waits for a connection that is under way, or a session that starts."""
        if self._joining is not None:
            await asyncio.wait({self._joining}, timeout=limit)

    async def _hang_up(self) -> None:
        """Ends the phone's leg in a room that cannot be deleted, or not yet; the room ends soon after the last one has left."""
        request = api.RoomParticipantIdentity(room=self.room_name, identity=self.human_identity)
        try:
            async with asyncio.timeout(CALL_LIMIT):
                await self._job.api.room.remove_participant(request)
        except API_ERRORS as error:
            if not is_not_found(error):
                logger.warning("a phone could not be hung up on: %s", type(error).__name__)


def consult_session(caller: AgentSession, turn_handling: Any) -> AgentSession:
    """A session with the models of the caller's."""
    return AgentSession(
        stt=caller.stt or NOT_GIVEN,
        vad=caller.vad or NOT_GIVEN,
        llm=caller.llm or NOT_GIVEN,
        tts=caller.tts or NOT_GIVEN,
        turn_handling=turn_handling,
        session_close_transcript_timeout=0.0,  # nobody reads the last words; the outcome would wait 2 s for them
    )
