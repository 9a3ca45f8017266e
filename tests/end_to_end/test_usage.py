"""The usage on LiveKit's page of WarmTransferTask, word for word, in a worker that is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.desk import CLEAN_UP, HUMAN, open_desk
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
AGENT = Path(__file__).with_name("usage_agent.py")


def test_the_agent_uses_the_page_s_words() -> None:
    own = PAGE.replace("<human-agent-phone-number>,", 'os.environ["HUMAN_NUMBER"],').split()
    assert " ".join(own) in " ".join(AGENT.read_text().split())


async def test_a_transfer_over_an_inline_trunk_as_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HUMAN_NUMBER": HUMAN, "SIP_AUTH_USERNAME": "u", "SIP_AUTH_PASSWORD": "p"}.items():
        monkeypatch.setenv(name, value)
    async with open_desk(tmp_path, AGENT) as desk:
        call = desk.call()
        await call.dial("Good morning.")
        call.say(call.caller, "Can I speak to a person please?")
        await call.human.wait_for("answered", LIMIT)
        call.say(call.human, "Hello, this is Sarah.")
        await call.hears(call.human, "Shall I connect you?")
        call.say(call.human, "Yes, please connect me.")
        await call.hears(call.caller, "You are on the line with a colleague.")
        await until(call.hear_each_other, "both hear each other", every=0.05)
        assert call.leaks(call.phase_time("bridge")) == []
        call.caller.hang_up()
        assert await call.ends() <= CLEAN_UP
