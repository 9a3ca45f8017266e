"""The environment, read once, with one line for each thing that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frontdesk.business.problems import ConfigurationError
from frontdesk.voice import outbound
from frontdesk.voice import settings as module
from frontdesk.voice.settings import check_machine, read_settings, settle
from tests.settings import ENOUGH

NO_TRUNK = {name: value for name, value in ENOUGH.items() if name != "LIVEKIT_SIP_OUTBOUND_TRUNK"}
PAGE = {"SIP_TRUNK_HOSTNAME": "sip.example.com", "SIP_AUTH_USERNAME": "u", "SIP_AUTH_PASSWORD": "p"}
INLINE = {**NO_TRUNK, "SIP_TRUNK_HOSTNAME": "sip.example.com", "LIVEKIT_SIP_NUMBER": "+12025550100"}
TWILIO = {
    **NO_TRUNK,
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "token",
    "TWILIO_FROM_NUMBER": "+12025550100",
}
EXAMPLE = Path(__file__).resolve().parents[3] / ".env.example"


def problems_of(environment: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(environment)
    return caught.value.problems


def test_the_required_variables_are_enough() -> None:
    settings = read_settings(ENOUGH)
    assert (settings.agent_name, settings.stt_model, settings.tts_provider) == ("front-desk", "nova-3", "openai")
    assert settings.deepgram_base_url == "https://api.deepgram.com"
    assert settings.llm_base_url is None and settings.tts_base_url is None
    assert not settings.records


def test_all_that_is_missing_is_told_at_once_a_line_each() -> None:
    problems = problems_of({})
    assert [line.split()[0] for line in problems] == list(ENOUGH)
    assert all(": write " in line and "\n" not in line for line in problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVEKIT_URL", "p.livekit.cloud"),
        ("LIVEKIT_URL", "wss://"),
        ("LIVEKIT_URL", "wss://host:port"),
        ("OPENAI_BASE_URL", "localhost:1234"),
        ("LLM_BASE_URL", "localhost:1234/v1"),
        ("TTS_BASE_URL", "ws://localhost"),
        ("DEEPGRAM_BASE_URL", "deepgram"),
        ("TTS_PROVIDER", "espeak"),
        ("WORKER_MAX_CALLS", "many"),
        ("WORKER_MAX_CALLS", "0"),
        ("WORKER_MAX_CALLS", "2.5"),
        ("WORKER_START_TIMEOUT", "inf"),
        ("WORKER_IDLE_PROCESSES", "-1"),
        ("WORKER_HEALTH_PORT", "-1"),
        ("WORKER_HEALTH_PORT", "nan"),
        ("WORKER_HEALTH_PORT", "1e3000"),
        ("LIVEKIT_SIP_NUMBER", "5550100"),
        ("LIVEKIT_SIP_NUMBER", "sip:me@example.com"),
        ("RECORDING", "maybe"),
    ],
)
def test_a_malformed_variable_is_named_with_what_to_write(name: str, value: str) -> None:
    problems = problems_of({**ENOUGH, name: value})
    assert len(problems) == 1
    assert problems[0].startswith(name)
    assert "write" in problems[0]


@pytest.mark.parametrize("name", [*ENOUGH, "AGENT_NAME", "LLM_MODEL", "TTS_VOICE"])
@pytest.mark.parametrize("form", ['"{}"', "'{}'", "“{}”", '"{}', "{}'", "a {}", "a\t{}"])
def test_quotes_and_blanks_are_found_at_start_and_no_secret_is_shown(name: str, form: str) -> None:
    value = form.format(ENOUGH.get(name, "value"))
    problems = problems_of({**ENOUGH, name: value})
    assert len(problems) == 1
    assert problems[0].startswith(f"{name} has ") and "write it without" in problems[0]
    assert value not in problems[0]


@pytest.mark.parametrize("name", [*ENOUGH, "AGENT_NAME"])
@pytest.mark.parametrize("around", ["{}\r", " {}\t", "\ufeff{}", "{}\u00a0", "{}\u200b"])
def test_what_was_checked_is_put_into_place_for_everybody(
    name: str, around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiveKit's SDK and its plugins read the raw variables: a key with a carriage return behind it is refused."""
    for key, value in {**ENOUGH, "AGENT_NAME": "desk"}.items():
        monkeypatch.setenv(key, around.format(value) if key == name else value)
    settings = settle(dict(module.os.environ))
    assert module.os.environ[name] == {**ENOUGH, "AGENT_NAME": "desk"}[name]
    assert settings.agent_name == "desk"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVEKIT_URL", "wss://my-project.livekit.cloud"),
        ("LIVEKIT_API_KEY", "<key>"),
        ("LIVEKIT_API_SECRET", "your-api-secret"),
        ("OPENAI_API_KEY", "sk-..."),
        ("DEEPGRAM_API_KEY", "xxxxxxxx"),
        ("DEEPGRAM_API_KEY", "changeme"),
        ("LIVEKIT_SIP_OUTBOUND_TRUNK", "ST_..."),
        ("LIVEKIT_SIP_OUTBOUND_TRUNK", "ST_xxxxxxxxxxxx"),
        ("LIVEKIT_SIP_OUTBOUND_TRUNK", "ST_…"),
    ],
)
def test_a_placeholder_is_a_missing_value(name: str, value: str) -> None:
    problems = problems_of({**ENOUGH, name: value})
    assert len(problems) == 1
    assert problems[0].startswith(f"{name} is still the example's")


def test_the_example_file_as_it_is_lacks_exactly_what_is_required() -> None:
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert [line.split()[0] for line in problems_of(values)] == list(ENOUGH)


def test_the_name_that_livekit_s_tools_write_is_read() -> None:
    assert read_settings({**ENOUGH, "LIVEKIT_AGENT_NAME": "reception"}).agent_name == "reception"
    both = {**ENOUGH, "LIVEKIT_AGENT_NAME": "reception", "AGENT_NAME": "desk"}
    assert read_settings(both).agent_name == "desk"


def test_capitals_do_not_matter() -> None:
    settings = read_settings({**ENOUGH, "TTS_PROVIDER": "Deepgram", "RECORDING": "ON"})
    assert settings.tts_provider == "deepgram" and settings.tts_model == "aura-2-andromeda-en"
    assert settings.records


@pytest.mark.parametrize(
    "url",
    ["https://generativelanguage.googleapis.com/v1beta/openai/", "https://api.deepseek.com", "http://10.0.0.1:4000"],
)
def test_the_address_of_the_model_need_not_end_in_v1(url: str) -> None:
    settings = read_settings({**ENOUGH, "OPENAI_BASE_URL": url})
    assert settings.llm_base_url == settings.tts_base_url == url.rstrip("/")


def test_model_and_voice_may_have_addresses_of_their_own() -> None:
    environment = {**ENOUGH, "OPENAI_BASE_URL": "http://a/v1", "LLM_BASE_URL": "http://b/v1"}
    settings = read_settings(environment)
    assert (settings.llm_base_url, settings.tts_base_url) == ("http://b/v1", "http://a/v1")
    settings = read_settings({**environment, "TTS_BASE_URL": "http://c/v1"})
    assert (settings.llm_base_url, settings.tts_base_url) == ("http://b/v1", "http://c/v1")


def test_the_first_way_out_that_is_set_is_taken_and_named() -> None:
    found = read_settings({**ENOUGH, **TWILIO, **INLINE}).outbound
    assert isinstance(found, outbound.StoredTrunk) and "ST_1" in found.describe()
    found = read_settings({**TWILIO, **INLINE, "SIP_AUTH_USERNAME": "u", "SIP_AUTH_PASSWORD": "p"}).outbound
    assert isinstance(found, outbound.InlineTrunk) and "sip.example.com" in found.describe()
    assert (found.username, found.password, found.number) == ("u", "p", "+12025550100")
    assert "'p'" not in repr(found)
    found = read_settings({**NO_TRUNK, **PAGE}).outbound  # LiveKit's page names no number
    assert isinstance(found, outbound.InlineTrunk) and "set LIVEKIT_SIP_NUMBER" in found.describe()
    found = read_settings(TWILIO).outbound
    assert isinstance(found, outbound.TwilioConnector) and "Twilio" in found.describe()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        (NO_TRUNK, "LIVEKIT_SIP_OUTBOUND_TRUNK"),
        ({**INLINE, "SIP_AUTH_USERNAME": "u"}, "SIP_AUTH_PASSWORD"),
        ({**INLINE, "SIP_AUTH_PASSWORD": "p"}, "SIP_AUTH_USERNAME"),
        ({**INLINE, "SIP_TRUNK_HOSTNAME": "sip:sip.example.com"}, "SIP_TRUNK_HOSTNAME"),
        ({**INLINE, "SIP_TRUNK_HOSTNAME": "me@sip.example.com"}, "SIP_TRUNK_HOSTNAME"),
        ({**INLINE, "SIP_TRUNK_HOSTNAME": "sip.example.com;transport=tcp"}, "SIP_TRUNK_HOSTNAME"),
        ({**TWILIO, "TWILIO_AUTH_TOKEN": ""}, "TWILIO_AUTH_TOKEN"),
        ({**TWILIO, "TWILIO_FROM_NUMBER": "me"}, "TWILIO_FROM_NUMBER"),
    ],
)
def test_a_way_out_that_leads_nowhere_is_a_line(environment: dict[str, str], named: str) -> None:
    problems = problems_of(environment)
    assert len(problems) == 1 and problems[0].startswith(named) and "write" in problems[0]


def test_the_console_needs_neither_server_nor_trunk() -> None:
    settings = read_settings({"OPENAI_API_KEY": "sk-1", "DEEPGRAM_API_KEY": "dg"}, "console")
    assert settings.outbound is None and settings.livekit_url == ""


def test_a_folder_for_recordings_that_cannot_be_written_to_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {**ENOUGH, "RECORDING_FOLDER": str(tmp_path / "file" / "recordings")}
    assert check_machine(read_settings(environment), 0) == []
    [problem] = check_machine(read_settings({**environment, "RECORDING": "on"}), 0)
    assert problem.startswith("RECORDING_FOLDER=")


def test_a_machine_without_a_temporary_folder_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(module.tempfile, "gettempdir", none)
    [problem] = check_machine(read_settings(ENOUGH), 0)
    assert problem.startswith("no temporary folder can be written to") and "TMPDIR" in problem


def test_the_example_file_names_every_variable_that_is_read() -> None:
    source = Path(module.__file__).read_text()
    read = set(re.findall(r'"([A-Z][A-Z_]{5,})"', source))
    named = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
    assert read <= named
