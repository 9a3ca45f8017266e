"""The README's steps, typed in their order by somebody whose project is acme-8f3k2, lead to a deployed agent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from frontdesk.voice.settings import DEFAULT_AGENT_NAME

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
URL = "wss://acme-8f3k2.livekit.cloud"
SUBDOMAIN = re.compile(r"^(?:https?|wss?)://([^.]+)\.")
"""How `lk` 2.18 takes the subdomain out of a project's address (cmd/lk/agent.go)."""
COMMANDS = [line.strip().partition("  #")[0] for line in README.splitlines() if re.match(r" +(?:lk|perl) ", line)]


def lk_agent_accepts(folder: Path, url: str) -> bool:
    """What every `lk agent` command compares before anything else."""
    named = tomllib.loads((folder / "livekit.toml").read_text())["project"]["subdomain"]
    found = SUBDOMAIN.match(url)
    return found is not None and found[1] == named


def position(start: str) -> int:
    return next(number for number, command in enumerate(COMMANDS) if command.startswith(start))


def test_a_fresh_clone_is_refused_until_the_documented_step_is_done(tmp_path: Path) -> None:
    shutil.copy(ROOT / "livekit.toml", tmp_path)
    assert not lk_agent_accepts(tmp_path, URL)
    edit = COMMANDS[position("perl ")]
    subprocess.run(edit, shell=True, cwd=tmp_path, check=True)
    assert lk_agent_accepts(tmp_path, URL)
    assert tomllib.loads((tmp_path / "livekit.toml").read_text())["agent"]["id"]


def test_the_steps_stand_in_the_order_in_which_they_work() -> None:
    first_agent_command = min(position("lk agent create"), position("lk agent deploy"))
    assert position("perl ") < first_agent_command
    assert position("lk agent create") < position("lk agent deploy")
    known = min(position("lk cloud auth"), position("lk project add"))
    assert known < position("lk sip inbound create") < position("lk sip dispatch create")


def test_the_dispatch_rule_names_the_trunk_and_the_agent() -> None:
    assert " --trunks ST_" in COMMANDS[position("lk sip dispatch create")]
    block = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert block
    rule = json.loads(block[1])["dispatch_rule"]
    assert rule["roomConfig"]["agents"] == [{"agentName": DEFAULT_AGENT_NAME}]
    assert rule["rule"] == {"dispatchRuleIndividual": {"roomPrefix": "call-"}}
