"""The lab's telephones: plain SIP phones on one exchange, found by the number that is dialled.

Nothing here knows the lab: the same phones call, and are called by, a real livekit-sip.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from lab.naming import mask
from lab.sip import g711
from lab.sip.digest import Credentials
from lab.sip.endpoint import SipEndpoint
from lab.sip.leg import Leg
from lab.sip.message import SipUri
from lab.sip.playout import Pacer, PlayoutBuffer
from lab.sip.recording import Recording

logger = logging.getLogger("lab.sip.phones")

PILOT_AMPLITUDE = 58.0
"""-55 dBFS: too quiet to be heard, loud enough to survive G.711, Opus and G.711 again."""
BEEP_HERTZ, BEEP_SECONDS = 1000.0, 0.5
MACHINE_PAUSE = 0.3
"""Seconds of silence before a machine's greeting and before its beep."""


@dataclass(frozen=True)
class Ring:
    """Rings and is never answered."""


@dataclass(frozen=True)
class Answer:
    """Rings for `after` seconds and is answered."""

    after: float = 1.0


@dataclass(frozen=True)
class Refuse:
    """Gives `status` (486 busy, 480, 603 declined, 404, 503 …), after ringing for `after` seconds if that is not 0."""

    status: int
    after: float = 0.0


@dataclass(frozen=True)
class Voicemail:
    """Is answered by a machine: `greeting` (16-bit samples, 8 kHz), a beep, then it records in silence."""

    greeting: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    after: float = 1.0


Behaviour = Ring | Answer | Refuse | Voicemail


@dataclass(frozen=True)
class PhoneEvent:
    """`name` is one of dialled, ringback, invited, ringing, answered, refused, key, ended."""

    at: float
    name: str
    detail: str = ""


class Phone:
    """One telephone with one line; a second caller hears busy."""

    def __init__(self, exchange: PhoneExchange, number: str, on_call: Behaviour, pilot_hertz: float | None) -> None:
        self.number = number
        self.on_call = on_call
        self.events: list[PhoneEvent] = []
        self.ear = Recording()
        """The sound heard, after the playout buffer."""
        self.mouth = Recording()
        """The sound said, without the pilot."""
        self.on_heard: Callable[[float, np.ndarray], None] = lambda at, samples: None
        """Each frame of 160 samples as it is heard."""
        self.invite_headers: dict[str, str] = {}
        """Of the last incoming call."""
        self._exchange = exchange
        self._pilot_hertz = pilot_hertz
        self._pilot_position = 0
        self._leg: Leg | None = None
        self._playout = PlayoutBuffer(g711.FRAME)
        self._to_say = np.zeros(0, np.int16)
        self._changed = asyncio.Event()

    @property
    def talking(self) -> bool:
        return self._leg is not None and self._leg.talking

    @property
    def in_call(self) -> bool:
        """True from the first ring to the end."""
        return self._leg is not None

    # -- calling

    async def dial(
        self,
        uri: str,
        *,
        headers: dict[str, str] | None = None,
        credentials: Credentials | None = None,
        timeout: float = 60.0,
    ) -> int:
        """Calls `sip:number@host:port`; the final status, 200 when the other side answered.

        TimeoutError, with the call cancelled, when nobody answers within `timeout` seconds. RuntimeError when
        the phone is in a call already.
        """
        if self._leg is not None:
            raise RuntimeError(f"the phone {mask(self.number)} is in a call: hang up before dialling again")
        target = SipUri.parse(uri)
        leg = Leg(self._exchange.endpoint)
        self._take(leg)
        leg.on_ringing = lambda: self.note("ringback")
        self.note("dialled", uri)
        await leg.invite(uri, (target.host, target.port), self.number, headers=headers, credentials=credentials)
        status = await leg.wait_answered(timeout)
        self.note("answered" if status == 200 else "refused", "" if status == 200 else str(status))
        return status

    def _take(self, leg: Leg) -> None:
        self._leg = leg
        self._playout = PlayoutBuffer(g711.FRAME)
        self._to_say = np.zeros(0, np.int16)
        leg.rtp.on_audio = lambda samples, timestamp, sequence: self._playout.put(samples, timestamp)
        leg.rtp.on_key = lambda key: self.note("key", key)
        leg.on_end = lambda why: self._ended(leg, why)

    def _ended(self, leg: Leg, why: str) -> None:
        if self._leg is leg:
            self._leg = None
            self.note("ended", why)

    # -- being called

    def receive(self, leg: Leg) -> None:
        """An incoming call."""
        if self._leg is not None:
            leg.reject(486)
            return
        assert leg.invite_message
        self.invite_headers = dict(leg.invite_message.headers)
        self._take(leg)
        self.note("invited", leg.caller.user)
        if not (isinstance(self.on_call, Refuse) and self.on_call.after == 0):
            leg.ring()
            self.note("ringing")
        self._exchange.endpoint.tasks.spawn(self._behave(leg, self.on_call))

    async def _behave(self, leg: Leg, behaviour: Behaviour) -> None:
        match behaviour:
            case Refuse():
                await asyncio.sleep(behaviour.after)
                leg.reject(behaviour.status)
            case Answer():
                await asyncio.sleep(behaviour.after)
                await self.answer()
            case Voicemail():
                await asyncio.sleep(behaviour.after)
                await self.answer()
                beep = np.sin(2 * np.pi * BEEP_HERTZ / g711.RATE * np.arange(int(BEEP_SECONDS * g711.RATE)))
                pause = np.zeros(int(MACHINE_PAUSE * g711.RATE), np.int16)
                self.say(np.concatenate([pause, behaviour.greeting, pause, (8000 * beep).astype(np.int16)]))

    async def answer(self) -> None:
        """Picks up; nothing happens when the phone no longer rings."""
        if self._leg is not None and not self._leg.talking:
            await self._leg.accept()
            if self.talking:
                self.note("answered")

    def hang_up(self) -> None:
        """Ends the call, or stops calling, or refuses to answer."""
        if self._leg is not None:
            self._leg.hang_up("hung up")

    # -- mouth and keys

    def say(self, samples: np.ndarray) -> None:
        """Queues 16-bit samples at 8 kHz behind those still to be spoken."""
        self._to_say = np.concatenate([self._to_say, np.asarray(samples, np.int16)])

    @property
    def speaking(self) -> bool:
        return len(self._to_say) > 0

    async def spoken(self) -> None:
        """Returns when all is said, or the call is over."""
        await self._until(lambda: not self.speaking or not self.in_call)

    async def press(self, keys: str) -> None:
        if self._leg is not None:
            await self._leg.press(keys)

    # -- the clock

    def tick(self, now: float) -> None:
        """20 ms of mouth and ear."""
        leg = self._leg
        if leg is None or not leg.talking:
            return
        heard = self._playout.take()
        frame = np.zeros(g711.FRAME, np.int16) if heard is None else heard
        self.ear.append(now, frame)
        self.on_heard(now, frame)
        said = np.zeros(g711.FRAME, np.int16)
        piece, self._to_say = self._to_say[: g711.FRAME], self._to_say[g711.FRAME :]
        said[: len(piece)] = piece
        if len(piece):
            self.mouth.append(now, said)
            if not self.speaking:
                self._changed.set()
        leg.send_audio(self._with_pilot(said))

    def _with_pilot(self, samples: np.ndarray) -> np.ndarray:
        if self._pilot_hertz is None:
            return samples
        phase = 2 * np.pi * self._pilot_hertz / g711.RATE * (self._pilot_position + np.arange(len(samples)))
        self._pilot_position += len(samples)
        return np.clip(samples + PILOT_AMPLITUDE * np.sin(phase), -32768, 32767).astype(np.int16)

    # -- events

    def note(self, name: str, detail: str = "") -> None:
        self.events.append(PhoneEvent(time.monotonic(), name, detail))
        self._changed.set()

    def event(self, name: str, after: float = 0.0) -> PhoneEvent | None:
        """The first event of that name after `after` (monotonic seconds)."""
        return next((event for event in self.events if event.name == name and event.at >= after), None)

    async def wait_for(self, name: str, timeout: float, *, after: float = 0.0) -> PhoneEvent:
        """TimeoutError when it does not happen in time."""
        async with asyncio.timeout(timeout):
            await self._until(lambda: self.event(name, after) is not None)
        event = self.event(name, after)
        assert event
        return event

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class PhoneExchange:
    """One SIP endpoint on which telephones live; a number without a telephone gets 404."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.endpoint = SipEndpoint(host, port, name="lab-phone")
        self.endpoint.on_call = self._on_call
        self.credentials: Credentials | None = None
        """When set, a caller has to prove that it knows them."""
        self._phones: dict[str, Phone] = {}
        self._clock: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return self.endpoint.address

    def phone(self, number: str, *, on_call: Behaviour | None = None, pilot_hertz: float | None = None) -> Phone:
        """A new telephone; `on_call` is `Answer()` unless said otherwise."""
        phone = self._phones[number] = Phone(self, number, on_call or Answer(), pilot_hertz)
        return phone

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        await self.endpoint.start()
        self._clock = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        if self._clock:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        await self.endpoint.stop()

    def _on_call(self, leg: Leg) -> None:
        phone = self._phones.get(leg.called)
        if phone is None:
            leg.reject(404)
        elif self.credentials is None or leg.authorized(self.credentials):
            phone.receive(leg)

    async def _tick(self) -> None:
        pacer = Pacer(time.monotonic())
        while True:
            await asyncio.sleep(max(0.0, pacer.next - time.monotonic()))
            now = time.monotonic()
            for _ in range(pacer.due(now)):
                for phone in list(self._phones.values()):
                    self._tick_one(phone, now)

    @staticmethod
    def _tick_one(phone: Phone, now: float) -> None:
        try:
            phone.tick(now)
        except Exception:  # a listener's mistake must not silence the other phones
            logger.exception("the phone %s failed for 20 ms", mask(phone.number))
