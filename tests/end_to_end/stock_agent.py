"""A worker as users write it around the stock task, from LiveKit's page on it."""

import os

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    JobProcess,
    RunContext,
    ToolError,
    cli,
    function_tool,
)  # fmt: skip
from livekit.agents.beta.workflows import WarmTransferTask
from livekit.protocol.sip import SIPOutboundConfig

from frontdesk.voice.pipeline import make_pipeline
from frontdesk.voice.settings import read_settings


def prewarm(process: JobProcess) -> None:
    process.userdata["pipeline"] = make_pipeline(read_settings())


# It reports no load: no job goes to a worker that reports more than 0.7, and the machine of a test is soon that busy.
server = AgentServer(port=0, load_threshold=2.0, load_fnc=lambda: 0.0, setup_fnc=prewarm)


class Receptionist(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You answer the telephone.")

    async def on_enter(self) -> None:
        self.session.say("Good morning.", allow_interruptions=False)

    @function_tool
    async def transfer_to_human(self, context: RunContext, destination: str, reason: str) -> None:
        """Puts the caller through."""
        context.disallow_interruptions()
        try:
            result = await WarmTransferTask(
                sip_call_to=os.environ["HUMAN_NUMBER"],         # Human agent's phone number
                sip_connection=SIPOutboundConfig(               # Inline trunk configuration
                    hostname=os.getenv("SIP_TRUNK_HOSTNAME"),
                    auth_username=os.getenv("SIP_AUTH_USERNAME"),
                    auth_password=os.getenv("SIP_AUTH_PASSWORD"),
                ),
                chat_ctx=self.chat_ctx,                         # Conversation history
            )  # fmt: skip
        except ToolError:
            raise
        except Exception as error:
            raise ToolError(f"failed to transfer the call: {error}") from error
        assert result.human_agent_identity in context.session.room_io.room.remote_participants
        await self.session.say("You are on the line with a colleague.", allow_interruptions=False)
        self.session.shutdown()


@server.rtc_session(agent_name=os.environ["AGENT_NAME"])
async def answer(job: JobContext) -> None:
    pipeline = job.proc.userdata["pipeline"]
    session: AgentSession[None] = AgentSession(
        stt=pipeline.stt,
        llm=pipeline.llm,
        tts=pipeline.tts,
        vad=pipeline.vad,
        turn_handling={"turn_detection": pipeline.turn_detector},
    )
    await session.start(agent=Receptionist(), room=job.room)


if __name__ == "__main__":
    cli.run_app(server)
