"""Telephones calling telephones: SIP as any softphone would speak it, on a line that loses messages."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from lab.sip import Answer, Phone, PhoneExchange, Ring, Voicemail, g711, sdp
from lab.sip.leg import Leg
from lab.sip.message import SipMessage, new_branch
from lab.sip.phones import BEEP_HERTZ
from tests.lab.support import is_near, loudest_tone, until

SARAH, TOM, MAYA = "+12025550141", "+12025550142", "+12025550143"


@pytest.fixture
async def here() -> AsyncIterator[PhoneExchange]:
    async with PhoneExchange() as exchange:
        yield exchange
    assert not exchange.endpoint.legs
    assert not exchange.endpoint.sounds


@pytest.fixture
async def there() -> AsyncIterator[PhoneExchange]:
    async with PhoneExchange() as exchange:
        yield exchange
    assert not exchange.endpoint.legs
    assert not exchange.endpoint.sounds


def tone(hertz: float, seconds: float) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hertz / 8000 * np.arange(int(8000 * seconds)))).astype(np.int16)


def last(phone: Phone, frames: int = 15) -> np.ndarray:
    return np.concatenate([frame for _, frame in phone.ear.frames[-frames:]] or [np.zeros(0, np.int16)])


def lose_first(wanted: Callable[[SipMessage], bool]) -> Callable[[SipMessage], bool]:
    """Loses the first message of that kind."""
    lost: list[SipMessage] = []

    def lose(message: SipMessage) -> bool:
        if lost or not wanted(message):
            return False
        lost.append(message)
        return True

    return lose


async def test_a_phone_calls_another_one_on_its_own_exchange(here: PhoneExchange) -> None:
    sarah, tom = here.phone(SARAH), here.phone(TOM, on_call=Answer(after=0.1))
    assert await sarah.dial(f"sip:{TOM}@{here.address}") == 200
    sarah.say(tone(700, 1))
    await until(lambda: is_near(700)(loudest_tone(last(tom), 8000)), "Tom hears the tone")
    tom.hang_up()
    await sarah.wait_for("ended", 5)
    assert not tom.in_call


async def test_a_second_caller_hears_busy(here: PhoneExchange, there: PhoneExchange) -> None:
    there.phone(TOM, on_call=Answer(after=0.1))
    sarah, maya = here.phone(SARAH), here.phone(MAYA)
    assert await sarah.dial(f"sip:{TOM}@{there.address}") == 200
    assert await maya.dial(f"sip:{TOM}@{there.address}") == 486
    assert sarah.talking


@pytest.mark.parametrize("lost", ["INVITE", "200", "ACK"])
async def test_a_call_comes_about_though_a_message_is_lost(
    here: PhoneExchange, there: PhoneExchange, lost: str
) -> None:
    sender = there if lost == "200" else here
    sender.endpoint.lose = lose_first(lambda message: lost in (message.method, str(message.status)))
    sarah, tom = here.phone(SARAH), there.phone(TOM, on_call=Answer(after=0.1))
    assert await sarah.dial(f"sip:{TOM}@{there.address}") == 200
    await until(lambda: sarah.talking and tom.talking, "both talk")
    sarah.hang_up()
    await tom.wait_for("ended", 5)


async def test_a_goodbye_that_is_lost_is_said_again(here: PhoneExchange, there: PhoneExchange) -> None:
    sarah, tom = here.phone(SARAH), there.phone(TOM, on_call=Answer(after=0.1))
    assert await sarah.dial(f"sip:{TOM}@{there.address}") == 200
    here.endpoint.lose = lose_first(lambda m: m.method == "BYE")
    sarah.hang_up()
    assert (await tom.wait_for("ended", 5)).detail == "bye"


async def test_an_answer_that_crosses_the_cancel_is_hung_up(here: PhoneExchange, there: PhoneExchange) -> None:
    tom = there.phone(TOM, on_call=Answer(after=0.2))
    here.endpoint.lose = lambda m: m.method == "CANCEL"
    leg = Leg(here.endpoint)
    await leg.invite(f"sip:{TOM}@{there.address}", ("127.0.0.1", there.endpoint.port), SARAH)
    leg.hang_up("changed my mind")
    assert (await tom.wait_for("ended", 10)).detail == "bye"
    here.endpoint.lose = lambda m: False


async def test_a_caller_who_gives_up_while_the_port_is_opened_rings_nobody(
    here: PhoneExchange, there: PhoneExchange
) -> None:
    tom = there.phone(TOM, on_call=Ring())
    leg = Leg(here.endpoint)
    calling = asyncio.create_task(leg.invite(f"sip:{TOM}@{there.address}", ("127.0.0.1", there.endpoint.port), SARAH))
    await asyncio.sleep(0)
    leg.hang_up("at once")
    await calling
    assert leg.ended
    assert not tom.events


async def test_a_phone_in_a_call_does_not_dial(here: PhoneExchange, there: PhoneExchange) -> None:
    sarah = here.phone(SARAH)
    there.phone(TOM, on_call=Answer(after=0.1))
    await sarah.dial(f"sip:{TOM}@{there.address}")
    with pytest.raises(RuntimeError, match="is in a call") as caught:
        await sarah.dial(f"sip:{MAYA}@{there.address}")
    assert SARAH not in str(caught.value)


async def test_a_voicemail_greets_and_beeps(here: PhoneExchange, there: PhoneExchange) -> None:
    there.phone(TOM, on_call=Voicemail(tone(500, 0.6), after=0.1))
    sarah = here.phone(SARAH)
    await sarah.dial(f"sip:{TOM}@{there.address}")
    await until(lambda: is_near(500)(loudest_tone(last(sarah), 8000)), "the greeting")
    await until(lambda: is_near(BEEP_HERTZ)(loudest_tone(last(sarah), 8000)), "the beep")


async def test_keys_pressed_in_two_goes_arrive_once_and_in_order(here: PhoneExchange, there: PhoneExchange) -> None:
    tom, sarah = there.phone(TOM, on_call=Answer(after=0.1)), here.phone(SARAH)
    await sarah.dial(f"sip:{TOM}@{there.address}")
    await asyncio.gather(sarah.press("12"), sarah.press("2#"))
    await until(lambda: len([e for e in tom.events if e.name == "key"]) >= 4, "all keys")
    assert [e.detail for e in tom.events if e.name == "key"] == ["1", "2", "2", "#"]


class Softphone:
    """A socket that sends SIP by hand."""

    def __init__(self, target: PhoneExchange) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self._target = ("127.0.0.1", target.endpoint.port)

    def send(self, method: str, uri: str, body: bytes = b"", to: str = "", number: int = 1) -> SipMessage:
        request = SipMessage(method=method, uri=uri, body=body)
        request.add("Via", f"SIP/2.0/UDP 127.0.0.1:{self.port};branch={new_branch()}")
        request.add("From", f"<sip:{SARAH}@127.0.0.1:{self.port}>;tag=abc")
        request.add("To", to or f"<{uri}>")
        request.add("Call-ID", "by-hand")
        request.add("CSeq", f"{number} {method}")
        request.add("Contact", f"<sip:{SARAH}@127.0.0.1:{self.port}>")
        self.socket.sendto(bytes(request), self._target)
        return request

    async def final(self) -> SipMessage:
        """The next final response."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            while True:
                message = SipMessage.parse(await loop.sock_recv(self.socket, 4000))
                if message.status >= 200:
                    return message


@pytest.fixture
def by_hand(there: PhoneExchange) -> Softphone:
    return Softphone(there)


async def test_a_phone_that_knows_only_a_law_is_answered_in_it(there: PhoneExchange, by_hand: Softphone) -> None:
    tom, uri = there.phone(TOM, on_call=Answer(after=0)), f"sip:{TOM}@{there.address}"
    by_hand.send("INVITE", uri, sdp.write("127.0.0.1", 40000, (g711.PCMA,)))
    answer = await by_hand.final()
    assert (answer.status, sdp.AudioDescription.parse(answer.body).law) == (200, g711.PCMA)
    by_hand.send("ACK", uri, to=answer.get("To"))
    by_hand.send("INVITE", uri, to=answer.get("To"), number=2)
    offered = await by_hand.final()
    assert (offered.status, sdp.AudioDescription.parse(offered.body).law) == (200, g711.PCMU)
    by_hand.send("ACK", uri, sdp.write("127.0.0.1", 40002, (g711.PCMU,)), to=answer.get("To"), number=2)
    by_hand.send("BYE", uri, to=answer.get("To"), number=3)
    assert (await by_hand.final()).status == 200
    assert not tom.in_call


async def test_what_is_no_call_for_a_phone_is_refused_with_the_right_status(
    there: PhoneExchange, by_hand: Softphone
) -> None:
    there.phone(TOM, on_call=Answer(after=0))
    by_hand.send("INVITE", f"tel:{TOM}")
    assert (await by_hand.final()).status == 416
    by_hand.send(
        "INVITE", f"sip:{TOM}@{there.address}", sdp.write("127.0.0.1", 40000, (g711.PCMU,)).replace(b" 0 ", b" 9 ")
    )
    assert (await by_hand.final()).status == 488
    by_hand.send("BYE", f"sip:{TOM}@{there.address}")
    assert (await by_hand.final()).status == 481
    by_hand.send("OPTIONS", f"sip:{there.address}")
    assert (await by_hand.final()).status == 200


async def test_a_datagram_that_is_no_sip_is_dropped_and_its_numbers_are_masked(
    there: PhoneExchange, by_hand: Softphone, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lab.sip"):
        by_hand.socket.sendto(f"CALL {TOM} NOW\r\n\r\n".encode(), ("127.0.0.1", there.endpoint.port))
        await until(lambda: "dropped a datagram" in caplog.text, "the line in the log")
    assert TOM not in caplog.text
