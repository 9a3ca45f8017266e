"""Scenario files: who calls, who says what when, and what must be heard by whom. `lab/scenarios/README.md` explains them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"
DEFAULT_TOLERANCE = 0.34
"""Share of a sentence's words that may be misheard: telephone sound, and Whisper's smallest model."""

Person = Literal["caller", "human"]
PEOPLE = ("caller", "human")
ON_CALL = ("answer", "ring", "refuse", "voicemail")
OUTCOMES = ("connected", "none", "busy", "no_answer", "declined_by_phone", "declined", "voicemail", "phone_menu",
            "nobody_spoke", "caller_hung_up", "caller_cancelled", "human_hung_up", "unreachable", "wrong_number", "trunk_error",
            "consult_deadline", "hold_limit", "bridge_failed")  # fmt: skip
STEP_KEYS = ("who", "wait_for", "after", "limit", "say", "press", "hang_up")
CUE = re.compile(r"heard|rings|picked_up|stops_ringing|phase:[a-z_]+")


class ScenarioError(Exception):
    """Names the file and the mistake in it, in one line."""


@dataclass(frozen=True)
class Step:
    """One thing that a person does, after a cue."""

    who: Person
    wait_for: str = ""
    """`heard`: the other side has spoken and is silent again. `rings`, `picked_up`, `stops_ringing`: the human's phone.
    `phase:X`: the worker says that the transfer is in that phase. Empty: at once."""
    after: float = 0.0
    """Seconds between the cue and the act."""
    limit: float = 30.0
    """Seconds within which the cue must come."""
    say: str = ""
    press: str = ""
    hang_up: bool = False


@dataclass(frozen=True)
class Expectation:
    """A sentence that must be heard, or with `never` must not."""

    who: Person
    text: str
    tolerance: float = DEFAULT_TOLERANCE
    never: bool = False


@dataclass(frozen=True)
class HumanPhone:
    """The colleague's phone."""

    number: str
    on_call: str = "answer"
    after: float = 1.5
    """Seconds of ringing."""
    status: int = 486
    """SIP status of a phone that refuses."""
    greeting: str = ""
    """The words of a voicemail."""


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    outcome: str
    """How the transfer must end; `none`: there is none."""
    human: HumanPhone
    steps: list[Step] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)

    def lines(self) -> list[tuple[str, str]]:
        """All lines of the people: (voice, text)."""
        said = [(step.who, step.say) for step in self.steps if step.say]
        return [*said, *([("human", self.human.greeting)] if self.human.greeting else [])]


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Scenario:
    """Raises ScenarioError with one line."""
    path = FOLDER / f"{name}.toml"
    if not path.exists():
        raise ScenarioError(f"there is no scenario {name!r}: choose one of {', '.join(names())}")
    return read(path)


def read(path: Path) -> Scenario:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path.name}: is not TOML: {error}") from None
    reader = _Reader(path.name)
    reader.only("", table, "title", "outcome", "human", "step", "heard")
    human = table.get("human", {})
    reader.only("human", human, "number", "on_call", "after", "status", "greeting")
    scenario = Scenario(
        name=path.stem,
        title=reader.text("title", table),
        outcome=reader.one_of("outcome", table, OUTCOMES),
        human=HumanPhone(
            **{**human, "number": reader.text("human.number", human, "number")},
        ),
        steps=[reader.step(f"step {n}", entry) for n, entry in enumerate(table.get("step", []), 1)],
        expectations=[reader.heard(f"heard {n}", entry) for n, entry in enumerate(table.get("heard", []), 1)],
    )
    if scenario.human.on_call not in ON_CALL:
        raise ScenarioError(
            f"{path.name}: human.on_call is {scenario.human.on_call!r}: write one of {', '.join(ON_CALL)}"
        )
    return scenario


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file

    def fail(self, key: str, what: str) -> ScenarioError:
        return ScenarioError(f"{self._file}: {key} {what}")

    def only(self, place: str, table: dict[str, Any], *known: str) -> None:
        for key in table:
            if key not in known:
                name = f"{place}.{key}" if place else key
                raise self.fail(name, f"is unknown: write one of {', '.join(known)}, or take it out")

    def text(self, place: str, table: dict[str, Any], key: str = "") -> str:
        value = table.get(key or place, "")
        if not isinstance(value, str) or not value:
            raise self.fail(place, "is missing: write a text in quotes")
        return value

    def one_of(self, place: str, table: dict[str, Any], choices: tuple[str, ...], key: str = "") -> str:
        value = self.text(place, table, key)
        if value not in choices:
            raise self.fail(place, f"is {value!r}: write one of {', '.join(choices)}")
        return value

    def step(self, place: str, entry: dict[str, Any]) -> Step:
        self.only(place, entry, *STEP_KEYS)
        self.one_of(f"{place}.who", entry, PEOPLE, "who")
        step = Step(**entry)
        if step.wait_for and not CUE.fullmatch(step.wait_for):
            raise self.fail(
                f"{place}.wait_for", f"is {step.wait_for!r}: write heard, rings, picked_up, stops_ringing or phase:NAME"
            )
        if not (step.say or step.press or step.hang_up or step.wait_for):
            raise self.fail(place, "does nothing: write say, press or hang_up")
        return step

    def heard(self, place: str, entry: dict[str, Any]) -> Expectation:
        self.only(place, entry, "who", "text", "tolerance", "never")
        self.one_of(f"{place}.who", entry, PEOPLE, "who")
        self.text(f"{place}.text", entry, "text")
        return Expectation(**entry)
