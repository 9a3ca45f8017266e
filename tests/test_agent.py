"""agent.py from the command line, in every way in which it is started: it starts, or says in plain lines why not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.settings import ENOUGH

ROOT = Path(__file__).resolve().parent.parent
AGENT = str(ROOT / "agent.py")
MODELS = ("OPENAI_API_KEY", "DEEPGRAM_API_KEY")
"""What a conversation in the terminal needs."""
WAYS = {
    "python agent.py start": (AGENT, "start"),
    "python agent.py dev": (AGENT, "dev"),
    "python -m livekit.agents start": ("-m", "livekit.agents", "start", AGENT),
    "lk agent dev": ("-m", "livekit.agents", "start", AGENT, "--dev", "--log-level", "DEBUG"),
    "lk agent simulate": ("-m", "livekit.agents", "start", AGENT, "--simulation"),
}
CONSOLES = {
    "python agent.py console": (AGENT, "console"),
    "python agent.py console --text": (AGENT, "console", "--text"),
    "lk agent console": ("-m", "livekit.agents", "console", AGENT, "--connect-addr", "127.0.0.1:9"),
}
# A root whose file systems are all read-only, as in a hardened container; the second gets a tmpfs.
READ_ONLY = "mount --make-rprivate / && mount -o bind,ro / / && mount -o remount,bind,ro / && cd {root} && {then}"


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd or ROOT,
        env={**base, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("way", WAYS)
def test_missing_variables_stop_the_worker_with_a_line_each(way: str, tmp_path: Path) -> None:
    result = run(*WAYS[way], cwd=tmp_path)
    assert result.returncode == 2
    assert [line.split()[0] for line in result.stderr.splitlines()] == list(ENOUGH)
    assert result.stdout == ""


@pytest.mark.parametrize("way", CONSOLES)
def test_the_console_needs_the_models_alone(way: str, tmp_path: Path) -> None:
    result = run(*CONSOLES[way], cwd=tmp_path)
    assert result.returncode == 2
    assert [line.split()[0] for line in result.stderr.splitlines()] == list(MODELS)
    assert result.stdout == ""


def test_a_malformed_profile_stops_the_worker_beside_all_else_that_is_wrong(tmp_path: Path) -> None:
    profile = tmp_path / "frontdesk.toml"
    profile.write_text((ROOT / "frontdesk.toml").read_text().replace("+12025550141", "12025550141"))
    environment = {**ENOUGH, "FRONTDESK_TOML": str(profile)}
    (tmp_path / ".env").write_text("=\n")
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(*WAYS["python -m livekit.agents start"], cwd=tmp_path, WORKER_HEALTH_PORT=port, **environment)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        ".env: line 1 is no setting: write NAME=value",
        "frontdesk.toml: directory.billing.number is '12025550141': write it as \"+12025550141\", an extension behind "
        'your trunk such as "500", or a SIP URI such as "sip:sarah@pbx.example.com"',
        f"WORKER_HEALTH_PORT={port} is in use on this machine: write another port, or 0 for any free one",
    ]


def test_the_default_port_is_looked_at_too_and_dev_takes_any(tmp_path: Path) -> None:
    try:
        taken = socket.create_server(("", 8081))
    except OSError:
        taken = None  # somebody else has it: as good
    try:
        assert run(AGENT, "start", cwd=tmp_path, **ENOUGH).stderr.startswith("WORKER_HEALTH_PORT=8081 is in use")
        missing = {**ENOUGH, "OPENAI_API_KEY": ""}
        assert "WORKER_HEALTH_PORT" not in run(AGENT, "dev", cwd=tmp_path, **missing).stderr
    finally:
        if taken:
            taken.close()


def test_help_and_model_download_need_no_settings(tmp_path: Path) -> None:
    shown = run(AGENT, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "console" in shown.stdout and "start" in shown.stdout
    assert run(AGENT, "download-files", cwd=tmp_path).returncode == 0


def test_livekit_s_tools_find_the_server_and_importing_it_says_nothing(tmp_path: Path) -> None:
    """What `lk agent dev`, `console` and `simulate` do first; nothing that is wrong is looked at."""
    (tmp_path / ".env").write_bytes("LIVEKIT_URL=nonsense\n".encode("utf-16"))
    (tmp_path / ".env.local").write_text("=\nWORKER_HEALTH_PORT=nan\nLIVEKIT_AGENT_NAME=reception\n")
    code = (
        "from livekit.agents.cli.discover import get_import_data; from pathlib import Path; import sys;"
        f"data = get_import_data(path=Path({AGENT!r}));"
        "sys.exit(data.app_name if (data.app_name, sys.modules['agent'].server.agent_name) != ('server', 'reception') else 0)"
    )
    result = run("-c", code, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_utf_16_env_file_is_a_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("OPENAI_API_KEY=sk\n".encode("utf-16"))
    lines = run(AGENT, "start", cwd=tmp_path, **ENOUGH, WORKER_HEALTH_PORT="nan").stderr.splitlines()
    assert lines == [
        ".env: is UTF-16: save it as UTF-8",
        "WORKER_HEALTH_PORT='nan' is out of range: write a number from 0 to 65535",
    ]


def test_a_worker_that_gives_up_its_server_exits_with_a_failure_and_no_traceback(tmp_path: Path) -> None:
    """A supervisor that restarts what has failed would otherwise leave it at that."""
    (tmp_path / "sitecustomize.py").write_text(
        "import livekit.agents.worker as w\n"
        "init = w.AgentServer.__init__\n"
        "w.AgentServer.__init__ = lambda self, **options: init(self, **{**options, 'max_retry': 0})\n"
    )
    result = run(
        *WAYS["python -m livekit.agents start"],
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
        WORKER_HEALTH_PORT="0",
        **ENOUGH,
    )
    assert result.returncode == 1
    assert "this worker gives up: failed to connect to livekit" in result.stdout + result.stderr
    assert "worker failed" not in result.stdout + result.stderr


def can_remount() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    )


def on_a_read_only_root(then: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = READ_ONLY.format(root=ROOT, then=then)
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", command],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not can_remount(), reason="mounts need rights that this user has not")
def test_a_read_only_root_without_a_temporary_folder_is_a_line() -> None:
    result = on_a_read_only_root(f"exec {sys.executable} agent.py start", **ENOUGH, WORKER_HEALTH_PORT="0")
    assert result.returncode == 2
    ours = [
        line for line in result.stderr.splitlines() if "onnxruntime" not in line
    ]  # it writes to its log as it loads
    assert ours == [
        "no temporary folder can be written to, /tmp neither: mount a tmpfs there, or name a folder in TMPDIR"
    ]


@pytest.mark.skipif(not can_remount(), reason="mounts need rights that this user has not")
def test_a_read_only_root_with_a_tmpfs_is_enough() -> None:
    start = f"mount -t tmpfs tmpfs /tmp && exec timeout -s INT 60 {sys.executable} agent.py start"
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", READ_ONLY.format(root=ROOT, then=start)],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **ENOUGH, "WORKER_HEALTH_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    seen = []
    try:
        for line in process.stdout:
            seen.append(line)
            if "process initialized" in line:
                break
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert "process initialized" in seen[-1], seen
    assert not any("Traceback" in line for line in seen)
