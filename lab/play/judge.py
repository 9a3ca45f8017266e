"""Listens to the sound that each phone really received. Pilot tones show leaks and the merge, recognition gives the words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from lab.play.scenario import Expectation
from lab.sip import g711

PILOTS = {"caller": 2900.0, "human": 3200.0}
"""Hz under each mouth, at -55 dBFS: they survive G.711, Opus and G.711 again, and nobody hears them."""
OTHER = {"caller": "human", "human": "caller"}
HOP = 160
"""Samples between two looks: 20 ms."""
WINDOW = 800
PILOT_LEVELS = (25.0, 90.0)
"""Amplitudes of a present pilot; it is sent with 58, and arrives with 40 to 80 under speech."""
PILOT_CLARITY = 2.5
"""Ratio of a pilot to its neighbours, which noise would fill as well."""
PILOT_STEP = 0.4
"""Most radians that its phase moves from look to look: a frequency 3 Hz beside it. Both pilots have whole periods in a
look, so theirs stands still (0.3 was the most under speech). The harmonics of a voice glide by, and most are louder."""
LEAK_FRAMES = 5
"""Looks in a row (100 ms) that make a leak. A voice alone made 3 of 80 ms and none longer in an hour of speech."""
MERGE_FRAMES = 5
SILENCE_LEVEL = 30.0
"""Root mean square of 20 ms below which there is silence."""
SILENCE_LIMIT = 2.0
"""Seconds: law 2."""


@dataclass(frozen=True)
class Finding:
    """One law or expectation, and whether it holds."""

    what: str
    ok: bool
    detail: str = ""


@dataclass
class Heard:
    """One utterance at an ear, in seconds from the start of the call."""

    start: float
    end: float
    text: str


@dataclass
class Evidence:
    """A call as the phones heard it. All times in seconds from its start."""

    ears: dict[str, np.ndarray]
    """16-bit samples at 8 kHz, by person, pilots included."""
    heard: dict[str, list[Heard]] = field(default_factory=dict)
    hold: float | None = None
    """When the hold began."""
    transfer_end: float | None = None
    """When the two were connected, or the transfer had failed."""
    bridge: float | None = None
    """When the bridge was begun."""
    outcome: str = "none"
    left: list[str] = field(default_factory=list)
    """Phones, rooms and transfers that should have ended but had not."""
    end_seconds: float = 0.0
    """Seconds from the last hang-up until nothing was left."""
    end_limit: float = 2.0


def clock(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{seconds % 60:04.1f}"


# -- pilots


def pilot_present(samples: np.ndarray, hertz: float) -> np.ndarray:
    """For every 20 ms whether the pilot is there (in the 100 ms that begin then)."""
    if len(samples) < WINDOW:
        return np.zeros(0, bool)
    index = np.arange(WINDOW)
    shape = np.hanning(WINDOW) * 2 / np.hanning(WINDOW).sum()
    views = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::HOP]
    offsets = (0, -60, 60, -110, 110)
    waves = np.array([np.exp(-2j * np.pi * (hertz + o) / g711.RATE * index) * shape for o in offsets])
    found = views @ waves.T
    strength, beside = np.abs(found[:, 0]), np.abs(found[:, 1:]).max(axis=1)
    lowest, highest = PILOT_LEVELS
    steady = np.abs(np.angle(found[1:, 0] * found[:-1, 0].conj())) < PILOT_STEP
    steady = np.append(steady, False) | np.append(False, steady)
    return (strength > lowest) & (strength < highest) & (strength > PILOT_CLARITY * beside) & steady


def runs(flags: np.ndarray, least: int) -> list[tuple[float, float]]:
    """Stretches (start, end in seconds) of at least `least` true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    seconds = HOP / g711.RATE
    return [
        (float(a) * seconds, float(b) * seconds) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= least
    ]


def merge_moment(evidence: Evidence) -> float | None:
    """When each began to hear the other for good; None when one of them never did."""
    firsts = []
    for person, samples in evidence.ears.items():
        found = runs(pilot_present(samples, PILOTS[OTHER[person]]), MERGE_FRAMES)
        late = [start for start, _ in found if evidence.bridge is None or start >= evidence.bridge - 0.1]
        firsts.append(late[0] + WINDOW / 2 / g711.RATE if late else None)
    return max(first for first in firsts if first is not None) if firsts and None not in firsts else None


def without_pilots(samples: np.ndarray) -> np.ndarray:
    """The sound as people hear it, for recognition."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    hertz = np.fft.rfftfreq(len(samples), 1 / g711.RATE)
    for pilot in PILOTS.values():
        spectrum[np.abs(hertz - pilot) < 20] = 0
    return np.clip(np.fft.irfft(spectrum, len(samples)), -32768, 32767).astype(np.int16)


# -- words

_SAME = {"i'm": "i am", "let's": "let us", "i'll": "i will", "that's": "that is", "can't": "cannot", "okay": "ok"}
_NUMBERS = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five"}


def words(text: str) -> list[str]:
    text = text.lower().replace("’", "'")
    for short, long in _SAME.items():
        text = re.sub(rf"\b{short}\b", long, text)
    return [_NUMBERS.get(word, word) for word in re.findall(r"[a-z']+|\d+", text)]


def word_errors(sentence: str, heard: str) -> float:
    """Share of the words of `sentence` that are wrong at the place of `heard` where it fits best."""
    wanted, got = words(sentence), words(heard)
    previous = [0] * (len(got) + 1)
    for row, word in enumerate(wanted, 1):
        current = [row] + [0] * len(got)
        for column, other in enumerate(got, 1):
            current[column] = min(previous[column - 1] + (word != other), previous[column] + 1, current[column - 1] + 1)
        previous = current
    return min(previous) / max(1, len(wanted))


# -- laws and expectations


def judge(evidence: Evidence, outcome: str, expectations: list[Expectation]) -> list[Finding]:
    findings = [Finding("outcome", evidence.outcome == outcome, f"{evidence.outcome}, expected {outcome}")]
    findings += [law_private(evidence, person) for person in evidence.ears]
    findings.append(law_never_silent(evidence))
    findings.append(law_nothing_left(evidence))
    if outcome == "connected":
        moment = merge_moment(evidence)
        findings.append(
            Finding("both hear each other", moment is not None, f"from {clock(moment)}" if moment else "never")
        )
    return findings + [expected(evidence, expectation) for expectation in expectations]


def law_private(evidence: Evidence, person: str) -> Finding:
    """Law 1: before the bridge neither hears the other."""
    found = runs(pilot_present(evidence.ears[person], PILOTS[OTHER[person]]), LEAK_FRAMES)
    limit = evidence.bridge if evidence.outcome == "connected" and evidence.bridge is not None else float("inf")
    early = [start for start, _ in found if start < limit - WINDOW / g711.RATE]
    where = (
        f"the {person} hears the {OTHER[person]} at {', '.join(clock(start) for start in early[:3])}" if early else ""
    )
    return Finding(f"law 1, private ({person}'s ear)", not early, where)


def law_never_silent(evidence: Evidence) -> Finding:
    """Law 2: on hold the caller is never in silence for more than two seconds."""
    name = "law 2, never silent on hold"
    if evidence.hold is None:
        return Finding(name, True, "no hold")
    samples = evidence.ears["caller"]
    end = evidence.transfer_end if evidence.transfer_end is not None else len(samples) / g711.RATE
    part = samples[int(evidence.hold * g711.RATE) : int(end * g711.RATE)].astype(np.float64)
    frames = part[: len(part) // HOP * HOP].reshape(-1, HOP)
    silent = np.sqrt((frames**2).mean(axis=1)) < SILENCE_LEVEL
    gaps = runs(silent, 1)
    longest = max(gaps, key=lambda gap: gap[1] - gap[0], default=(0.0, 0.0))
    length = longest[1] - longest[0]
    return Finding(
        name, length <= SILENCE_LIMIT, f"longest silence {length:.1f} s at {clock(evidence.hold + longest[0])}"
    )


def law_nothing_left(evidence: Evidence) -> Finding:
    """Law 4: phones and rooms are gone soon after the end."""
    ok = not evidence.left and evidence.end_seconds <= evidence.end_limit
    detail = (
        f"still there: {', '.join(evidence.left)}" if evidence.left else f"all gone after {evidence.end_seconds:.1f} s"
    )
    return Finding("law 4, nothing left over", ok, detail)


def expected(evidence: Evidence, expectation: Expectation) -> Finding:
    heard = evidence.heard.get(expectation.who, [])
    errors = word_errors(expectation.text, " ".join(utterance.text for utterance in heard))
    if not expectation.never:
        detail = f"{errors:.0%} of the words wrong" if errors else ""
        return Finding(f"the {expectation.who} hears “{expectation.text}”", errors <= expectation.tolerance, detail)
    place = next((u for u in heard if word_errors(expectation.text, u.text) <= expectation.tolerance), None)
    where = f"heard at {clock(place.start)}" if place else ""
    return Finding(f"the {expectation.who} never hears “{expectation.text}”", place is None, where)
