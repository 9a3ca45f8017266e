"""The parts that hear, think and speak, as the settings name them."""

from __future__ import annotations

from dataclasses import dataclass

from livekit.agents import NOT_GIVEN, NotGivenOr, inference, llm, stt, tts, vad
from livekit.plugins import deepgram, openai, silero

from frontdesk.voice.settings import Settings

LANGUAGE = "en"


@dataclass(frozen=True)
class Pipeline:
    stt: stt.STT
    llm: llm.LLM
    tts: tts.TTS
    vad: vad.VAD
    turn_detector: inference.TurnDetector


def make_pipeline(settings: Settings) -> Pipeline:
    """Loads models and clients: about a second, so it belongs before the first call."""
    llm_url: NotGivenOr[str] = settings.llm_base_url or NOT_GIVEN
    tts_url: NotGivenOr[str] = settings.tts_base_url or NOT_GIVEN
    speech: tts.TTS
    if settings.tts_provider == "openai":
        speech = openai.TTS(model=settings.tts_model, voice=settings.tts_voice, response_format="pcm", base_url=tts_url)
    else:
        speech = deepgram.TTS(model=settings.tts_model, base_url=f"{settings.deepgram_base_url}/v1/speak")
    return Pipeline(
        stt=deepgram.STT(
            model=settings.stt_model, language=LANGUAGE, base_url=f"{settings.deepgram_base_url}/v1/listen"
        ),
        llm=openai.LLM(model=settings.llm_model, base_url=llm_url),
        tts=speech,
        vad=silero.VAD.load(),
        # The on-device model by name: without one, API keys in the environment would choose the cloud's.
        turn_detector=inference.TurnDetector(version="v1-mini"),
    )
