"""The set-up behind every make target: it works or says in one line why not, and leaves nothing half-made."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import bootstrap

SCRIPT = Path(bootstrap.__file__)
LOCK = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"


def run(folder: Path, *, index: str) -> subprocess.Popen[str]:
    (folder / "lock.txt").write_text(LOCK)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    return subprocess.Popen(
        [sys.executable, SCRIPT, "venv", "lock.txt"],
        cwd=folder,
        env={**environment, "PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background ignores the interrupt, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def test_missing_package_index_is_one_clear_line_and_leaves_no_environment(tmp_path: Path) -> None:
    process = run(tmp_path, index="http://127.0.0.1:9/simple")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert len(errors.strip().splitlines()) == 1
    assert "the package index cannot be reached" in errors
    assert not (tmp_path / "venv").exists()


def test_interrupted_set_up_leaves_no_environment_and_no_traceback(tmp_path: Path) -> None:
    # An index that says nothing: one that refuses may do so before the interruption comes.
    with socket.create_server(("127.0.0.1", 0)) as index:
        process = run(tmp_path, index=f"http://127.0.0.1:{index.getsockname()[1]}/simple")
        deadline = time.monotonic() + 60
        while not (tmp_path / "venv").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "set-up interrupted" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "venv").exists()


def test_environment_is_made_again_when_the_lock_changes(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / ".ready").write_text(bootstrap.digest(lock))
    assert bootstrap.is_ready(tmp_path / "venv", lock)
    lock.write_text(LOCK + "# changed\n")
    assert not bootstrap.is_ready(tmp_path / "venv", lock)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("Failed to establish a new connection: [Errno 111]", "cannot be reached"),
        ("ERROR: No matching distribution found for aiortc==1.16.0", "has no aiortc==1.16.0"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "differs from the lock"),
        ("OSError: [Errno 28] No space left on device", "no space left"),
        ("ERROR: something else", "something else"),
    ],
)
def test_failure_of_pip_is_explained(log: str, said: str) -> None:
    assert said in bootstrap.explain(log)
