"""What is kept of a call: all of it or nothing, by one setting."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.agents.observability import Tagger
from livekit.agents.telemetry import utils

from frontdesk.voice.recording import Recording, say_to_exporters
from frontdesk.voice.settings import read_settings

SETTINGS = read_settings({"OPENAI_API_KEY": "sk-1", "DEEPGRAM_API_KEY": "dg"}, "console")


class Job:
    """What is asked of LiveKit's job."""

    def __init__(self, folder: Path) -> None:
        self.session_directory = folder
        self.job = SimpleNamespace(id="AJ_1")
        self.tagger = Tagger()
        self.options: list[dict[str, bool]] = []

    def init_recording(self, options: dict[str, bool]) -> None:
        self.options.append(dict(options))


def recording(tmp_path: Path, *, is_on: bool) -> tuple[Recording, Any]:
    job = Job(tmp_path / "job")
    job.session_directory.mkdir()
    (job.session_directory / "audio.ogg").write_bytes(b"sound")
    return Recording(is_on, tmp_path / "kept"), job


@pytest.mark.parametrize("records", [True, False])
def test_exporters_get_the_words_only_where_recording_is_on(monkeypatch: pytest.MonkeyPatch, records: bool) -> None:
    monkeypatch.setenv("LIVEKIT_TELEMETRY_ALLOW_PII", "" if records else "1")
    say_to_exporters(replace(SETTINGS, records=records))
    assert utils.allow_pii_from_env() is records
    assert os.environ["LIVEKIT_TELEMETRY_ALLOW_PII"]


async def test_the_file_is_copied_out_of_the_job_s_folder_before_that_is_deleted(tmp_path: Path) -> None:
    kept, job = recording(tmp_path, is_on=True)
    target = await kept.copy_out(job)
    assert target and target.read_bytes() == b"sound"
    assert list((tmp_path / "kept").iterdir()) == [target] and "AJ_1" in target.name


async def test_a_folder_that_is_full_or_gone_costs_a_line_and_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept, job = recording(tmp_path, is_on=True)
    (tmp_path / "kept").write_text("no folder")
    assert await kept.copy_out(job) is None
    assert "could not be kept" in caplog.text


async def test_nothing_is_copied_tagged_or_uploaded_where_it_is_off(tmp_path: Path) -> None:
    """A tag uploads the session's report, and the log of a job that fails early is uploaded on the server's word."""
    off, job = recording(tmp_path, is_on=False)
    off.begin(job)
    off.mark(job, success=True, reason="transfer: connected")
    assert await off.copy_out(job) is None
    assert not (tmp_path / "kept").exists()
    assert job.tagger.outcome is None and not job.tagger.tags
    assert job.options and not any(job.options[0].values())


def test_the_outcome_is_a_tag_where_it_is_on(tmp_path: Path) -> None:
    on, job = recording(tmp_path, is_on=True)
    on.begin(job)
    on.mark(job, success=False, reason="transfer: busy")
    assert (job.tagger.outcome, job.tagger.outcome_reason, job.options) == ("fail", "transfer: busy", [])
