"""The real engines: what Piper says over a telephone line, Whisper understands."""

from __future__ import annotations

import re

import numpy as np
import psutil
import soxr

from lab.ai.engines import HEARING_RATE, SPEAKING_RATE, SpeechEngine
from lab.sip import g711

SENTENCES = {
    "caller": "Hello, I have a question about my bill. Can I speak to a person please?",
    "human": "Yes, please connect me.",
    "agent": "Thank you for calling. How can I help you today?",
}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


async def test_a_sentence_is_understood_over_a_telephone_line_in_every_voice() -> None:
    engine = SpeechEngine()
    await engine.start()
    try:
        for voice, text in SENTENCES.items():
            samples = await engine.synthesize(text, voice)
            line = soxr.resample(samples, SPEAKING_RATE, g711.RATE).astype(np.int16)
            heard = soxr.resample(g711.decode(g711.encode(line)), g711.RATE, HEARING_RATE).astype(np.int16)
            segmenter = engine.segmenter()
            padded = np.concatenate([np.zeros(8000, np.int16), heard, np.zeros(16000, np.int16)])
            utterances = [u for name, u in segmenter.feed(padded) if u is not None]
            said = " ".join([await engine.transcribe(utterance) for utterance in utterances])
            missing = [word for word in words(text) if word not in words(said)]
            assert len(missing) <= len(words(text)) / 3, f"{voice}: {said!r}"
    finally:
        await engine.stop()
    assert not [child for child in psutil.Process().children() if "lab.ai.piper" in " ".join(child.cmdline())]
