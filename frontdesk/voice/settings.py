"""The environment's values, checked. `.env.example` names and explains every variable."""

from __future__ import annotations

import errno
import math
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from frontdesk.business.numbers import E164
from frontdesk.business.problems import ConfigurationError
from frontdesk.voice.environment import BLANKS, QUOTES
from frontdesk.voice.outbound import InlineTrunk, Outbound, StoredTrunk, TwilioConnector

TtsProvider = Literal["openai", "deepgram"]
Mode = Literal["worker", "console"]
"""A worker registers with a server; the console is a conversation in the terminal, which needs no server."""
ROOT = Path(__file__).resolve().parents[2]
DEFAULT_AGENT_NAME = "front-desk"
DEEPGRAM_URL = "https://api.deepgram.com"
DEFAULT_HEALTH_PORT = 8081
"""LiveKit's own."""
DEFAULT_START_TIMEOUT = 60.0
"""Seconds. LiveKit's own 10 s are too few for a small machine that starts several processes at once."""
CALLS_PER_CORE = 5
"""LiveKit's guide plans 10 to 25 calls for four cores."""
WAYS_OUT = ("LIVEKIT_SIP_OUTBOUND_TRUNK", "SIP_TRUNK_HOSTNAME", "TWILIO_ACCOUNT_SID")
"""The variables of which one says how colleagues are called; the first that is set counts."""
_ON, _OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0", "")
_PLACEHOLDER = re.compile(
    r"^\S{0,6}(?:\.\.\.|…)$|^<.*>$|^\[.*\]$|\bmy-project\b|^your[-_ ]|change[-_ ]?me|^(?:[A-Za-z]{2}[-_])?x{3,}$",
    re.IGNORECASE,
)
"""Placeholders of examples where a value belongs."""


@dataclass(frozen=True)
class Settings:
    agent_name: str
    """The name that a dispatch rule uses."""
    profile_path: Path
    """frontdesk.toml."""
    livekit_url: str
    livekit_api_key: str = field(repr=False)
    livekit_api_secret: str = field(repr=False)
    outbound: Outbound | None
    """How colleagues are called; None in the console, which calls nobody."""
    answers_without_trunk: bool
    """Whether SIP callers without an inbound trunk are answered: strangers, where a dispatch rule names no trunk."""
    deepgram_base_url: str
    llm_base_url: str | None
    """None: OpenAI's own."""
    tts_base_url: str | None
    """Of speech by OpenAI; None: its own."""
    stt_model: str
    llm_model: str
    tts_provider: TtsProvider
    tts_model: str
    tts_voice: str
    max_calls: int | None
    """Calls at once that this worker takes; None: as many as the machine has cores for (`CALLS_PER_CORE`)."""
    start_timeout: float
    """Seconds that a job process may take to start."""
    idle_processes: int | None
    """Processes kept ready for calls; None: LiveKit's default, one for each core and none in `dev`."""
    health_port: int | None
    """Port of the health check, 0 for any free one; None: DEFAULT_HEALTH_PORT, and any free one in `dev`."""
    records: bool
    """Whether calls are recorded and their words leave this process: audio, transcript, traces, logs."""
    recording_folder: Path
    """Where the audio of recorded calls is kept."""

    @property
    def dials_numbers_only(self) -> bool:
        """Whether the way out knows no extensions, SIP URIs and keys."""
        return isinstance(self.outbound, TwilioConnector)


class _Reader:
    """Reads variables, collects their problems, and remembers each as it is to be used."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []
        self.used: dict[str, str] = {}
        """Every variable that was read and is set, as understood: without blanks around it."""

    def text(self, name: str, default: str = "") -> str:
        """One word: quotes or blanks in it come from a shell or a file that was written for another reader."""
        value = self._environment.get(name, "").strip(BLANKS)
        if not value or _PLACEHOLDER.search(value):
            return default
        if name not in self.used:  # a variable that is read twice has one line
            self.used[name] = value
            if value[0] in QUOTES or value[-1] in QUOTES:
                self.problems.append(f"{name} has quotes around it: write it without them")
            elif any(sign in BLANKS for sign in value):
                self.problems.append(f"{name} has blanks in it: write it without them")
            elif not value.isprintable():
                self.problems.append(f"{name} has a sign in it that cannot be seen: type it again")
        return value

    def path(self, name: str, default: Path) -> Path:
        value = self._environment.get(name, "").strip(BLANKS)
        if value and value[0] == value[-1] and value[0] in QUOTES:
            self.problems.append(f"{name} has quotes around it: write it without them")
        if value:
            self.used[name] = value
        return Path(value) if value else default

    def required(self, name: str, what: str) -> str:
        value = self.text(name)
        if not value:
            self.problems.append(f"{name} {self.lacks(name)}: write {what}")
        return value

    def lacks(self, name: str) -> str:
        """Why there is no value: the variable is empty, or holds the example's placeholder."""
        found = self._environment.get(name, "").strip(BLANKS)
        if not found:
            return "is not set"
        is_secret = name.endswith(("_KEY", "_SECRET", "_PASSWORD", "_TOKEN"))
        return "is still the example's" if is_secret else f"is still the example's {found!r}"

    def url(self, name: str, default: str, schemes: tuple[str, ...], example: str) -> str:
        value = self.text(name)
        if not value:
            return default
        try:
            parts = urlsplit(value)
            good = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good and not self._complained(name):
            self.problems.append(f"{name}={value!r} is not an address: write something like {example}")
        return value.rstrip("/")

    def number(self, name: str, default: float, least: float, most: float) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most and not self._complained(name):  # nan is never between
            self.problems.append(f"{name}={text!r} is out of range: write a number from {least:g} to {most:g}")
        return value

    def whole(self, name: str, least: int, most: int) -> int | None:
        value = self.number(name, math.nan, least, most)
        if name not in self.used or not least <= value <= most:
            return None
        if value != int(value):
            self.problems.append(f"{name}={self.used[name]!r} is no whole number: write one from {least} to {most}")
        return int(value)

    def switch(self, name: str) -> bool:
        text = self.text(name).lower()
        if text not in (*_ON, *_OFF) and not self._complained(name):
            self.problems.append(f"{name}={text!r} is unknown: write on or off")
        return text in _ON

    def _complained(self, name: str) -> bool:
        return any(problem.startswith(f"{name} ") or problem.startswith(f"{name}=") for problem in self.problems)


def read_settings(environment: Mapping[str, str] | None = None, mode: Mode = "worker") -> Settings:
    """Raises ConfigurationError with one line for each variable that is missing or malformed."""
    return _read(_Reader(os.environ if environment is None else environment), mode)


def settle(environment: Mapping[str, str], mode: Mode = "worker") -> Settings:
    """As `read_settings`, and puts the checked values into the environment of this process and its children.

    LiveKit's SDK, its plugins and the relay read some variables themselves, and a key with a carriage return behind it
    is another key to them.
    """
    reader = _Reader(environment)
    settings = _read(reader, mode)
    os.environ.update(reader.used)
    return settings


def _read(reader: _Reader, mode: Mode) -> Settings:
    serves = mode == "worker"
    schemes, example = ("ws", "wss", "http", "https"), "wss://acme-8f3k2.livekit.cloud"
    if serves:
        livekit_url = reader.required("LIVEKIT_URL", f"the address of your LiveKit server, such as {example}")
        key = reader.required("LIVEKIT_API_KEY", "the API key of your LiveKit project")
        secret = reader.required("LIVEKIT_API_SECRET", "the API secret of your LiveKit project")
    else:
        livekit_url, key, secret = (
            reader.text(name) for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
        )
    if livekit_url:
        livekit_url = reader.url("LIVEKIT_URL", "", schemes, example)
    reader.required("OPENAI_API_KEY", "your OpenAI key, such as sk-...")
    reader.required("DEEPGRAM_API_KEY", "your Deepgram key")
    outbound = _outbound(reader) if serves or any(map(reader.text, WAYS_OUT)) else None
    provider = reader.text("TTS_PROVIDER", "openai").lower()
    if provider not in ("openai", "deepgram"):
        reader.problems.append(f"TTS_PROVIDER={provider!r} is unknown: write openai or deepgram")
    by_openai = provider != "deepgram"
    web = ("http", "https")
    openai_url = reader.url("OPENAI_BASE_URL", "", web, "https://api.openai.com/v1")
    default_name = reader.text("LIVEKIT_AGENT_NAME", DEFAULT_AGENT_NAME)
    settings = Settings(
        agent_name=reader.text("AGENT_NAME", default_name),
        profile_path=reader.path("FRONTDESK_TOML", ROOT / "frontdesk.toml"),
        livekit_url=livekit_url,
        livekit_api_key=key,
        livekit_api_secret=secret,
        outbound=outbound,
        answers_without_trunk=reader.switch("ANSWER_WITHOUT_TRUNK"),
        deepgram_base_url=reader.url("DEEPGRAM_BASE_URL", DEEPGRAM_URL, web, DEEPGRAM_URL),
        llm_base_url=reader.url("LLM_BASE_URL", openai_url, web, "http://127.0.0.1:8000/v1") or None,
        tts_base_url=reader.url("TTS_BASE_URL", openai_url, web, "http://127.0.0.1:8000/v1") or None,
        stt_model=reader.text("STT_MODEL", "nova-3"),
        llm_model=reader.text("LLM_MODEL", "gpt-4.1-mini"),
        tts_provider="openai" if by_openai else "deepgram",
        tts_model=reader.text("TTS_MODEL", "gpt-4o-mini-tts" if by_openai else "aura-2-andromeda-en"),
        tts_voice=reader.text("TTS_VOICE", "ash"),
        max_calls=reader.whole("WORKER_MAX_CALLS", 1, 10_000),
        start_timeout=reader.number("WORKER_START_TIMEOUT", DEFAULT_START_TIMEOUT, 5, 600),
        idle_processes=reader.whole("WORKER_IDLE_PROCESSES", 0, 1_000),
        health_port=reader.whole("WORKER_HEALTH_PORT", 0, 65_535),
        records=reader.switch("RECORDING"),
        recording_folder=reader.path("RECORDING_FOLDER", ROOT / "recordings"),
    )
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return settings


def _outbound(reader: _Reader) -> Outbound | None:
    """The first of the three ways out that is set."""
    number = reader.text("LIVEKIT_SIP_NUMBER")
    if number and not E164.fullmatch(number):
        reader.problems.append(
            f'LIVEKIT_SIP_NUMBER={number!r} is no telephone number: write it as "+12025550100", or leave it empty for the trunk\'s'
        )
    trunk = reader.text("LIVEKIT_SIP_OUTBOUND_TRUNK")
    if trunk:
        return StoredTrunk(trunk, number)
    if hostname := reader.text("SIP_TRUNK_HOSTNAME"):
        return _inline_trunk(reader, hostname, number)
    if account := reader.text("TWILIO_ACCOUNT_SID"):
        reader.required("TWILIO_AUTH_TOKEN", "the auth token of that Twilio account")
        from_number = reader.required("TWILIO_FROM_NUMBER", 'a number of that Twilio account, such as "+12025550100"')
        if from_number and not E164.fullmatch(from_number):
            reader.problems.append(
                f'TWILIO_FROM_NUMBER={from_number!r} is no telephone number: write it as "+12025550100"'
            )
        return TwilioConnector(account, from_number)
    reader.problems.append(
        f"LIVEKIT_SIP_OUTBOUND_TRUNK {reader.lacks('LIVEKIT_SIP_OUTBOUND_TRUNK')}: write the id of the outbound trunk for "
        "transfers (lk sip outbound list), or set SIP_TRUNK_HOSTNAME for a trunk that is stored nowhere, or "
        "TWILIO_ACCOUNT_SID for Twilio without a trunk"
    )
    return None


def _inline_trunk(reader: _Reader, hostname: str, number: str) -> InlineTrunk:
    if re.match(r"sips?:", hostname, re.IGNORECASE) or "@" in hostname or ";" in hostname:
        reader.problems.append(
            f"SIP_TRUNK_HOSTNAME={hostname!r} is an address of somebody: write the host alone, such as sip.example.com"
        )
    username = reader.text("SIP_AUTH_USERNAME")
    password = reader.text("SIP_AUTH_PASSWORD")
    if bool(username) != bool(password):
        name = "SIP_AUTH_PASSWORD" if username else "SIP_AUTH_USERNAME"
        reader.problems.append(f"{name} {reader.lacks(name)}: write it, or set neither for a trunk without a password")
    return InlineTrunk(hostname, username, password, number)


def check_machine(settings: Settings, health_port: int) -> list[str]:
    """Needs of a worker that this machine does not meet, a line each. Port 0: any free one."""
    problems = _port_problems(health_port) if health_port else []
    try:
        tempfile.gettempdir()
    except OSError:
        problems.append(
            "no temporary folder can be written to, /tmp neither: mount a tmpfs there, or name a folder in TMPDIR"
        )
    if settings.records:
        problems += _folder_problems("RECORDING_FOLDER", settings.recording_folder)
    return problems


def _port_problems(port: int) -> list[str]:
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        why = "is in use on this machine" if error.errno == errno.EADDRINUSE else "cannot be opened"
        return [f"WORKER_HEALTH_PORT={port} {why}: write another port, or 0 for any free one"]
    return []


def _folder_problems(name: str, folder: Path) -> list[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return []
    except OSError as error:
        return [f"{name}={str(folder)!r} cannot be written to ({error.strerror}): write a folder that can"]
