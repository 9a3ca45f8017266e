"""What a played call leaves behind."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from lab.play.judge import Finding, Heard
from lab.play.machine import Load, measure
from lab.play.report import Event, Report, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    report = Report(
        scenario="accept",
        title="A <title> & more",
        seconds=4.0,
        events=[Event(0.5, "call", "hold")],
        said={"caller": [Heard(1.0, 2.0, "Hello </script> there")], "human": []},
        heard={"caller": [], "human": [Heard(2.0, 3.0, "Shall I connect you?")]},
        phases=[("hold", 0.5, 3.0)],
        findings=[Finding("law 1", True), Finding("law 2", False, "silence at 00:02.0")],
        merge=3.1,
        load={"before": {"busy": 0.1}},
        exit_code=1,
    )
    ears = {"caller": np.full(32000, 1000, np.int16), "human": np.full(16000, -1000, np.int16)}
    write(tmp_path, report, ears)
    return tmp_path


def test_the_sound_has_the_caller_s_ear_on_the_left_and_the_human_s_on_the_right(folder: Path) -> None:
    with wave.open(str(folder / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 32000)
        samples = np.frombuffer(file.readframes(20000), "<i2").reshape(-1, 2)
    assert (samples[0] == [1000, -1000]).all()
    assert (samples[-1] == [1000, 0]).all()


def test_the_timeline_is_data_and_a_page_that_needs_nothing_but_itself(folder: Path) -> None:
    data = json.loads((folder / "timeline.json").read_text())
    assert data["findings"][1]["detail"] == "silence at 00:02.0"
    page = (folder / "timeline.html").read_text()
    assert "A &lt;title&gt; &amp; more" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "https:" not in page
    inside = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert inside and json.loads(inside[1])["said"]["caller"][0]["text"] == "Hello </script> there"


def test_the_transcript_is_in_the_order_of_time(folder: Path) -> None:
    text = (folder / "transcript.md").read_text()
    assert text.index("hold") < text.index("Hello") < text.index("Shall I connect you?")
    assert "✗ law 2: silence at 00:02.0" in text


@pytest.mark.parametrize(
    ("load", "too_busy"),
    [
        (Load(0.5, 0.0, 0.4), False),
        (Load(0.9, 0.0, 0.85), False),
        (Load(0.9, 0.0, 0.4), True),
        (Load(0.8, 0.4, 0.4), True),
    ],
)
def test_the_machine_is_too_busy_only_when_others_take_it(load: Load, too_busy: bool) -> None:
    assert load.too_busy is too_busy


def test_our_own_work_is_counted_as_ours() -> None:
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            sum(range(1000))

    thread = threading.Thread(target=work)
    thread.start()
    worked, start = time.process_time(), time.monotonic()
    load = measure(0.6)
    share = (time.process_time() - worked) / (time.monotonic() - start) / (os.cpu_count() or 1)
    done.set()
    thread.join()
    # Not "half a core": what a busy machine leaves us is its own affair, but that much has to be counted.
    assert load.own == pytest.approx(share, abs=0.1)
    assert load.busy >= load.own - 0.2
