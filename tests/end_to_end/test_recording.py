"""A call that is recorded, on the shipped worker: said at the start, ended at the bridge, kept after the call."""

from __future__ import annotations

import time
from pathlib import Path

import av
import pytest

from bench.desk import CALLER, open_desk
from tests.lab.support import LIMIT, until


def seconds(file: Path) -> float:
    with av.open(file) as container:
        assert container.duration
        return container.duration / av.time_base


async def test_a_recording_ends_when_the_two_are_connected_and_is_kept_after_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recordings"
    monkeypatch.setenv("RECORDING", "on")
    monkeypatch.setenv("RECORDING_FOLDER", str(folder))
    async with open_desk(tmp_path) as desk:
        call = desk.call()
        answered = time.monotonic()
        await call.reach_the_human()
        assert "This call is recorded." in call.heard(call.caller, call.started)
        await call.human.press("1")
        await call.hears(call.human, "The recording has ended.")
        bridged = call.phase_time("bridged")
        call.human.hang_up()
        await call.hears(call.caller, "Is there anything else I can do for you?")
        call.say(call.caller, "What are your opening hours?")
        await call.hears(call.caller, "Our opening hours are")
        call.caller.hang_up()
        await call.ends()

        [file] = await until(lambda: list(folder.glob("*.ogg")), "the recording is kept", LIMIT)
        assert 0 < seconds(file) < bridged - answered + 1
        assert CALLER.removeprefix("+") not in file.name
        await until(lambda: "the recording of the call is in" in desk.worker.log.read_text(), "the log says so", LIMIT)
        assert "the recording ends" in desk.worker.log.read_text()
