"""How the server's answers become outcomes, and what the model is told about each."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from transfer import TransferReason, WarmTransferError
from transfer.attempt import one_failure
from transfer.outcome import from_dial_error, is_busy_service


def sip_error(status: int, reason: str, code: str = "resource_exhausted") -> api.SipCallError:
    return api.SipCallError(code, reason, status=429, metadata={"sip_status_code": str(status), "sip_status": reason})


NOBODY = TransferReason.NO_ANSWER
LINE = TransferReason.TRUNK_ERROR
STATUSES = {
    TransferReason.BUSY: (486, 600),
    NOBODY: (408, 480, 487),
    TransferReason.DECLINED_BY_PHONE: (603, 607, 608),
    TransferReason.WRONG_NUMBER: (404, 410, 484, 485, 604),
    LINE: (400, 401, 402, 403, 405, 406, 407, 415, 420, 423, 433, 438, 481, 482, 483, 488, 493, 499),
    TransferReason.UNREACHABLE: (300, 302, 380, 605),
}


@pytest.mark.parametrize(("status", "reason"), [(code, reason) for reason, codes in STATUSES.items() for code in codes])
def test_a_sip_status_tells_why(status: int, reason: TransferReason) -> None:
    outcome = from_dial_error(sip_error(status, "Words"))
    assert (outcome.reason, outcome.sip_status_code, outcome.sip_status) == (reason, status, "Words")


@pytest.mark.parametrize("status", [401, 403, 407, 488, 500, 502, 503, 504, 513, 606])
def test_a_provider_s_refusal_is_our_line_s_trouble_and_no_colleague_s(status: int) -> None:
    outcome = from_dial_error(sip_error(status, "Words"))
    assert (outcome.reason, outcome.sip_status_code) == (LINE, status)
    assert "colleague" not in outcome.message


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("canceled", TransferReason.NO_ANSWER),
        ("deadline_exceeded", TransferReason.NO_ANSWER),
        ("not_found", TransferReason.TRUNK_ERROR),
        ("invalid_argument", TransferReason.TRUNK_ERROR),
        ("unauthenticated", TransferReason.TRUNK_ERROR),
        ("failed_precondition", TransferReason.TRUNK_ERROR),
        ("unavailable", TransferReason.UNREACHABLE),
        ("unknown", TransferReason.UNREACHABLE),
    ],
)
def test_an_error_without_a_sip_status_tells_why(code: str, reason: TransferReason) -> None:
    outcome = from_dial_error(api.ServerError(code, "words", status=408))
    assert (outcome.reason, outcome.sip_status_code) == (reason, None)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("unknown", "auth required but no username or password was provided"),
        ("failed_precondition", "sip server required auth, but no username or password was provided"),
        ("failed_precondition", "max auth retry attempts reached for SIP invite"),
        ("failed_precondition", "no numbers on outbound trunk"),
    ],
)
def test_a_trunk_without_what_it_needs_is_a_trunk_error_that_says_so(code: str, words: str) -> None:
    outcome = from_dial_error(api.ServerError(code, f"twirp error unknown: {words}", status=412))
    assert (outcome.reason, outcome.detail) == (TransferReason.TRUNK_ERROR, f"twirp error unknown: {words}")


def test_a_request_that_takes_too_long_is_no_answer() -> None:
    assert from_dial_error(TimeoutError()).reason is TransferReason.NO_ANSWER


def test_only_a_sip_service_without_room_is_worth_another_try() -> None:
    assert is_busy_service(api.ServerError("unavailable", "cpu exhausted", status=503))
    assert is_busy_service(
        api.ServerError("unknown", "update room failed: could not connect after timeout", status=500)
    )
    assert not is_busy_service(api.ServerError("unavailable", "no response from servers", status=503))
    assert not is_busy_service(sip_error(503, "cpu exhausted"))


@pytest.mark.parametrize("reason", list(TransferReason))
def test_every_reason_has_words_for_the_model(reason: TransferReason) -> None:
    text = str(WarmTransferError(reason, "in a meeting").message)
    assert text.endswith(".")
    assert "{" not in text


def test_a_human_who_declines_is_quoted_as_by_the_stock_task() -> None:
    assert (
        "human agent declined to connect: in a meeting"
        in WarmTransferError(TransferReason.DECLINED, "in a meeting").message
    )


async def test_an_outcome_in_nested_task_groups_stays_what_it_is() -> None:
    async def refused() -> None:
        raise WarmTransferError(TransferReason.BUSY)

    async def dialling() -> None:
        with one_failure():
            async with asyncio.TaskGroup() as group:
                group.create_task(refused())
                group.create_task(asyncio.sleep(10))

    with pytest.raises(WarmTransferError) as caught, one_failure():
        async with asyncio.TaskGroup() as group:
            group.create_task(dialling())
    assert caught.value.reason is TransferReason.BUSY
