"""The task's parameters as the rest of the package wants them: the stock task's meanings and defaults."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from livekit import api
from livekit.agents import NotGivenOr
from livekit.agents.beta.workflows import WorkflowInstructions
from livekit.agents.llm.chat_context import Instructions
from livekit.agents.utils import is_given
from livekit.agents.voice.turn import TurnDetectionMode, TurnHandlingOptions

from transfer import prompts
from transfer.dial import Destination, Line
from transfer.target import Target


def resolve_instructions(
    instructions: NotGivenOr[WorkflowInstructions | Instructions | str],
    extra: str,
    history: str,
    language: str = prompts.LANGUAGE,
) -> Instructions | str:
    """Instructions of the agent in the consult; `language`: the page of the sentences that the human hears."""
    if isinstance(instructions, str) or (is_given(instructions) and not isinstance(instructions, WorkflowInstructions)):
        return instructions
    given = instructions if is_given(instructions) else WorkflowInstructions(extra=extra)
    return given.resolve(
        template=prompts.template("consult"),
        default_persona=prompts.instruction("persona"),
        language=prompts.name_of(language),
        _conversation_history=history,
    )


def turn_options(
    turn_handling: NotGivenOr[TurnHandlingOptions],
    turn_detection: NotGivenOr[TurnDetectionMode | None],
    allow_interruptions: NotGivenOr[bool],
) -> TurnHandlingOptions:
    """The old parameters count only without `turn_handling`, as in every agent of LiveKit."""
    if is_given(turn_handling):
        return turn_handling
    options: TurnHandlingOptions = {}
    if is_given(turn_detection):
        options["turn_detection"] = turn_detection
    if is_given(allow_interruptions):
        options["interruption"] = {"enabled": allow_interruptions}
    return options


def line(
    *,
    sip_trunk_id: NotGivenOr[str | None],
    sip_connection: NotGivenOr[api.SIPOutboundConfig],
    sip_number: NotGivenOr[str],
    sip_headers: NotGivenOr[dict[str, str]],
) -> Line:
    """ValueError without a trunk or a connection; a connection wins over the environment's trunk."""
    connection = sip_connection if is_given(sip_connection) else None
    trunk = sip_trunk_id if is_given(sip_trunk_id) else None
    if not is_given(sip_trunk_id) and connection is None:
        trunk = os.getenv("LIVEKIT_SIP_OUTBOUND_TRUNK")
    if trunk is None and connection is None:
        raise ValueError(
            "`LIVEKIT_SIP_OUTBOUND_TRUNK` environment variable, `sip_trunk_id`, or `sip_connection` must be set"
        )
    return Line(
        trunk_id=trunk,
        connection=connection,
        number=sip_number if is_given(sip_number) else os.getenv("LIVEKIT_SIP_NUMBER", ""),
        headers=sip_headers if is_given(sip_headers) else {},
    )


def destinations(
    *,
    sip_call_to: str,
    destinations: Sequence[Destination],
    dtmf: NotGivenOr[str | None],
    ringing_timeout: NotGivenOr[float | None],
    person_timeout: float | None,
    name: str,
) -> list[Destination]:
    """One by `sip_call_to`, or those given; `dtmf` and the two timeouts are the defaults of those without their own.

    ValueError when there is none, when both ways are used, or for a SIP URI that cannot be dialled.
    """
    if sip_call_to and destinations:
        raise ValueError("`sip_call_to` and `destinations` exclude each other: set one of them")
    if not sip_call_to and not destinations:
        raise ValueError("`sip_call_to` must be set")
    keys = (dtmf if is_given(dtmf) else None) or ""
    ringing = ringing_timeout if is_given(ringing_timeout) else None
    given = [
        replace(
            destination,
            dtmf=destination.dtmf or keys,
            ringing_timeout=destination.ringing_timeout if destination.ringing_timeout is not None else ringing,
            person_timeout=destination.person_timeout if destination.person_timeout is not None else person_timeout,
        )
        for destination in destinations or [Destination(sip_call_to, name)]
    ]
    for destination in given:
        Target.parse(destination.sip_call_to)
    return given
