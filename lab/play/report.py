"""The files of a played call: sound, transcript, timeline as data and as a page."""

from __future__ import annotations

import base64
import html
import json
import wave
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lab.play.judge import Finding, Heard, clock
from lab.sip import g711

TEMPLATE = Path(__file__).with_name("timeline.html")
PEAKS_PER_SECOND = 40


@dataclass(frozen=True)
class Event:
    """One event, in seconds from the start of the call."""

    at: float
    who: str
    """`caller`, `human`, `agent` or `call`."""
    what: str


@dataclass
class Report:
    scenario: str
    title: str
    seconds: float
    events: list[Event]
    said: dict[str, list[Heard]]
    heard: dict[str, list[Heard]]
    phases: list[tuple[str, float, float]]
    """Name, start and end."""
    findings: list[Finding]
    merge: float | None
    load: dict[str, Any]
    exit_code: int

    def data(self) -> dict[str, Any]:
        return asdict(self)


def write(folder: Path, report: Report, ears: dict[str, np.ndarray]) -> None:
    """call.wav, transcript.md, timeline.json and timeline.html; `ears` are 16-bit samples at 8 kHz without pilots."""
    folder.mkdir(parents=True, exist_ok=True)
    write_wav(folder / "call.wav", ears["caller"], ears["human"])
    (folder / "timeline.json").write_text(json.dumps(report.data(), indent=1))
    (folder / "transcript.md").write_text(transcript(report))
    (folder / "timeline.html").write_text(page(report, ears, (folder / "call.wav").read_bytes()))


def write_wav(path: Path, left: np.ndarray, right: np.ndarray) -> None:
    length = max(len(left), len(right))
    both = np.zeros((length, 2), "<i2")
    both[: len(left), 0], both[: len(right), 1] = left, right
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(g711.RATE)
        file.writeframes(both.tobytes())


def transcript(report: Report) -> str:
    """Both ears and both mouths in the order of time."""
    rows = [(u.start, f"**{who}** says", u.text) for who, lines in report.said.items() for u in lines]
    rows += [(u.start, f"{who} hears", u.text) for who, lines in report.heard.items() for u in lines]
    rows += [(event.at, f"_{event.who}_", event.what) for event in report.events if event.who == "call"]
    lines = [f"# {report.title} (`{report.scenario}`)", "", "| time | | |", "|---|---|---|"]
    lines += [f"| {clock(at)} | {who} | {text.replace('|', '/')} |" for at, who, text in sorted(rows)]
    lines += ["", "## Judgement", ""]
    lines += [f"- {'✓' if f.ok else '✗'} {f.what}{': ' + f.detail if f.detail else ''}" for f in report.findings]
    return "\n".join(lines) + "\n"


def peaks(samples: np.ndarray, seconds: float) -> list[int]:
    """Loudest value of each 25 ms, 0 to 100."""
    size = g711.RATE // PEAKS_PER_SECOND
    count = int(seconds * PEAKS_PER_SECOND) + 1
    padded = np.zeros(count * size, np.float64)
    used = min(len(samples), len(padded))
    padded[:used] = np.abs(samples[:used].astype(np.float64))
    return [int(value) for value in np.clip(padded.reshape(count, size).max(axis=1) / 160, 0, 100)]


def page(report: Report, ears: dict[str, np.ndarray], sound: bytes) -> str:
    """One page that needs nothing but itself."""
    data = report.data() | {
        "peaks": {person: peaks(samples, report.seconds) for person, samples in ears.items()},
        "peaksPerSecond": PEAKS_PER_SECOND,
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("{{title}}", html.escape(report.title))
    text = text.replace("{{audio}}", base64.b64encode(sound).decode())
    return text.replace("{{data}}", json.dumps(data).replace("</", "<\\/"))
