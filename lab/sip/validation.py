"""Requests that the SIP part of the server API refuses at once, in the words of livekit/protocol (August 2026).

Of its rules those about media, countries and display names are left out.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable, Mapping

from livekit.protocol import sip as protocol

from lab.server import TwirpError

TOKEN = set(string.ascii_letters + string.digits + "-.!%*_+`'~")
"""RFC 3261 section 25.1."""
NAME_LIMIT, VALUE_LIMIT = 255, 1024
"""Characters of a header's name and of its value."""
OWN_HEADERS = {
    "accept", "accept-encoding", "accept-language", "allow", "allow-events", "call-id", "contact", "content-encoding",
    "content-length", "content-type", "cseq", "event", "expires", "from", "max-forwards", "record-route", "refer-to",
    "reply-to", "k", "l", "m", "o", "r", "t", "u", "v",
}  # fmt: skip
"""Header fields that livekit-sip writes itself."""


def refuse(why: str) -> TwirpError:
    return TwirpError("invalid_argument", why)


def normalized(number: str) -> str:
    """A telephone number as "+" and its digits; anything else as it is."""
    if not re.fullmatch(r"\+?[\d\- ()]+", number):
        return number
    return "+" + re.sub(r"\D", "", number)


def check_call(request: protocol.CreateSIPParticipantRequest) -> None:
    if not (request.sip_trunk_id or request.HasField("trunk") or request.sip_number):
        raise refuse("missing sip trunk id and sip number")
    if request.HasField("trunk"):
        _check_line(request.trunk)
    if not request.sip_call_to:
        raise refuse("missing sip callee number")
    _check_user("SipCallTo", request.sip_call_to)
    if request.to_user_override:
        _check_user("ToUserOverride", request.to_user_override)
        if not TOKEN.issuperset(request.to_user_override):
            raise refuse("ToUserOverride contains invalid characters")
    if not request.room_name:
        raise refuse("missing room name")
    _check_headers(request.headers)


def check_outbound_trunk(request: protocol.CreateSIPOutboundTrunkRequest) -> None:
    trunk = request.trunk
    _check_new(request.HasField("trunk"), trunk.sip_trunk_id, "trunk")
    if not trunk.numbers:
        raise refuse("no trunk numbers specified")
    if not trunk.address:
        raise refuse("no outbound address specified")
    _check_host("trunk address", trunk.address)
    _check_host("from_host", trunk.from_host)
    _check_headers(trunk.headers)
    _check_names(trunk.attributes_to_headers.values())
    _check_names(trunk.headers_to_attributes)


def check_inbound_trunk(
    request: protocol.CreateSIPInboundTrunkRequest, others: Iterable[protocol.SIPInboundTrunkInfo]
) -> None:
    trunk = request.trunk
    _check_new(request.HasField("trunk"), trunk.sip_trunk_id, "trunk")
    if not (trunk.auth_username or trunk.auth_password or trunk.allowed_addresses or trunk.numbers):
        raise refuse(
            "for security, one of the fields must be set: AuthUsername+AuthPassword, AllowedAddresses or Numbers"
        )
    _check_headers(trunk.headers)
    _check_names(trunk.attributes_to_headers.values())
    _check_names(trunk.headers_to_attributes)
    for other in others:
        if _calls_of(trunk) & _calls_of(other):
            raise refuse(
                f'Conflicting inbound SIP Trunks: "<new>" and "{other.sip_trunk_id}", using the same number(s)'
            )


def check_rule(rule: protocol.SIPDispatchRuleInfo, others: Iterable[protocol.SIPDispatchRuleInfo]) -> None:
    _check_new(rule.HasField("rule"), rule.sip_dispatch_rule_id, "rule")
    for other in others:
        if _keys_of(rule) & _keys_of(other):
            raise refuse(
                "Dispatch rule for the same trunk, inbound number, number, and PIN combination already exists in "
                f'dispatch rule "{other.sip_dispatch_rule_id}" "{other.name}"'
            )


def _check_new(given: bool, made_up_id: str, what: str) -> None:
    if not given:
        raise refuse(f"missing {what}")
    if made_up_id:
        raise refuse(f"{what} id must not be set")


def _check_line(line: protocol.SIPOutboundConfig) -> None:
    if not line.hostname:
        raise refuse("no outbound hostname specified")
    _check_host("trunk hostname", line.hostname)
    _check_host("from_host", line.from_host)
    _check_names(line.attributes_to_headers.values())
    _check_names(line.headers_to_attributes)


def _check_user(field: str, user: str) -> None:
    if "@" in user:
        raise refuse(f"{field} should be a phone number or SIP user, not a full SIP URI")


def _check_host(field: str, host: str) -> None:
    if "transport=" in host:
        raise refuse(f"{field} should not contain transport parameter")
    if set("@;") & set(host) or host.startswith(("sip:", "sips:")):
        raise refuse(f"{field} should be a hostname or IP, not SIP URI")


def _check_headers(headers: Mapping[str, str]) -> None:
    _check_names(headers)
    for name, value in headers.items():
        if name.lower() in OWN_HEADERS:
            raise refuse(f"invalid header name: header name {name} not supported")
        if len(value) > VALUE_LIMIT:
            raise refuse(f"invalid header value for {name}: value too long (max {VALUE_LIMIT} characters)")
        if any(character < " " or character == "\x7f" for character in value):
            raise refuse(f"invalid header value for {name}: control characters are not allowed")


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not name or len(name) > NAME_LIMIT or not TOKEN.issuperset(name):
            raise refuse(f"invalid header name: {name!r}")


def _calls_of(trunk: protocol.SIPInboundTrunkInfo) -> set[tuple[str, str]]:
    """The trunk's pairs of called and calling number; an empty number stands for any."""
    called, calling = (map(normalized, numbers or [""]) for numbers in (trunk.numbers, trunk.allowed_numbers))
    return set(itertools.product(called, calling))


def _keys_of(rule: protocol.SIPDispatchRuleInfo) -> set[tuple[str, ...]]:
    kind = rule.rule.WhichOneof("rule")
    pin = getattr(rule.rule, kind).pin if kind else ""
    numbers = (map(normalized, numbers or [""]) for numbers in (rule.inbound_numbers, rule.numbers))
    return set(itertools.product([pin], rule.trunk_ids or [""], *numbers))
