"""The ways in which an owner may write a destination's number: a telephone number, an extension or a SIP URI."""

from __future__ import annotations

import re

E164 = re.compile(r"\+[1-9]\d{6,14}")
EXTENSION = re.compile(r"\d{2,6}")
"""Behind the company's own telephone system, which the trunk leads to."""
SIP_URI = re.compile(
    r"(?:sips?:)?[^@\s;:?]+@(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?(?:[;?]\S*)?",
    re.IGNORECASE,
)
"""A user at a host, and no password. The transfer parses it (`transfer.Target`); a test checks that the two agree."""


def can_be_dialled(number: str) -> bool:
    """Over a SIP trunk. Twilio's connector dials E.164 alone."""
    return any(form.fullmatch(number) for form in (E164, EXTENSION, SIP_URI))
