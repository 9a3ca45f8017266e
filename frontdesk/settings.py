"""What the environment says. `.env.example` names and explains every variable."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from frontdesk.problems import ConfigurationError

TtsProvider = Literal["openai", "deepgram"]
DEEPGRAM_URL = "https://api.deepgram.com"


@dataclass(frozen=True)
class Settings:
    agent_name: str
    """The name that a dispatch rule uses."""
    profile_path: Path
    """frontdesk.toml."""
    deepgram_base_url: str
    openai_base_url: str | None
    """None: OpenAI's own."""
    stt_model: str
    llm_model: str
    tts_provider: TtsProvider
    tts_model: str
    tts_voice: str
    load_threshold: float
    """Machine load, 0 to 1, above which the worker takes no new calls; more than 1: it always does."""
    health_port: int
    """Port of the worker's health check."""


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return self._environment.get(name, "").strip() or default

    def required(self, name: str, what: str) -> str:
        value = self.text(name, "")
        if not value:
            self.problems.append(f"{name} is not set: write {what}")
        return value

    def url(self, name: str, default: str, schemes: tuple[str, ...], example: str) -> str:
        value = self.text(name, default)
        parts = urlsplit(value)
        if value and (parts.scheme not in schemes or not parts.netloc):
            self.problems.append(f"{name}={value!r} is not an address: write something like {example}")
        return value.rstrip("/")

    def number(self, name: str, default: float, least: float, most: float) -> float:
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            self.problems.append(f"{name}={text!r} is out of range: write a number from {least:g} to {most:g}")
        return value


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Raises ConfigurationError with one line for each variable that is missing or malformed."""
    reader = _Reader(os.environ if environment is None else environment)
    if reader.required("LIVEKIT_URL", "the address of your LiveKit server, such as wss://my-project.livekit.cloud"):
        reader.url("LIVEKIT_URL", "", ("ws", "wss", "http", "https"), "wss://my-project.livekit.cloud")
    reader.required("LIVEKIT_API_KEY", "the API key of your LiveKit project")
    reader.required("LIVEKIT_API_SECRET", "the API secret of your LiveKit project")
    reader.required("OPENAI_API_KEY", "your OpenAI key, such as sk-...")
    reader.required("DEEPGRAM_API_KEY", "your Deepgram key")
    reader.required("LIVEKIT_SIP_OUTBOUND_TRUNK", "the id of the outbound trunk for transfers, such as ST_...")
    provider = reader.text("TTS_PROVIDER", "openai")
    if provider not in ("openai", "deepgram"):
        reader.problems.append(f"TTS_PROVIDER={provider!r} is unknown: write openai or deepgram")
    by_openai = provider != "deepgram"
    openai_url = reader.url("OPENAI_BASE_URL", "", ("http", "https"), "https://api.openai.com/v1")
    if "://" in openai_url and not openai_url.endswith("/v1"):
        reader.problems.append(
            f"OPENAI_BASE_URL={openai_url!r} must end in /v1: write something like https://api.openai.com/v1"
        )
    settings = Settings(
        agent_name=reader.text("AGENT_NAME", "front-desk"),
        profile_path=Path(
            reader.text("FRONTDESK_TOML", str(Path(__file__).resolve().parent.parent / "frontdesk.toml"))
        ),
        deepgram_base_url=reader.url("DEEPGRAM_BASE_URL", DEEPGRAM_URL, ("http", "https"), DEEPGRAM_URL),
        openai_base_url=openai_url or None,
        stt_model=reader.text("STT_MODEL", "nova-3"),
        llm_model=reader.text("LLM_MODEL", "gpt-4.1-mini"),
        tts_provider="openai" if by_openai else "deepgram",
        tts_model=reader.text("TTS_MODEL", "gpt-4o-mini-tts" if by_openai else "aura-2-andromeda-en"),
        tts_voice=reader.text("TTS_VOICE", "ash"),
        load_threshold=reader.number("WORKER_LOAD_THRESHOLD", 0.7, 0.1, 2.0),
        health_port=int(reader.number("WORKER_HEALTH_PORT", 8081, 0, 65535)),
    )
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return settings


def check_port(port: int) -> None:
    """ConfigurationError when another program listens on the port of the health check."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        why = "is in use on this machine" if error.errno == errno.EADDRINUSE else "cannot be opened"
        raise ConfigurationError(
            [f"WORKER_HEALTH_PORT={port} {why}: write another port, or 0 for any free one"]
        ) from None
