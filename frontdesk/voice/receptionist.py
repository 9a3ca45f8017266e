"""The agent that answers the phone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from livekit.agents import Agent, AgentSession, RunContext, StopResponse, ToolError, function_tool, get_job_context

from frontdesk.business.profile import Destination
from frontdesk.voice.call_state import CallState
from frontdesk.voice.offers import next_step
from frontdesk.voice.outbound import Outbound
from transfer import Phase, TransferEvent, TransferReason, WarmTransferError, WarmTransferResult, prompts

logger = logging.getLogger("frontdesk")


class FrontDeskAgent(Agent):
    """Greets, answers from the profile, and puts callers through only to colleagues in the directory."""

    def __init__(self, call: CallState) -> None:
        """`call` is the session's `userdata` as well; the instructions are made of it before there is a session."""
        self._call = call
        self._ending_recording: asyncio.Task[None] | None = None
        super().__init__(
            instructions=prompts.instruction(
                "receptionist",
                business=call.profile.name,
                language=prompts.name_of(prompts.LANGUAGE),
                facts=call.profile.facts(),
                directory=call.profile.directory_lines(),
            ),
            tools=[self._transfer_tool()],
        )

    async def on_enter(self) -> None:
        greeting = prompts.sentence("frontdesk.greeting", business=self._call.profile.name)
        if self._call.recording.is_on:
            greeting = f"{prompts.sentence('frontdesk.recorded')} {greeting}"
        self.session.say(greeting, allow_interruptions=False)

    def _transfer_tool(self) -> Any:
        """The tool with the directory's keys as the only destinations that the model can name."""

        async def transfer_to_human(raw_arguments: dict[str, object], context: RunContext) -> None:
            destination, reason = (str(raw_arguments.get(name, "")) for name in ("destination", "reason"))
            await self.transfer_to_human(destination, reason, context)

        directory = self._call.profile.directory_lines()
        schema = {
            "name": "transfer_to_human",
            "description": prompts.instruction("tools.transfer_to_human.description"),
            "parameters": {
                "type": "object",
                "properties": {
                    "destination": {
                        "type": "string",
                        "enum": list(self._call.profile.directory),
                        "description": prompts.instruction("tools.transfer_to_human.destination", directory=directory),
                    },
                    "reason": {
                        "type": "string",
                        "description": prompts.instruction("tools.transfer_to_human.reason"),
                    },
                },
                "required": ["destination", "reason"],
                "additionalProperties": False,
            },
        }
        return function_tool(transfer_to_human, raw_schema=schema)

    async def transfer_to_human(self, destination: str, reason: str, context: RunContext) -> None:
        """Puts the caller through to `destination`, a key of the directory; `reason` reaches the colleague.

        Raises ToolError when the transfer failed; its text gives the model the failure and the offers.
        """
        # First of all: a late word of the caller would otherwise interrupt the tool's speech and kill the transfer.
        context.disallow_interruptions()
        directory = self._call.profile.directory
        entry = directory.get(destination)
        if entry is None:
            known = ", ".join(directory)
            raise ToolError(
                prompts.instruction("tools.transfer_to_human.unknown_destination", destination=destination, known=known)
            )
        if self._call.outbound is None:
            raise ToolError(prompts.instruction("tools.transfer_to_human.no_telephone"))
        hold = prompts.sentence("frontdesk.before_transfer", name=entry.name)
        await context.session.say(hold, allow_interruptions=False)
        try:
            result = await self._transfer(context.session, entry, reason, self._call.outbound)
        except WarmTransferError as error:
            # Later speech may be interrupted again; else the caller's words over it are thrown away.
            context.speech_handle.allow_interruptions = True
            self._call.recording.mark(get_job_context(), success=False, reason=f"transfer: {error.reason}")
            if error.reason is TransferReason.CALLER_HUNG_UP:
                raise StopResponse() from None
            step = next_step(error.reason, [tool.id for tool in self.tools], len(directory))
            raise ToolError(f"{error.message} {step}".strip()) from error
        self._call.recording.mark(get_job_context(), success=True, reason="transfer: connected")
        if result.ended_by == "human":
            # A fixed sentence: the caller does not wait for a model.
            context.session.say(prompts.sentence("frontdesk.anything_else"))
        else:
            # The two talk, or both have gone: the session ends, and with it every stream to a model.
            context.session.shutdown(drain=False)
        raise StopResponse()

    async def _transfer(
        self, session: AgentSession, entry: Destination, reason: str, outbound: Outbound
    ) -> WarmTransferResult:
        def on_event(event: TransferEvent) -> None:
            if event.phase is Phase.BRIDGED:
                self._ending_recording = asyncio.create_task(self._call.recording.end(session))

        introduction = prompts.sentence("frontdesk.introduction")
        if self._call.recording.is_on:
            introduction = f"{introduction} {prompts.sentence('frontdesk.recording_ended')}"
        return await outbound.transfer(
            entry.number,
            human_name=entry.name,
            call_reason=reason,
            ringing_timeout=entry.ringing_timeout,
            dtmf=entry.dtmf or None,
            person_timeout=entry.person_timeout,
            chat_ctx=self.chat_ctx,
            introduction=introduction,
            after_bridge=self._call.profile.after_transfer,
            voicemail_message=self._call.profile.voicemail_message,
            on_event=on_event,
        )
