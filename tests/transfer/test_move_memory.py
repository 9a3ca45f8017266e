"""What a worker knows of its server's moves: for its own life, and of that server alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transfer.move_memory import VARIABLE, may_move, remember_no_move

HERE, THERE = "wss://here.example.org", "wss://there.example.org"
FIRST = """
import subprocess, sys
from transfer.move_memory import VARIABLE, remember_no_move, may_move
import os
call = "from transfer.move_memory import remember_no_move; remember_no_move('wss://here.example.org')"
subprocess.run([sys.executable, "-c", call], check=True)
print(may_move("wss://here.example.org"), os.environ[VARIABLE])
"""


def test_one_server_s_answer_says_nothing_of_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "memory"))
    assert may_move(HERE) and may_move(THERE)
    remember_no_move(HERE)
    assert not may_move(HERE) and may_move(THERE)


def test_what_one_call_s_process_learns_is_known_to_the_next_and_gone_with_the_worker(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | {"TMPDIR": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", FIRST], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said[0] == "False"
    assert Path(said[1]).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_to_write_to_each_call_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    remember_no_move(HERE)
    assert may_move(HERE)


def test_a_disk_that_cannot_be_written_to_costs_nothing_but_the_question(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "no such folder" / "memory"))
    remember_no_move(HERE)
    assert may_move(HERE)
