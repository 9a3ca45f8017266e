"""The SDK engine: decodes and encodes. For networks without UDP and for encrypted rooms; it adds 60 to 100 ms."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from livekit import rtc

from transfer.relay.closing import to_the_end
from transfer.relay.errors import OTHER, Ended, EndReason, RelayError, RelayFailure, SideName
from transfer.relay.order import EngineName, Order
from transfer.relay.rooms import RoomApi, new_identity
from transfer.server_api import has_hung_up

logger = logging.getLogger("transfer.relay")

CONNECT_LIMIT = 8.0
"""Seconds that both rooms may take: where UDP is blocked, the SDK tries that first."""
RATE, FRAME_MS = 48000, 10
"""Hz and milliseconds: `AudioSource` without a queue takes frames of 10 ms and no others."""
HELD_UP = 0.3
"""Seconds without a frame, of which there is one every 10 ms, after which this process has been held up."""
BEHIND = 2
"""Frames that may wait; older ones are dropped, or the delay would grow and stay."""

ROOM_ENDS = (rtc.DisconnectReason.ROOM_DELETED, rtc.DisconnectReason.ROOM_CLOSED)


def failure_of(error: Exception) -> RelayFailure:
    """Why the SDK could not connect: it says so in words alone, such as "engine: signal failure: client error: 401"."""
    words = str(error)
    if "signal failure" not in words:
        return RelayFailure.NO_MEDIA
    refused = "error: 401" in words or "error: 403" in words
    return RelayFailure.NOT_ALLOWED if refused else RelayFailure.UNREACHABLE


class SdkEngine:
    """See `transfer.relay.engine.Engine`."""

    name: EngineName = "sdk"

    def __init__(self, order: Order, rooms: RoomApi) -> None:
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._order, self._api = order, rooms
        self._rooms: dict[SideName, rtc.Room] = {"first": rtc.Room(), "second": rtc.Room()}
        self._sent: dict[tuple[SideName, str], tuple[rtc.LocalAudioTrack, rtc.AudioSource]] = {}
        """The track in the room of that side for a participant of the other."""
        self._heard: dict[SideName, asyncio.Event] = {"first": asyncio.Event(), "second": asyncio.Event()}
        self._no_key = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._carried: dict[str, asyncio.Task[None]] = {}
        """By the sid of the track."""

    async def start(self) -> None:
        try:
            try:
                async with asyncio.timeout(CONNECT_LIMIT):
                    await asyncio.gather(*(self._join(side) for side in self._rooms))
            except TimeoutError as error:
                raise RelayError(RelayFailure.NO_MEDIA, f"not connected within {CONNECT_LIMIT:g} s") from error
            for side in self._rooms:
                await self._wait_for_participant(side)
        except BaseException:
            await self.close()
            raise

    async def _wait_for_participant(self, side: SideName) -> None:
        heard = asyncio.create_task(self._heard[side].wait())
        ends: set[asyncio.Future[Any]] = {heard, self.ended}
        try:
            await asyncio.wait(ends, timeout=self._order.participant_limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
        if self._no_key:
            raise RelayError(RelayFailure.ENCRYPTED, "there is no key for the room", side)
        if not self._heard[side].is_set():
            here = self._order.side(side).participant in self._rooms[side].remote_participants
            raise RelayError(RelayFailure.NO_PARTICIPANT, "has no audio" if here else "is not there", side)

    async def close(self) -> None:
        await to_the_end(self._close())

    async def _close(self) -> None:
        self._end(None, "stopped")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(room.disconnect() for room in self._rooms.values()), return_exceptions=True)
        await asyncio.gather(*(source.aclose() for _, source in self._sent.values()), return_exceptions=True)

    # -- one room

    async def _join(self, side: SideName) -> None:
        room, ours = self._rooms[side], self._order.side(side)
        key = ours.shared_key.encode()
        encryption = rtc.E2EEOptions(key_provider_options=rtc.KeyProviderOptions(shared_key=key)) if key else None
        room.on("track_published", lambda publication, who: self._on_track(side, publication, who))
        room.on("track_subscribed", lambda track, publication, who: self._carry(side, track, publication, who))
        room.on("track_unsubscribed", lambda track, publication, who: self._drop(publication))
        room.on("track_muted", lambda who, publication: self._pass_on_mute(side, who, True))
        room.on("track_unmuted", lambda who, publication: self._pass_on_mute(side, who, False))
        room.on("sip_dtmf_received", lambda keys: self._pass_on_keys(side, keys))
        room.on("participant_disconnected", lambda who: self._on_left(side, who))
        room.on("participant_attributes_changed", lambda _, who: self._on_attributes(side, who))
        room.on("disconnected", lambda reason: self._on_disconnected(side, reason))
        # `encryption`, not the older `e2ee`: it covers data as well, and keypad tones are data.
        options = rtc.RoomOptions(auto_subscribe=False, encryption=encryption)
        try:
            await room.connect(self._order.url, self._api.token(side, new_identity()), options)
            for identity in self._order.side(OTHER[side]).heard:
                await self._publish(side, identity)
        except (rtc.ConnectError, rtc.room.ConnectError) as error:
            raise RelayError(failure_of(error), type(error).__name__, side) from error
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                self._on_track(side, publication, participant)

    async def _publish(self, side: SideName, identity: str) -> None:
        source = rtc.AudioSource(RATE, 1, queue_size_ms=0)
        track = rtc.LocalAudioTrack.create_audio_track("relay", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, red=False)
        await self._rooms[side].local_participant.publish_track(track, options)
        self._sent[side, identity] = track, source

    async def _publish_anew(
        self, side: SideName, identity: str, old: tuple[rtc.LocalAudioTrack, rtc.AudioSource]
    ) -> None:
        """A listener takes all that follows a stop of the frames for late, and plays it a second late for 20 s."""
        track, source = old
        await self._rooms[side].local_participant.unpublish_track(track.sid)
        await self._publish(side, identity)
        if track.muted:
            self._sent[side, identity][0].mute()
        await source.aclose()

    def _on_track(
        self, side: SideName, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        ours = self._order.side(side)
        about = participant.identity == ours.participant
        speaks = about or (
            participant.identity in ours.also and publication.source == rtc.TrackSource.SOURCE_MICROPHONE
        )
        if publication.kind == rtc.TrackKind.KIND_AUDIO and speaks:
            if about and publication.encryption_type != rtc.EncryptionType.NONE and not ours.shared_key:
                self._no_key = True
                self._end(side, "failed")
            publication.set_subscribed(True)

    # -- what passes

    def _carry(
        self, side: SideName, track: rtc.Track, publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant
    ) -> None:
        if isinstance(track, rtc.RemoteAudioTrack):
            self._carried[publication.sid] = self._spawn(self._copy(side, track, who.identity))

    def _drop(self, publication: rtc.RemoteTrackPublication) -> None:
        if task := self._carried.pop(publication.sid, None):
            task.cancel()

    async def _copy(self, side: SideName, track: rtc.RemoteAudioTrack, identity: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=FRAME_MS, capacity=BEHIND)
        try:
            last = time.monotonic()
            async for event in stream:
                before, last = last, time.monotonic()
                if last - before > HELD_UP and (old := self._sent.pop((OTHER[side], identity), None)):
                    self._spawn(self._publish_anew(OTHER[side], identity, old))
                if identity == self._order.side(side).participant:
                    self._heard[side].set()
                if sent := self._sent.get((OTHER[side], identity)):
                    await sent[1].capture_frame(event.frame)
        finally:
            await stream.aclose()

    def _pass_on_mute(self, side: SideName, who: rtc.Participant, muted: bool) -> None:
        if sent := self._sent.get((OTHER[side], who.identity)):
            track = sent[0]
            (track.mute if muted else track.unmute)()

    def _pass_on_keys(self, side: SideName, keys: rtc.SipDTMF) -> None:
        if keys.participant is not None and keys.participant.identity == self._order.side(side).participant:
            there = self._rooms[OTHER[side]].local_participant
            self._spawn(there.publish_dtmf(code=keys.code, digit=keys.digit))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("the SDK relay broke", exc_info=error)
            self._end(None, "failed")

    # -- what ends it

    def _end(self, side: SideName | None, reason: EndReason) -> None:
        if not self.ended.done():
            self.ended.set_result(Ended(side, reason))

    def _on_attributes(self, side: SideName, who: rtc.Participant) -> None:
        if isinstance(who, rtc.RemoteParticipant) and has_hung_up(who):
            self._on_left(side, who)

    def _on_left(self, side: SideName, who: rtc.RemoteParticipant) -> None:
        stays = who.disconnect_reason in (rtc.DisconnectReason.DUPLICATE_IDENTITY, *ROOM_ENDS)
        reconnecting = self._rooms[side].connection_state != rtc.ConnectionState.CONN_CONNECTED
        if who.identity == self._order.side(side).participant and not (stays or reconnecting):
            self._end(side, "left")

    def _on_disconnected(self, side: SideName, reason: rtc.DisconnectReason.ValueType) -> None:
        self._end(side, "room_deleted" if reason in ROOM_ENDS else "lost")
