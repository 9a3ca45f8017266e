"""The agent that answers the phone."""

from __future__ import annotations

import logging
from typing import Any

from livekit.agents import Agent, RunContext, StopResponse, ToolError, function_tool

from frontdesk.profile import Profile
from transfer import TransferReason, WarmTransferError, WarmTransferTask, prompts

logger = logging.getLogger("frontdesk")


class FrontDeskAgent(Agent):
    """Greets, answers from the profile, and puts callers through to those in the directory and to nobody else."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        super().__init__(
            instructions=prompts.read(
                "frontdesk/receptionist.txt",
                business=profile.name,
                facts=profile.facts(),
                directory=profile.directory_lines(),
            ),
            tools=[self._transfer_tool()],
        )

    async def on_enter(self) -> None:
        greeting = prompts.read("frontdesk/greeting.txt", business=self._profile.name)
        self.session.say(greeting, allow_interruptions=False)

    def _transfer_tool(self) -> Any:
        """The tool with the directory's keys as the only destinations that the model can name."""

        async def transfer_to_human(raw_arguments: dict[str, object], context: RunContext) -> None:
            await self.transfer_to_human(str(raw_arguments.get("destination", "")), context)

        schema = {
            "name": "transfer_to_human",
            "description": "Puts the caller on hold and calls a colleague, who is briefed and then connected.",
            "parameters": {
                "type": "object",
                "properties": {
                    "destination": {
                        "type": "string",
                        "enum": list(self._profile.directory),
                        "description": self._profile.directory_lines(),
                    },
                    "reason": {"type": "string", "description": "Why the caller needs a colleague, in a few words."},
                },
                "required": ["destination", "reason"],
                "additionalProperties": False,
            },
        }
        return function_tool(transfer_to_human, raw_schema=schema)

    async def transfer_to_human(self, destination: str, context: RunContext) -> None:
        """Raises ToolError, whose text the model reads, when the transfer did not come about."""
        # First of all: a late word of the caller would otherwise interrupt the tool's speech and kill the transfer.
        context.disallow_interruptions()
        entry = self._profile.directory.get(destination)
        if entry is None:
            known = ", ".join(self._profile.directory)
            raise ToolError(f"There is no destination {destination!r}. Use one of: {known}.")
        await context.session.say(prompts.read("frontdesk/before_transfer.txt"), allow_interruptions=False)
        try:
            result = await WarmTransferTask(
                sip_call_to=entry.number,
                ringing_timeout=entry.ringing_timeout,
                dtmf=entry.dtmf or None,
                chat_ctx=self.chat_ctx,
                introduction=prompts.read("frontdesk/introduction.txt"),
                after_bridge=self._profile.after_transfer,
                voicemail_message=self._profile.voicemail_message,
            )
        except WarmTransferError as error:
            # What comes now may be interrupted again; else the caller's words over it are thrown away.
            context.speech_handle.allow_interruptions = True
            if error.reason is TransferReason.CALLER_HUNG_UP:
                raise StopResponse() from None
            raise
        if result.ended_by == "human":
            # A fixed sentence: the caller does not wait for a model.
            context.session.say(prompts.read("frontdesk/anything_else.txt"))
        else:
            # The two talk, or both have gone: the session ends, and with it every stream to a model.
            context.session.shutdown(drain=False)
        raise StopResponse()
