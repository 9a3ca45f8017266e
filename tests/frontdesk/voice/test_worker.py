"""What the worker reports means "no more calls", and nothing else."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from frontdesk.voice import worker
from frontdesk.voice.worker import TARGET_LOAD, Capacity, FrontDeskServer
from tests.settings import ENOUGH

ENVIRONMENT = {**ENOUGH, "WORKER_HEALTH_PORT": "0", "WORKER_MAX_CALLS": "3"}


@pytest.mark.parametrize("most", [1, 2, 3, 4, 10, 25, 1000])
def test_the_load_is_below_the_server_s_target_while_one_more_call_fits(most: int) -> None:
    capacity = Capacity(most)
    loads = [capacity.load(running) for running in range(most + 3)]
    assert loads[0] == 0
    assert loads == sorted(loads)
    assert all(load < TARGET_LOAD for load in loads[:most])
    assert all(load > TARGET_LOAD for load in loads[most:])


def test_the_load_is_the_share_of_calls() -> None:
    assert [Capacity(10).load(running) for running in (1, 3, 5)] == [0.1, 0.3, 0.5]
    assert Capacity(math.inf).load(500) == 0


def test_calls_that_are_offered_at_once_do_not_all_get_the_last_place() -> None:
    capacity = Capacity(2)
    with capacity.place(0) as first, capacity.place(0) as second, capacity.place(0) as third:
        assert (first, second, third) == (True, True, False)
        assert capacity.load(0) == 1.0
    with capacity.place(1) as again:
        assert again


class Request:
    """A call that is offered."""

    def __init__(self) -> None:
        self.answers: list[str] = []

    async def accept(self) -> None:
        self.answers.append("accept")
        await asyncio.sleep(0)

    async def reject(self) -> None:
        self.answers.append("reject")


class Idle(FrontDeskServer):
    """Does not start anything."""

    ran: dict[str, Any]

    @property
    def active_jobs(self) -> list[Any]:
        return []


async def configured(monkeypatch: pytest.MonkeyPatch, *, devmode: bool = False, **environment: str) -> Idle:
    for name, value in {**ENVIRONMENT, **environment}.items():
        monkeypatch.setenv(name, value)
    # Put back with the rest after the test.
    monkeypatch.setenv("LIVEKIT_TELEMETRY_ALLOW_PII", "")
    monkeypatch.setattr(worker, "mask_all_logs", lambda: None)
    server = Idle(lambda settings, profile, process: None)

    async def run(self: Any, **modes: bool) -> None:
        self.ran = {
            "load": self.load_fnc,
            "threshold": self._load_threshold,
            "idle": self._num_idle_processes,
            "start": self._initialize_process_timeout,
            "url": self._ws_url,
        }

    monkeypatch.setattr(worker.AgentServer, "run", run)
    await server.run(devmode=devmode)
    return server


async def test_a_burst_of_calls_is_taken_up_to_the_most_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await configured(monkeypatch)
    requests = [Request() for _ in range(5)]
    await asyncio.gather(*(server.accept(request) for request in requests))  # type: ignore[arg-type]
    assert [request.answers[0] for request in requests].count("accept") == 3


async def test_dev_takes_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await configured(monkeypatch, devmode=True)
    requests = [Request() for _ in range(50)]
    await asyncio.gather(*(server.accept(request) for request in requests))  # type: ignore[arg-type]
    assert all(request.answers == ["accept"] for request in requests)
    assert server.ran["load"]() == 0


async def test_on_livekit_cloud_neither_load_nor_threshold_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Idle(lambda settings, profile, process: None)._load_threshold
    server = await configured(monkeypatch, LIVEKIT_WORKER_TOKEN="token")
    assert server.ran["load"] is None
    assert server.ran["threshold"] == plain


async def test_idle_processes_and_their_time_to_start_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await configured(monkeypatch, WORKER_IDLE_PROCESSES="0", WORKER_START_TIMEOUT="120")
    assert (server.ran["idle"], server.ran["start"]) == (0, 120.0)


async def test_what_the_command_line_names_counts_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_URL", "ws://environment")
    server = Idle(lambda settings, profile, process: None)
    server.update_options(ws_url="ws://flag \r", api_key="k")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings, _ = server.check(devmode=True, unregistered=False)
    assert (settings.livekit_url, settings.livekit_api_key) == ("ws://flag", "k")
    assert worker.os.environ["LIVEKIT_URL"] == "ws://flag"


def test_a_retired_variable_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(configured(monkeypatch, WORKER_LOAD_THRESHOLD="2"))
    assert "WORKER_LOAD_THRESHOLD is not used any more: set WORKER_MAX_CALLS" in caplog.text


def test_env_local_wins_over_env_and_the_environment_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing is passed on by compose files, and wins over nobody."""
    (tmp_path / ".env").write_text("AGENT_NAME=a\nLLM_MODEL=a\nTTS_VOICE=a\n")
    (tmp_path / ".env.local").write_text("LLM_MODEL='b'\nTTS_VOICE=b\n")
    values = {"TTS_VOICE": "c", "AGENT_NAME": "  "}
    assert worker.load_env_files([tmp_path, tmp_path], values) == []
    assert values == {"AGENT_NAME": "a", "LLM_MODEL": "b", "TTS_VOICE": "c"}
