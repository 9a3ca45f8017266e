"""The TURN server, with aioice's client, messages written by hand, and the SDK."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aioice import stun
from aioice.turn import create_turn_endpoint

from lab.server.turn import UDP, Address, TurnServer
from lab.server.webrtc import WebRtcParticipant
from tests.lab.server.conftest import StartServer
from tests.lab.support import Ear, Tone, client, is_near, until


class Socket(asyncio.DatagramProtocol):
    """Keeps what it gets."""

    transport: Any

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Address]] = []
        self.errors: list[Exception] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Address) -> None:
        self.got.append((data, address))

    def error_received(self, error: Exception) -> None:
        self.errors.append(error)

    def send(self, data: bytes, address: Address) -> None:
        self.transport.sendto(data, address)

    @property
    def address(self) -> Address:
        return tuple(self.transport.get_extra_info("sockname"))

    async def next(self) -> tuple[bytes, Address]:
        await until(lambda: self.got, "a datagram comes")
        return self.got.pop(0)


@asynccontextmanager
async def udp_socket() -> AsyncIterator[Socket]:
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(Socket, local_addr=("127.0.0.1", 0))
    try:
        yield made
    finally:
        transport.close()


@pytest.fixture
async def turn() -> AsyncIterator[TurnServer]:
    async with TurnServer() as made:
        yield made
    assert not made.leftovers()


@asynccontextmanager
async def allocation(turn: TurnServer, *, password: str = "turn-secret", lifetime: int = 600) -> AsyncIterator[Socket]:
    """A relayed socket, by aioice's client; freed after the block."""
    transport, made = await create_turn_endpoint(Socket, turn.address, "alice", password, lifetime=lifetime)
    address = made.address
    try:
        yield made
    finally:
        transport.close()
        await until(lambda: address not in turn.addresses, "the allocation is freed")


async def test_packets_are_relayed_both_ways_and_counted(turn: TurnServer) -> None:
    async with udp_socket() as peer, allocation(turn) as relayed:
        relayed.send(b"there", peer.address)
        assert await peer.next() == (b"there", relayed.address)
        peer.send(b"and back", relayed.address)
        assert await relayed.next() == (b"and back", peer.address)
        assert turn.addresses == {relayed.address}
        assert (turn.allocated, turn.relayed) == (Counter(alice=1), Counter(alice=2))
    assert turn.leftovers() == {"sockets": 1}, "nothing but its own is left"


async def test_a_wrong_password_gets_no_allocation(turn: TurnServer) -> None:
    with pytest.raises(stun.TransactionFailed, match="401"):
        async with allocation(turn, password="another"):
            pass
    assert not turn.allocated


async def test_a_peer_that_was_not_permitted_is_not_heard(turn: TurnServer) -> None:
    async with udp_socket() as peer, udp_socket() as stranger, allocation(turn) as relayed:
        stranger.send(b"who is there?", relayed.address)
        relayed.send(b"there", peer.address)
        await peer.next()
        peer.send(b"and back", relayed.address)
        assert await relayed.next() == (b"and back", peer.address)


async def test_nothing_is_relayed_to_another_machine(turn: TurnServer) -> None:
    async with allocation(turn) as relayed:
        relayed.send(b"there", ("192.0.2.1", 9))
        await until(lambda: relayed.errors, "it is refused")
        assert "403" in str(relayed.errors[0])
        assert not turn.relayed


async def test_an_allocation_lasts_as_long_as_it_is_refreshed() -> None:
    async with TurnServer(lifetime=1) as turn, udp_socket() as peer, allocation(turn) as relayed:
        await asyncio.sleep(1.5)
        relayed.send(b"still there", peer.address)
        assert (await peer.next())[0] == b"still there"


async def test_an_allocation_whose_client_is_gone_ends(turn: TurnServer) -> None:
    async with Caller(turn) as caller:
        await caller.ask(stun.Method.ALLOCATE, {"REQUESTED-TRANSPORT": UDP << 24, "LIFETIME": 1})
        assert turn.addresses
    await until(lambda: not turn.addresses, "it has run out")


class Caller:
    """A TURN client that sends what it is told to, signed."""

    def __init__(self, turn: TurnServer) -> None:
        self._turn, self._credentials = turn, {"USERNAME": "bob", "REALM": "", "NONCE": b""}
        self._making = udp_socket()

    async def __aenter__(self) -> Caller:
        self.socket = await self._making.__aenter__()
        challenge = await self._exchange(stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST))
        assert challenge.error_code == 401
        self._credentials |= {name: challenge.attributes[name] for name in ("REALM", "NONCE")}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._making.__aexit__(None, None, None)

    async def _exchange(self, request: stun.Message) -> stun.Message:
        self.socket.send(bytes(request), self._turn.address)
        return stun.parse_message((await self.socket.next())[0])

    async def ask(
        self, method: stun.Method, attributes: dict[str, Any], transaction: bytes | None = None, **other: Any
    ) -> stun.Message:
        """The answer to a signed request; `other`: credentials that are not ours."""
        credentials = self._credentials | other
        request = stun.Message(method, stun.Class.REQUEST, transaction, attributes | credentials)
        key = hashlib.md5(f"{credentials['USERNAME']}:{credentials['REALM']}:turn-secret".encode()).digest()
        request.add_message_integrity(key)
        answer = await self._exchange(request)
        if answer.error_code not in (401, 438):
            assert answer.check_message_integrity(key)
        return answer

    async def allocate(self) -> Address:
        answer = await self.ask(stun.Method.ALLOCATE, {"REQUESTED-TRANSPORT": UDP << 24})
        relayed: Address = answer.attributes["XOR-RELAYED-ADDRESS"]
        return relayed


async def test_indications_relay_where_there_is_no_channel(turn: TurnServer) -> None:
    async with udp_socket() as peer, Caller(turn) as caller:
        relayed = await caller.allocate()
        await caller.ask(stun.Method.CREATE_PERMISSION, {"XOR-PEER-ADDRESS": peer.address})
        attributes = {"XOR-PEER-ADDRESS": peer.address, "DATA": b"there"}
        sending = stun.Message(stun.Method.SEND, stun.Class.INDICATION, attributes=attributes)
        caller.socket.send(bytes(sending), turn.address)
        assert await peer.next() == (b"there", relayed)
        peer.send(b"and back", relayed)
        got = stun.parse_message((await caller.socket.next())[0])
        assert got.message_method == stun.Method.DATA
        assert got.attributes == {"XOR-PEER-ADDRESS": peer.address, "DATA": b"and back"}


async def test_a_request_that_is_sent_twice_makes_one_allocation(turn: TurnServer) -> None:
    async with Caller(turn) as caller:
        wanted = {"REQUESTED-TRANSPORT": UDP << 24}
        first = await caller.ask(stun.Method.ALLOCATE, wanted)
        again = await caller.ask(stun.Method.ALLOCATE, wanted, first.transaction_id)
        assert again.attributes["XOR-RELAYED-ADDRESS"] == first.attributes["XOR-RELAYED-ADDRESS"]
        assert (await caller.ask(stun.Method.ALLOCATE, wanted)).error_code == 437, "another request gets no other one"
        assert turn.allocated == Counter(bob=1)


HERE, ELSEWHERE = ("127.0.0.1", 9), ("127.0.0.1", 10)
REFUSED: list[tuple[int, stun.Method, dict[str, Any], dict[str, Any]]] = [
    (438, stun.Method.REFRESH, {}, {"NONCE": b"an old one"}),
    (441, stun.Method.REFRESH, {}, {"USERNAME": "eve"}),
    (400, stun.Method.CREATE_PERMISSION, {}, {}),
    (403, stun.Method.CREATE_PERMISSION, {"XOR-PEER-ADDRESS": ("192.0.2.1", 9)}, {}),
    (400, stun.Method.CHANNEL_BIND, {"CHANNEL-NUMBER": 0x3000, "XOR-PEER-ADDRESS": HERE}, {}),
    (400, stun.Method.CHANNEL_BIND, {"CHANNEL-NUMBER": 0x4000, "XOR-PEER-ADDRESS": ELSEWHERE}, {}),
    (400, stun.Method.CHANNEL_BIND, {"CHANNEL-NUMBER": 0x4001, "XOR-PEER-ADDRESS": HERE}, {}),
]


@pytest.mark.parametrize("code, method, attributes, credentials", REFUSED)
async def test_what_the_standard_refuses_is_refused(
    turn: TurnServer, code: int, method: stun.Method, attributes: dict[str, Any], credentials: dict[str, Any]
) -> None:
    async with Caller(turn) as caller:
        await caller.allocate()
        await caller.ask(stun.Method.CHANNEL_BIND, {"CHANNEL-NUMBER": 0x4000, "XOR-PEER-ADDRESS": HERE})
        assert (await caller.ask(method, attributes, **credentials)).error_code == code


async def test_an_allocation_of_something_other_than_udp_is_refused(turn: TurnServer) -> None:
    async with Caller(turn) as caller:
        assert (await caller.ask(stun.Method.ALLOCATE, {"REQUESTED-TRANSPORT": 6 << 24})).error_code == 442
        assert (await caller.ask(stun.Method.REFRESH, {})).error_code == 437


def only_through(turn: TurnServer, identity: str) -> Callable[[WebRtcParticipant], None]:
    def meet(participant: WebRtcParticipant) -> None:
        if participant.identity == identity:
            participant.network.only_with = turn.addresses

    return meet


async def test_an_sdk_client_behind_a_firewall_is_heard_through_it(turn: TurnServer, start_server: StartServer) -> None:
    server = await start_server(ice_servers=(turn.ice_server,))
    server.on_join = only_through(turn, "alice")
    async with client(server, "alice") as alice, client(server, "bob") as bob, Ear(bob) as ear, Tone(alice, 700):
        await until(lambda: is_near(700)(ear.hertz()), "bob hears alice")
        assert turn.relayed["alice"] > 10
    await until(lambda: not turn.addresses, "the clients have freed what they had")
