"""The profile takes what the transfer can dial, and nothing else; the two know nothing of each other."""

from __future__ import annotations

from typing import get_args

import pytest

from frontdesk.business.numbers import E164, EXTENSION, can_be_dialled
from frontdesk.business.profile import AfterTransfer
from transfer import AfterBridge, Target


@pytest.mark.parametrize(
    "text",
    [
        "sip:sarah@pbx.example.com",
        "sips:sarah@10.0.0.7:5061;transport=tls",
        "SIP:sarah@[2001:db8::1]:5060",
        "sarah@pbx",
        "+12025550141@sip.example.com?Subject=a",
        "sip:sarah@host:123456",
        "sip:sarah@host/path",
        "sip:sarah:secret@host",
        "sip:sarah@",
        "sip:@host",
        "http:sarah@host",
        "sarah smith@host",
        "sarah@host@other",
        "sip:sarah",
        "tel:+12025550141",
        "sarah",
        "500",
        "+12025550141",
        "",
    ],
)
def test_profile_and_transfer_agree_on_what_can_be_dialled(text: str) -> None:
    try:
        is_uri = Target.parse(text).host != ""
    except ValueError:
        is_uri = False
    is_number = bool(E164.fullmatch(text) or EXTENSION.fullmatch(text))
    assert can_be_dialled(text) == (is_uri or is_number)


def test_profile_and_transfer_have_the_same_words_for_what_comes_after() -> None:
    assert get_args(AfterTransfer) == get_args(AfterBridge)
