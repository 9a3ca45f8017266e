"""One call: its dialog and its sound. The same for both directions."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

import numpy as np

from lab.sip import sdp
from lab.sip.digest import Challenger, Credentials, answer_challenge
from lab.sip.message import Address, SipMessage, SipUri, parameter, uri_in
from lab.sip.rtp import RtpSession
from lab.sip.sdp import AudioDescription


class LegState(Enum):
    NEW = auto()
    EARLY = auto()
    CONFIRMED = auto()
    ENDED = auto()


class Endpoint(Protocol):
    """The part of its endpoint that a leg needs."""

    host: str
    name: str
    """Our User-Agent."""
    challenger: Challenger
    legs: dict[tuple[str, str], Leg]
    """By Call-ID and our own tag."""
    sounds: set[RtpSession]

    @property
    def address(self) -> str: ...
    def via(self) -> str: ...
    def transmit(self, message: SipMessage, address: Address) -> None: ...
    def request(self, request: SipMessage, address: Address, on_response: Callable[[SipMessage], None]) -> None: ...
    def respond(self, request: SipMessage, response: SipMessage, address: Address) -> None: ...
    def forget(self, request: SipMessage) -> None: ...


class Leg:
    """Callbacks: `on_ringing()` and, once, `on_end(why)`; `rtp` has those for sound and keys."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.state = LegState.NEW
        self.call_id = ""
        self.invite_message: SipMessage | None = None
        """The INVITE that made the call."""
        self.status = 0
        """The final status of an outgoing call; 0 before there is one."""
        self.reason = ""
        self.remote_tag = ""
        self.on_ringing: Callable[[], None] = lambda: None
        self.on_end: Callable[[str], None] = lambda why: None
        self.rtp = RtpSession()
        self._incoming = False
        self._address: Address = ("", 0)
        self._local = self._remote = ""
        """From and To values of our requests within the dialog."""
        self._target = ""
        self._routes: list[str] = []
        self._sequence = 0
        self._tag = secrets.token_hex(6)
        self._final: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._credentials: Credentials | None = None
        self._headers: dict[str, str] = {}
        self._cancelled = False
        self._provisional = False
        self._said_goodbye = False
        self._accepting = False
        self._offered_again = False
        """True while our offer, the answer to a re-INVITE without one, waits for the answer in the ACK."""
        self._contact = ""

    @property
    def talking(self) -> bool:
        return self.state is LegState.CONFIRMED and self.rtp.connected

    @property
    def ended(self) -> bool:
        return self.state is LegState.ENDED

    # -- outgoing

    async def invite(
        self,
        uri: str,
        address: Address,
        from_user: str,
        *,
        headers: dict[str, str] | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Calls `uri` at `address`. OSError when no port can be had for the sound."""
        if self.ended:
            return
        self.call_id = f"{secrets.token_hex(12)}@{self.endpoint.host}"
        self._local = f"<sip:{from_user}@{self.endpoint.address}>;tag={self._tag}"
        self._remote, self._target, self._address = f"<{uri}>", uri, address
        self._headers, self._credentials = dict(headers or {}), credentials
        self._contact = f"<sip:{from_user}@{self.endpoint.address}>"
        self.endpoint.legs[self._key] = self
        await self._open_sound()
        if self.ended:  # hung up while the port was being opened
            return
        self.state = LegState.EARLY
        self._send_invite()

    @property
    def _key(self) -> tuple[str, str]:
        return self.call_id, self._tag

    async def _open_sound(self) -> None:
        self.endpoint.sounds.add(self.rtp)
        self.rtp.on_closed = lambda: self.endpoint.sounds.discard(self.rtp)
        try:
            await self.rtp.open(self.endpoint.host)
        except OSError:
            self.endpoint.sounds.discard(self.rtp)
            self._over("no port for the sound")
            raise

    def _send_invite(self, authorization: tuple[str, str] | None = None) -> None:
        request = self._request("INVITE")
        for name, value in self._headers.items():
            request.add(name, value)
        if authorization:
            request.add(*authorization)
        request.add("Content-Type", "application/sdp")
        request.body = sdp.write(self.endpoint.host, self.rtp.port)
        self.invite_message = request
        self.endpoint.request(request, self._address, self._on_invite_response)

    def _request(self, method: str) -> SipMessage:
        """A request within the dialog; the number of an ACK is for the caller to set."""
        if method not in ("ACK", "CANCEL"):
            self._sequence += 1
        request = SipMessage(method=method, uri=self._target)
        request.add("Via", self.endpoint.via())
        request.add("Max-Forwards", "70")
        for route in self._routes:
            request.add("Route", route)
        request.add("From", self._local)
        request.add("To", self._remote)
        request.add("Call-ID", self.call_id)
        request.add("CSeq", f"{self._sequence} {method}")
        request.add("Contact", self._contact)
        request.add("User-Agent", self.endpoint.name)
        return request

    def _on_invite_response(self, response: SipMessage) -> None:
        if response.cseq[0] != self._sequence and response.status < 200:
            return
        if response.status < 200:
            self._on_provisional(response)
        elif response.status < 300:
            self._on_answer(response)
        else:
            self._on_refusal(response)

    def _on_provisional(self, response: SipMessage) -> None:
        self._provisional = True
        if self._cancelled:
            self._send_cancel()
        elif response.status in (180, 183) and self.state is LegState.EARLY:
            self.on_ringing()

    def _on_answer(self, response: SipMessage) -> None:
        self._remote = response.get("To")
        self.remote_tag = parameter(self._remote, "tag")
        if contact := response.get("Contact"):
            self._target = uri_in(contact)
        self._routes = list(reversed(response.listed("Record-Route")))
        self._acknowledge(response)
        if self._cancelled or self.ended:
            self._say_goodbye()  # the answer crossed our CANCEL: the call is no longer wanted
            return
        if self.state is LegState.CONFIRMED:
            return
        try:
            self.rtp.connect(AudioDescription.parse(response.body))
        except ValueError:
            self.state = LegState.CONFIRMED
            self.hang_up("no common codec")
            self._set_final(488, "Not Acceptable Here")
            return
        self.state = LegState.CONFIRMED
        self._set_final(200, response.reason)

    def _acknowledge(self, response: SipMessage) -> None:
        ack = self._request("ACK")
        # The number is the INVITE's (RFC 3261 section 13.2.2.4), also when a BYE of ours has been sent since.
        ack.headers = [(name, f"{response.cseq[0]} ACK" if name == "CSeq" else value) for name, value in ack.headers]
        self.endpoint.transmit(ack, self._next_hop())

    def _say_goodbye(self) -> None:
        if not self._said_goodbye:
            self._said_goodbye = True
            self.endpoint.request(self._request("BYE"), self._next_hop(), lambda _: None)

    def _next_hop(self) -> Address:
        """Where requests within the dialog go: the first route or the Contact, as long as that is on this machine."""
        try:
            uri = SipUri.parse(uri_in(self._routes[0]) if self._routes else self._target)
            if ipaddress.ip_address(uri.host).is_loopback:
                return uri.host, uri.port
        except ValueError:
            pass
        return self._address

    def _on_refusal(self, response: SipMessage) -> None:
        challenge = response.get("WWW-Authenticate") or response.get("Proxy-Authenticate")
        sent = self.invite_message.headers if self.invite_message else []
        answered = any(name.endswith("Authorization") for name, _ in sent)
        if response.status in (401, 407) and challenge and self._credentials and not answered and not self._cancelled:
            name = "Authorization" if response.status == 401 else "Proxy-Authorization"
            self._send_invite((name, answer_challenge(challenge, self._credentials, "INVITE", self._target)))
            return
        self._set_final(response.status, response.reason)
        self._over("cancelled" if self._cancelled else "refused")

    def _set_final(self, status: int, reason: str) -> None:
        self.status, self.reason = self.status or status, self.reason or reason
        if not self._final.done():
            self._final.set_result(self.status)

    async def wait_answered(self, timeout: float) -> int:
        """The final status (200: talking). TimeoutError, after a CANCEL, when none comes within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._final)
        except TimeoutError:
            self.hang_up("ringing timeout")
            raise

    # -- incoming

    def offered(self, invite: SipMessage, address: Address) -> None:
        """Takes the INVITE that makes this an incoming call."""
        self._incoming = True
        self.invite_message, self._address = invite, address
        self.call_id = invite.call_id
        self._local = f"{invite.get('To')};tag={self._tag}"
        self._remote = invite.get("From")
        self.remote_tag = parameter(self._remote, "tag")
        self._target = uri_in(invite.get("Contact") or invite.get("From"))
        self._routes = invite.listed("Record-Route")
        self._contact = f"<sip:{self.called}@{self.endpoint.address}>"
        self.endpoint.legs[self._key] = self
        self.state = LegState.EARLY

    def was_offered_by(self, request: SipMessage) -> bool:
        """Whether `request` belongs to the transaction of the INVITE that made this incoming call."""
        assert self.invite_message
        invite = self.invite_message
        return self._incoming and (invite.call_id, invite.branch) == (request.call_id, request.branch)

    @property
    def called(self) -> str:
        """The user part that is being called."""
        assert self.invite_message
        return SipUri.parse(self.invite_message.uri).user

    @property
    def caller(self) -> SipUri:
        assert self.invite_message
        return SipUri.parse(uri_in(self.invite_message.get("From")))

    @property
    def remote_host(self) -> str:
        return self._address[0]

    def authorized(self, credentials: Credentials) -> bool:
        """Whether the caller proved its identity. If False, a caller without proof has got a 407, one with a wrong proof a 401."""
        assert self.invite_message
        given = self.invite_message.get("Proxy-Authorization") or self.invite_message.get("Authorization")
        if given and self.endpoint.challenger.accepts(given, credentials, "INVITE"):
            return True
        if given:
            self.reject(401)
        else:
            self._respond_final(407, ("Proxy-Authenticate", self.endpoint.challenger.challenge()))
        return False

    def ring(self) -> None:
        if self.state is LegState.EARLY:
            self._respond(180)

    def _respond(self, status: int, *headers: tuple[str, str], body: bytes = b"", reason: str = "") -> None:
        assert self.invite_message
        response = self.invite_message.respond(status, reason, to_tag=self._tag)
        if status > 100:
            response.add("Contact", self._contact)
        for name, value in headers:
            response.add(name, value)
        if body:
            response.add("Content-Type", "application/sdp")
            response.body = body
        self.endpoint.respond(self.invite_message, response, self._address)

    def _respond_final(self, status: int, *headers: tuple[str, str], reason: str = "") -> None:
        self._respond(status, *headers, reason=reason)
        self._over("refused")

    async def accept(self) -> None:
        """Answers the call. Does nothing when it has ended; refuses it (488) when there is no common codec."""
        if self.state is not LegState.EARLY or self._accepting:
            return
        self._accepting = True
        assert self.invite_message
        try:
            offer = AudioDescription.parse(self.invite_message.body)
        except ValueError:
            self.reject(488)
            return
        await self._open_sound()
        if self.ended:
            return
        self.rtp.connect(offer)
        self.state = LegState.CONFIRMED
        self._respond(200, body=self._answer_to(offer))

    def _answer_to(self, offer: AudioDescription) -> bytes:
        return sdp.write(self.endpoint.host, self.rtp.port, (offer.law,), offer.keys_payload_type)

    def reject(self, status: int, reason: str = "") -> None:
        if self.state is LegState.EARLY:
            self._respond_final(status, reason=reason)

    def drop(self) -> None:
        """Forgets an incoming call: it gets no further answer, and a CANCEL finds nothing."""
        if self.state is LegState.EARLY and self._incoming:
            assert self.invite_message
            self.endpoint.forget(self.invite_message)
            self._over("dropped")

    # -- both

    def on_ack(self, ack: SipMessage) -> None:
        """The other side has our answer, or here is its answer to our offer."""
        if self._offered_again and ack.body:
            self._offered_again = False
            try:
                self.rtp.connect(AudioDescription.parse(ack.body))
            except ValueError:
                self.hang_up("no common codec")

    def on_request(self, request: SipMessage, address: Address) -> None:
        """A request within the dialog."""
        match request.method:
            case "BYE":
                self.endpoint.respond(request, request.respond(200), address)
                self._said_goodbye = True
                self._over("bye")
            case "CANCEL":
                self.endpoint.respond(request, request.respond(200, to_tag=self._tag), address)
                if self.state is LegState.EARLY:
                    self._respond(487)
                    self._over("cancel")
            case "INVITE":
                self._on_reinvite(request, address)
            case _:
                self.endpoint.respond(request, request.respond(200), address)

    def _on_reinvite(self, request: SipMessage, address: Address) -> None:
        if self.state is not LegState.CONFIRMED:
            self.endpoint.respond(request, request.respond(491), address)
            return
        self._offered_again = not request.body
        if request.body:
            try:
                offer = AudioDescription.parse(request.body)
            except ValueError:
                self.endpoint.respond(request, request.respond(488), address)
                return
            self.rtp.connect(offer)
            description = self._answer_to(offer)
        else:
            description = sdp.write(self.endpoint.host, self.rtp.port)
        if contact := request.get("Contact"):
            self._target = uri_in(contact)
        response = request.respond(200)
        response.add("Contact", self._contact)
        response.add("Content-Type", "application/sdp")
        response.body = description
        self.endpoint.respond(request, response, address)

    def hang_up(self, why: str, status: int = 603) -> None:
        """Sends BYE, CANCEL or a refusal with `status`, as the call's state requires."""
        if self.state is LegState.CONFIRMED:
            self._say_goodbye()
            self._over(why)
        elif self.state is LegState.EARLY and self._incoming:
            self.reject(status)
        elif self.state is LegState.EARLY:
            self._cancelled = True
            if self._provisional:
                self._send_cancel()
            self._over(why)
        elif self.state is LegState.NEW:
            self._over(why)

    def _send_cancel(self) -> None:
        invite = self.invite_message
        assert invite
        cancel = SipMessage(method="CANCEL", uri=invite.uri)
        for name in ("Via", "Max-Forwards", "From", "To", "Call-ID"):
            cancel.add(name, invite.get(name))
        cancel.add("CSeq", f"{invite.cseq[0]} CANCEL")
        self._provisional = False  # once is enough
        self.endpoint.request(cancel, self._address, lambda _: None)

    def _over(self, why: str) -> None:
        if self.ended:
            return
        self.state = LegState.ENDED
        self.endpoint.legs.pop(self._key, None)
        self.rtp.close()
        self._set_final(487, "Request Terminated")
        self.on_end(why)

    # -- sound and keys

    def send_audio(self, samples: np.ndarray) -> None:
        if self.talking:
            self.rtp.send_audio(samples)

    async def press(self, keys: str) -> None:
        """`w` among the keys waits half a second."""
        await self.rtp.press(re.sub(r"[^0-9*#A-Da-dwW]", "", keys))
