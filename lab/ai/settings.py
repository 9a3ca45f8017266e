"""How the loopback services answer, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class AiSettings:
    host: str = "127.0.0.1"
    port: int = 0
    """0 lets the system choose."""
    engine: Literal["speech", "instant"] = "speech"
    first_token: float = 0.0
    """Seconds until the language model says its first word."""
    first_audio: float = 0.0
    """Seconds until speech begins to come."""
    final_transcript: float = 0.0
    """Seconds from the end of an utterance to its transcript, on top of the time of recognition."""
    end_silence: float = 0.3
    """Seconds of silence that end an utterance (speech engine)."""
    threads: int = 1
    """Of each of the two speech models."""
    cache: Path | None = None
    """Folder for synthesised sentences."""
    events: Path | None = None
    """File that gets one JSON line for each request."""
