"""The environment, read once, with one line for each thing that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frontdesk import settings as module
from frontdesk.problems import ConfigurationError
from frontdesk.settings import read_settings

GOOD = {
    "LIVEKIT_URL": "wss://p.livekit.cloud",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "secret",
    "OPENAI_API_KEY": "sk-1",
    "DEEPGRAM_API_KEY": "dg",
    "LIVEKIT_SIP_OUTBOUND_TRUNK": "ST_1",
}


def test_the_required_variables_are_enough() -> None:
    settings = read_settings(GOOD)
    assert (settings.agent_name, settings.stt_model, settings.tts_provider) == ("front-desk", "nova-3", "openai")
    assert settings.deepgram_base_url == "https://api.deepgram.com"
    assert settings.openai_base_url is None


def test_all_that_is_missing_is_told_at_once_a_line_each() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings({})
    assert [line.split()[0] for line in caught.value.problems] == list(GOOD)
    assert all(": write " in line and "\n" not in line for line in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVEKIT_URL", "my-project"),
        ("OPENAI_BASE_URL", "localhost:1234"),
        ("OPENAI_BASE_URL", "http://localhost:1234"),
        ("DEEPGRAM_BASE_URL", "deepgram"),
        ("TTS_PROVIDER", "espeak"),
        ("WORKER_LOAD_THRESHOLD", "much"),
        ("WORKER_LOAD_THRESHOLD", "7"),
        ("WORKER_HEALTH_PORT", "-1"),
    ],
)
def test_a_malformed_variable_is_named_with_what_to_write(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings({**GOOD, name: value})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(name)
    assert "write" in caught.value.problems[0]


def test_the_example_file_names_every_variable_that_is_read() -> None:
    source = Path(module.__file__).read_text()
    read = set(re.findall(r'"([A-Z][A-Z_]{5,})"', source))
    example = (Path(module.__file__).parent.parent / ".env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", example, re.MULTILINE))
    assert read <= named
