"""The order to a relay, as the agent's process hands it to the relay's own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from transfer.relay.errors import SideName

EngineName = Literal["packet", "sdk"]
EngineChoice = Literal["auto", "packet", "sdk"]
"""Packets are passed on untouched; or decoded and encoded by the SDK; or the second where the first fails."""

PARTICIPANT_LIMIT = 3.0
"""Seconds that a participant may take to be there with audio."""


@dataclass(frozen=True)
class Side:
    """One of the two rooms, and its participants that are heard in the other."""

    room: str
    participant: str
    """Identity of the one participant that the relay is about: when it leaves, the relay ends."""
    also: tuple[str, ...] = ()
    """Identities of others of this room whose microphone tracks are carried too, such as an agent that introduces the two."""
    keep: bool = False
    """True: this room stays when the other side ends, as long as the process that began the relay looks after it."""
    shared_key: str = ""
    """Of the end-to-end encryption of this room; empty: it has none."""

    @property
    def heard(self) -> tuple[str, ...]:
        return (self.participant, *self.also)


@dataclass(frozen=True)
class Order:
    """Both rooms, where they are, and how to carry."""

    url: str
    """Of the LiveKit server: ws, wss, http or https."""
    api_key: str
    api_secret: str
    first: Side
    second: Side
    engine: EngineChoice = "auto"
    participant_limit: float = PARTICIPANT_LIMIT
    after_move: bool = False
    """True: a move of the second participant has been given up and may still succeed."""
    token_life: float = 600.0
    """Seconds that an access token is good for; each time a leg joins it gets a new one."""

    def side(self, name: SideName) -> Side:
        return self.first if name == "first" else self.second

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        values: dict[str, Any] = json.loads(text)
        for name in ("first", "second"):
            side = values[name]
            values[name] = Side(**{**side, "also": tuple(side["also"])})
        return cls(**values)
