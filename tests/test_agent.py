"""agent.py from the command line: it starts, or says in plain lines why not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOOD = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "secret",
    "OPENAI_API_KEY": "sk-1",
    "DEEPGRAM_API_KEY": "dg",
    "LIVEKIT_SIP_OUTBOUND_TRUNK": "ST_1",
}


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    command = [sys.executable, str(ROOT / "agent.py"), *arguments]
    return subprocess.run(
        command, cwd=cwd or ROOT, env={**base, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("mode", ["start", "dev", "console"])
def test_missing_variables_stop_the_worker_with_a_line_each(mode: str, tmp_path: Path) -> None:
    result = run(mode, cwd=tmp_path)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert [line.split()[0] for line in lines] == list(GOOD)
    assert "Traceback" not in result.stdout + result.stderr


def test_a_malformed_profile_stops_the_worker_naming_file_and_key(tmp_path: Path) -> None:
    profile = tmp_path / "frontdesk.toml"
    profile.write_text((ROOT / "frontdesk.toml").read_text().replace("+12025550141", "12025550141"))
    result = run("start", cwd=tmp_path, FRONTDESK_TOML=str(profile), **GOOD)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "frontdesk.toml: directory.billing.number is '12025550141': write it as \"+12025550141\", "
        'or a SIP URI such as "sip:sarah@pbx.example.com"'
    ]


def test_a_port_in_use_stops_the_worker_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("start", cwd=tmp_path, WORKER_HEALTH_PORT=port, **GOOD)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"WORKER_HEALTH_PORT={port} is in use on this machine: write another port, or 0 for any free one"
    ]


def test_help_and_model_download_need_no_settings(tmp_path: Path) -> None:
    shown = run("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "console" in shown.stdout and "start" in shown.stdout
    assert run("download-files", cwd=tmp_path).returncode == 0
