"""A SIP endpoint: one UDP socket, the transactions of RFC 3261 section 17, and the calls that live on it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from typing import cast

from lab.naming import mask
from lab.sip.digest import Challenger
from lab.sip.leg import Leg
from lab.sip.message import Address, MalformedMessage, SipMessage, SipUri, new_branch, parameter, uri_in
from lab.sip.rtp import RtpSession
from lab.tasks import TaskSet

logger = logging.getLogger("lab.sip")

T1, T2, GIVE_UP = 0.5, 4.0, 32.0
"""Seconds: RFC 3261's first and longest retransmission interval, and 64 × T1, its end."""

GOODBYE_CHECKS = 100
"""Times 10 ms that a stopping endpoint waits for the answers to its last requests."""


class Transaction:
    """Sends one message again and again until it is stopped."""

    def __init__(self, endpoint: SipEndpoint, message: SipMessage, address: Address) -> None:
        self.message = message
        self.address = address
        self._endpoint = endpoint
        self._timer: asyncio.TimerHandle | None = None

    def repeat(self, longest: float, on_timeout: Callable[[], None] = lambda: None) -> None:
        self._schedule(T1, 0.0, longest, on_timeout)

    def _schedule(self, wait: float, waited: float, longest: float, on_timeout: Callable[[], None]) -> None:
        def again() -> None:
            if waited + wait >= GIVE_UP:
                on_timeout()
                return
            self._endpoint.transmit(self.message, self.address)
            self._schedule(min(2 * wait, longest), waited + wait, longest, on_timeout)

        self._timer = asyncio.get_running_loop().call_later(wait, again)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()


class ClientTransaction(Transaction):
    """A request of ours, and the callback for its responses."""

    def __init__(
        self, endpoint: SipEndpoint, request: SipMessage, address: Address, on_response: Callable[[SipMessage], None]
    ) -> None:
        super().__init__(endpoint, request, address)
        self.on_response = on_response
        self.answered = False


class SipEndpoint(asyncio.DatagramProtocol):
    """UAC and UAS on one port. `on_call(leg)` gets each new incoming call."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, name: str = "lab") -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"the lab binds loopback addresses only, not {host}")
        self.host, self.port = host, port
        self.name = name
        self.on_call: Callable[[Leg], None] = lambda leg: leg.reject(404)
        self.legs: dict[tuple[str, str], Leg] = {}
        """By Call-ID and our own tag: a call from one phone of this endpoint to another has both its ends here."""
        self.sounds: set[RtpSession] = set()
        """The sockets of the calls, until they are closed."""
        self.challenger = Challenger("lab")
        self.tasks = TaskSet()
        self.lose: Callable[[SipMessage], bool] = lambda message: False
        """For tests: True for a message that gets lost on its way out."""
        self._socket: asyncio.DatagramTransport | None = None
        self._closed: asyncio.Future[None] | None = None
        self._client: dict[tuple[str, str], ClientTransaction] = {}
        self._server: dict[tuple[str, str], Transaction] = {}
        self._forget_timers: set[asyncio.TimerHandle] = set()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Raises OSError when the port is in use."""
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, self.port))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def connection_lost(self, error: Exception | None) -> None:
        if self._closed and not self._closed.done():
            self._closed.set_result(None)

    async def stop(self) -> None:
        """Ends every call and waits for the goodbyes."""
        for leg in list(self.legs.values()):
            leg.hang_up("endpoint stopped")
        for _ in range(GOODBYE_CHECKS):
            if all(transaction.answered for transaction in self._client.values()):
                break
            await asyncio.sleep(0.01)
        for transaction in [*self._client.values(), *self._server.values()]:
            transaction.stop()
        for timer in self._forget_timers:
            timer.cancel()
        await self.tasks.close()
        for sound in list(self.sounds):
            sound.close()
            await sound.closed()
        if self._socket and self._closed:
            self._socket.close()
            await self._closed

    # -- out

    def transmit(self, message: SipMessage, address: Address) -> None:
        if self._socket and not self._socket.is_closing() and not self.lose(message):
            self._socket.sendto(bytes(message), address)

    def request(self, request: SipMessage, address: Address, on_response: Callable[[SipMessage], None]) -> None:
        """Starts a client transaction. An unanswered request gets a 408 of our own."""
        transaction = ClientTransaction(self, request, address, on_response)
        key = (request.branch, request.method)
        self._client[key] = transaction
        self.transmit(request, address)

        def timed_out() -> None:
            if self._client.pop(key, None):
                on_response(request.respond(408))

        transaction.repeat(GIVE_UP if request.method == "INVITE" else T2, timed_out)

    def respond(self, request: SipMessage, response: SipMessage, address: Address) -> None:
        """Answers within a server transaction: repeats of the request get the same answer."""
        key = (request.branch, request.method)
        if old := self._server.get(key):
            old.stop()
        transaction = self._server[key] = Transaction(self, response, address)
        self.transmit(response, address)
        if request.method == "INVITE" and response.status >= 200:
            transaction.repeat(T2)
        if response.status >= 200:
            self._forget_later(lambda: self._server.pop(key, None))

    def forget(self, request: SipMessage) -> None:
        """Gives up answering a request that has had no final answer."""
        self._server.pop((request.branch, request.method), None)

    def _forget_later(self, forget: Callable[[], object]) -> None:
        def now() -> None:
            self._forget_timers.discard(timer)
            forget()

        timer = asyncio.get_running_loop().call_later(GIVE_UP, now)
        self._forget_timers.add(timer)

    def via(self) -> str:
        return f"SIP/2.0/UDP {self.host}:{self.port};branch={new_branch()};rport"

    # -- in

    def datagram_received(self, data: bytes, address: Address) -> None:
        if len(data.strip()) < 4:
            return  # keep-alives
        try:
            message = SipMessage.parse(data)
        except (MalformedMessage, ValueError) as error:
            logger.info("dropped a datagram: %s", mask(str(error)))
            return
        if message.is_request:
            self._on_request(message, address)
        else:
            self._on_response(message, address)

    def _on_response(self, response: SipMessage, address: Address) -> None:
        method = response.cseq[1]
        key = (response.branch, method)
        transaction = self._client.get(key)
        if transaction is None:
            return
        if method == "INVITE" or response.status >= 200:
            transaction.stop()
        if response.status >= 300 and method == "INVITE":
            self._acknowledge_failure(transaction, response)
        if transaction.answered and response.status >= 300:
            return  # a repeat: it needs no more than the ACK
        if response.status >= 200 and not transaction.answered:
            transaction.answered = True
            # The answers to an INVITE may be repeated; the call acknowledges each 2xx.
            if method == "INVITE":
                self._forget_later(lambda: self._client.pop(key, None))
            else:
                del self._client[key]
        transaction.on_response(response)

    def _acknowledge_failure(self, transaction: Transaction, response: SipMessage) -> None:
        invite = transaction.message
        ack = SipMessage(method="ACK", uri=invite.uri)
        ack.add("Via", invite.get("Via"))
        ack.add("Max-Forwards", "70")
        for name in ("From", "Call-ID"):
            ack.add(name, invite.get(name))
        ack.add("To", response.get("To"))
        ack.add("CSeq", f"{invite.cseq[0]} ACK")
        self.transmit(ack, transaction.address)

    def _on_request(self, request: SipMessage, address: Address) -> None:
        if request.method == "ACK":
            self._on_ack(request)
        elif known := self._server.get((request.branch, request.method)):
            self.transmit(known.message, known.address)
        elif leg := self._leg_of(request):
            leg.on_request(request, address)
        elif request.method == "INVITE":
            self._on_invite(request, address)
        elif request.method == "OPTIONS":
            self.respond(request, request.respond(200, to_tag=new_branch()[7:]), address)
        else:
            self.respond(request, request.respond(481), address)

    def _on_ack(self, request: SipMessage) -> None:
        for transaction in self._server.values():
            if transaction.message.call_id == request.call_id and transaction.message.cseq[1] == "INVITE":
                transaction.stop()
        if leg := self._leg_of(request):
            leg.on_ack(request)

    def _leg_of(self, request: SipMessage) -> Leg | None:
        if tag := parameter(request.get("To"), "tag"):
            return self.legs.get((request.call_id, tag))
        # A request sent before the caller knows our tag, such as a CANCEL, belongs to its INVITE.
        return next((leg for leg in self.legs.values() if leg.was_offered_by(request)), None)

    def _on_invite(self, request: SipMessage, address: Address) -> None:
        try:
            SipUri.parse(request.uri)
        except ValueError:
            self.respond(request, request.respond(416, to_tag=new_branch()[7:]), address)
            return
        try:
            SipUri.parse(uri_in(request.get("From")))
        except ValueError:
            self.respond(request, request.respond(400, to_tag=new_branch()[7:]), address)
            return
        leg = Leg(self)
        leg.offered(request, address)
        self.respond(request, request.respond(100), address)
        self.on_call(leg)
