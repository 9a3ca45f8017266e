"""The unmodified LiveKit plugins against the lab's services: they hear, think and speak."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soxr
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, function_tool, llm, stt
from livekit.agents.utils import http_context
from livekit.plugins import deepgram, openai

from lab.ai import AiServices, AiSettings
from lab.ai.engines import HEARING_RATE, SPEAKING_RATE, SilenceSegmenter
from lab.ai.tones import ToneCode
from lab.sip import g711
from tests.lab.support import until

ONCE = APIConnectOptions(max_retry=0, timeout=5)


@pytest.fixture
async def services() -> AsyncIterator[AiServices]:
    async with AiServices(AiSettings(engine="instant")) as made, http_context.open():
        yield made


@function_tool
async def connect_to_caller() -> None:
    """Connects the two."""


async def test_the_language_model_speaks_and_calls_tools(services: AiServices) -> None:
    async with openai.LLM(model="gpt", base_url=services.openai_base_url, api_key="lab") as model:
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="Hello.")
        assert (await model.chat(chat_ctx=context).collect()).text == "I see."
        context.add_message(role="assistant", content="Shall I connect you?")
        context.add_message(role="user", content="Yes, please connect me.")
        answer = await model.chat(chat_ctx=context, tools=[connect_to_caller]).collect()
        assert [call.name for call in answer.tool_calls] == ["connect_to_caller"]


async def spoken(services: AiServices, text: str) -> np.ndarray:
    """What the TTS plugin says, as a telephone carries it: 8 kHz, µ-law."""
    async with openai.TTS(model="tts", voice="ash", base_url=services.openai_base_url, api_key="lab") as voice:
        frame = await voice.synthesize(text).collect()
    samples = soxr.resample(np.frombuffer(frame.data, np.int16), frame.sample_rate, g711.RATE).astype(np.int16)
    return g711.decode(g711.encode(samples))


async def heard(services: AiServices, samples: np.ndarray, rate: int) -> list[str]:
    """What the STT plugin makes of 16-bit samples."""
    recognizer = deepgram.STT(
        base_url=f"{services.deepgram_base_url}/v1/listen", api_key="lab", sample_rate=HEARING_RATE
    )
    stream = recognizer.stream()
    at_16k = soxr.resample(samples, rate, HEARING_RATE).astype(np.int16)
    padded = np.concatenate([np.zeros(3200, np.int16), at_16k, np.zeros(16000, np.int16)])
    for start in range(0, len(padded), 160):
        piece = padded[start : start + 160]
        stream.push_frame(rtc.AudioFrame(piece.tobytes(), HEARING_RATE, 1, len(piece)))
    stream.end_input()
    texts = []
    async with asyncio.timeout(20):
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                texts.append(event.alternatives[0].text)
    await stream.aclose()
    await recognizer.aclose()
    return texts


async def test_what_is_said_is_heard_after_a_telephone_line(services: AiServices) -> None:
    text = "I was charged twice for my order in October."
    assert await heard(services, await spoken(services, text), g711.RATE) == [text]


async def test_a_planned_fault_reaches_the_plugin_and_the_next_request_is_served(services: AiServices) -> None:
    from lab.ai.faults import Fault

    services.faults.plan("llm", Fault("status", 503))
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="Hello.")
    async with openai.LLM(model="gpt", base_url=services.openai_base_url, api_key="lab") as model:
        with pytest.raises(APIError):
            await model.chat(chat_ctx=context, conn_options=ONCE).collect()
        assert (await model.chat(chat_ctx=context, conn_options=ONCE).collect()).text == "I see."


@pytest.mark.parametrize("speed", [0.93, 1.0, 1.08])
@pytest.mark.parametrize("offset", [0, 37, 111])
def test_tones_survive_the_line_and_the_jitter_buffer(speed: float, offset: int) -> None:
    """A jitter buffer stretches time by some percent; here even the pitch moves along with it a little."""
    code = ToneCode()
    for text in ("Yes.", "Hello, this is Sarah.", "A much longer sentence that goes on and on for a while."):
        samples = soxr.resample(code.synthesize(text), SPEAKING_RATE, g711.RATE).astype(np.int16)
        line = g711.decode(g711.encode(samples))
        stretched = np.interp(np.arange(0, len(line) - 1, 1 / (1 + (speed - 1) / 10)), np.arange(len(line)), line)
        at_16k = soxr.resample(np.concatenate([np.zeros(offset), stretched]), g711.RATE, HEARING_RATE)
        assert code.read(at_16k.astype(np.int16), HEARING_RATE) == text


def test_silence_pilots_and_music_are_no_text() -> None:
    code = ToneCode()
    code.synthesize("Yes.")
    time = np.arange(HEARING_RATE) / HEARING_RATE
    pilots = 58 * np.sin(2 * np.pi * 2900 * time) + 58 * np.sin(2 * np.pi * 3200 * time)
    assert SilenceSegmenter().feed(pilots.astype(np.int16)) == []
    chord = 3000 * (np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 554 * time) + np.sin(2 * np.pi * 659 * time))
    assert code.read(chord.astype(np.int16), HEARING_RATE) == ""


def test_the_process_says_when_it_is_ready_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab.ai", "--engine", "instant", "--events", str(tmp_path / "events")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert json.loads(process.stdout.readline())["ready"]
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()


@pytest.mark.parametrize(
    ("path", "body", "sent"),
    [
        ("audio/speech", {"input": "Hello."}, None),
        ("chat/completions", {"messages": []}, None),
        ("audio/speech", {"input": "Hello."}, 1),
    ],
)
async def test_whoever_hangs_up_before_the_answer_leaves_no_error_behind(
    path: str, body: dict[str, object], sent: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """`sent`: characters of the body; None: all of it."""
    async with AiServices(AiSettings(engine="instant", first_audio=0.3, first_token=0.3)) as services:
        host, port = services.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        text = json.dumps({**body, "stream": True})
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n{text[:sent]}".encode())
        await until(lambda: services.open_streams, "the request is being read or answered")
        writer.transport.abort()
        await until(lambda: not services.open_streams, "and is given up")
    assert caplog.records == []
