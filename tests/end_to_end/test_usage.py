"""A worker that was written around the stock task, with the words of LiveKit's page on it, and only its import changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.desk import CLEAN_UP, HUMAN, Call, open_desk
from tests.lab.support import LIMIT, until

PAGE = """result = await WarmTransferTask(
    sip_call_to=<human-agent-phone-number>,         # Human agent's phone number
    sip_connection=SIPOutboundConfig(               # Inline trunk configuration
        hostname=os.getenv("SIP_TRUNK_HOSTNAME"),
        auth_username=os.getenv("SIP_AUTH_USERNAME"),
        auth_password=os.getenv("SIP_AUTH_PASSWORD"),
    ),
    chat_ctx=self.chat_ctx,                         # Conversation history
)"""
STOCK_AGENT = Path(__file__).with_name("stock_agent.py")
STOCK_IMPORT = "from livekit.agents.beta.workflows import WarmTransferTask"
OUR_IMPORT = "from transfer import WarmTransferTask"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program with our import in place of theirs."""
    for name, value in {"HUMAN_NUMBER": HUMAN, "SIP_AUTH_USERNAME": "u", "SIP_AUTH_PASSWORD": "p"}.items():
        monkeypatch.setenv(name, value)
    source = STOCK_AGENT.read_text()
    assert source.count(STOCK_IMPORT) == 1
    path = tmp_path / "agent.py"
    path.write_text(source.replace(STOCK_IMPORT, OUR_IMPORT))
    return path


def test_the_agent_uses_the_page_s_words() -> None:
    own = PAGE.replace("<human-agent-phone-number>,", 'os.environ["HUMAN_NUMBER"],').split()
    assert " ".join(own) in " ".join(STOCK_AGENT.read_text().split())


async def test_a_transfer_over_an_inline_trunk_as_on_the_page(agent: Path, tmp_path: Path) -> None:
    async with open_desk(tmp_path, agent) as desk:
        call = desk.call()
        await reach_the_human(call)
        call.say(call.human, "Yes, please connect me.")
        await call.hears(call.caller, "You are on the line with a colleague.")
        await until(call.hear_each_other, "both hear each other", every=0.05)
        assert call.leaks(call.phase_time("bridge")) == []
        call.caller.hang_up()
        assert await call.ends() <= CLEAN_UP

        declined = desk.call()
        await reach_the_human(declined)
        declined.say(declined.human, "I am busy, I cannot take it.")
        await declined.hears(declined.caller, "my colleague cannot take your call now")


async def reach_the_human(call: Call) -> None:
    await call.dial("Good morning.")
    call.say(call.caller, "Can I speak to a person please?")
    await call.human.wait_for("answered", LIMIT)
    call.say(call.human, "Hello, this is Sarah.")
    await call.hears(call.human, "Shall I connect you?")
