"""Deepgram's listen (streamed and whole recordings) and speak, as far as the LiveKit plugin uses them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr
from aiohttp import ClientConnectionResetError, WSMsgType, web

from lab.ai.engines import HEARING_RATE, SPEAKING_RATE, Engine, Segmenter
from lab.ai.faults import Faults
from lab.ai.settings import AiSettings

Note = Callable[..., None]
CONFIDENCE = 0.95
SHORTEST = HEARING_RATE // 5
"""Samples (200 ms) below which an utterance is not worth a transcript."""


class DeepgramApi:
    def __init__(self, engine: Engine, faults: Faults, settings: AiSettings, note: Note) -> None:
        self._engine, self._faults, self._settings, self._note = engine, faults, settings, note

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/v1/listen", self._listen)
        app.router.add_post("/v1/listen", self._transcribe)
        app.router.add_get("/v1/speak", self._speak)
        app.router.add_post("/v1/speak", self._speak_once)

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        await self._faults.meet("stt", request)
        websocket = web.WebSocketResponse(max_msg_size=4 << 20)
        await websocket.prepare(request)
        rate = int(request.query.get("sample_rate", HEARING_RATE))
        listener = _Listener(websocket, self._engine, self._settings, self._note, rate)
        with contextlib.suppress(ClientConnectionResetError):  # a client that hangs up reads no answer
            async for frame in websocket:
                if frame.type == WSMsgType.BINARY:
                    await listener.hear(np.frombuffer(frame.data, np.int16))
                elif frame.type == WSMsgType.TEXT and await listener.command(json.loads(frame.data).get("type", "")):
                    break
        await websocket.close()
        return websocket

    async def _transcribe(self, request: web.Request) -> web.Response:
        """A whole recording: 16-bit mono samples (`encoding=linear16&sample_rate=…`)."""
        await self._faults.meet("stt", request)
        samples = np.frombuffer(await request.read(), np.int16)
        rate = int(request.query.get("sample_rate", HEARING_RATE))
        if rate != HEARING_RATE:
            samples = soxr.resample(samples, rate, HEARING_RATE).astype(np.int16)
        text = await self._engine.transcribe(samples) if len(samples) > SHORTEST else ""
        alternative = {"transcript": text, "confidence": CONFIDENCE if text else 0.0, "words": []}
        return web.json_response({"metadata": {}, "results": {"channels": [{"alternatives": [alternative]}]}})

    async def _speak(self, request: web.Request) -> web.WebSocketResponse:
        await self._faults.meet("tts", request)
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        rate, text = int(request.query.get("sample_rate", SPEAKING_RATE)), ""
        async for frame in websocket:
            if frame.type != WSMsgType.TEXT:
                continue
            message = json.loads(frame.data)
            if message["type"] == "Speak":
                text += message["text"]
            elif message["type"] == "Flush":
                await websocket.send_bytes(await self._say(text, rate))
                await websocket.send_json({"type": "Flushed", "sequence_id": 0})
                text = ""
            elif message["type"] == "Close":
                break
        await websocket.close()
        return websocket

    async def _speak_once(self, request: web.Request) -> web.Response:
        await self._faults.meet("tts", request)
        rate = int(request.query.get("sample_rate", SPEAKING_RATE))
        return web.Response(body=await self._say((await request.json())["text"], rate), content_type="audio/l16")

    async def _say(self, text: str, rate: int) -> bytes:
        began = time.monotonic()
        samples = await self._engine.synthesize(text.strip())
        await asyncio.sleep(self._settings.first_audio)
        self._note("tts", text=text, took=time.monotonic() - began, seconds=len(samples) / SPEAKING_RATE)
        if rate != SPEAKING_RATE:
            samples = soxr.resample(samples, SPEAKING_RATE, rate).astype(np.int16)
        return samples.astype("<i2").tobytes()


class _Listener:
    """One stream of sound and its transcripts."""

    def __init__(
        self, websocket: web.WebSocketResponse, engine: Engine, settings: AiSettings, note: Note, rate: int
    ) -> None:
        self._websocket, self._engine, self._settings, self._note = websocket, engine, settings, note
        self._id = str(uuid.uuid4())
        self._segmenter: Segmenter = engine.segmenter()
        self._resample = soxr.ResampleStream(rate, HEARING_RATE, 1, dtype="int16") if rate != HEARING_RATE else None
        self._heard = 0
        """Samples at 16 kHz."""
        self._interim_at = 0

    async def hear(self, samples: np.ndarray) -> None:
        if self._resample:
            samples = self._resample.resample_chunk(samples)
        self._heard += len(samples)
        for name, utterance in self._segmenter.feed(samples):
            if name == "started":
                seconds = round(self._heard / HEARING_RATE, 3)
                await self._websocket.send_json({"type": "SpeechStarted", "channel": [0, 1], "timestamp": seconds})
            elif utterance is not None:
                await self._final(utterance, asked=False)
        await self._interim()

    async def _interim(self) -> None:
        every = self._engine.interim_every
        if every is None or self._heard - self._interim_at < every * HEARING_RATE:
            return
        self._interim_at = self._heard
        if (utterance := self._segmenter.under_way()) is None or not (text := await self._engine.transcribe(utterance)):
            return
        results = self._results(text, len(utterance) / HEARING_RATE, asked=False, final=False)
        if not self._websocket.closed:
            await self._websocket.send_json(results)

    async def command(self, kind: str) -> bool:
        """True when the client is done."""
        if kind == "Finalize":
            await self._final(self._segmenter.flush(), asked=True)
        elif kind == "CloseStream":
            if (rest := self._segmenter.flush()) is not None:
                await self._final(rest, asked=False)
            # Any other end than this message makes the plugin connect again.
            await self._websocket.send_json(
                {
                    "type": "Metadata",
                    "transaction_key": "deprecated",
                    "request_id": self._id,
                    "sha256": "",
                    "created": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
                    "duration": self._heard / HEARING_RATE,
                    "channels": 1,
                }
            )
            return True
        return False

    async def _final(self, utterance: np.ndarray | None, *, asked: bool) -> None:
        long_enough = utterance is not None and len(utterance) > SHORTEST
        text = await self._engine.transcribe(utterance) if utterance is not None and long_enough else ""
        await asyncio.sleep(self._settings.final_transcript)
        if text:
            self._note("stt", text=text)
        seconds = 0.0 if utterance is None else len(utterance) / HEARING_RATE
        if not self._websocket.closed:
            await self._websocket.send_json(self._results(text, seconds, asked))

    def _results(self, text: str, seconds: float, asked: bool, *, final: bool = True) -> dict[str, Any]:
        start = self._heard / HEARING_RATE - seconds
        spoken = text.split()
        step = seconds / max(1, len(spoken))
        words = [
            {
                "word": re.sub(r"[^\w'-]", "", word).lower(),
                "punctuated_word": word,
                "start": round(start + step * number, 3),
                "end": round(start + step * (number + 1), 3),
                "confidence": CONFIDENCE,
            }
            for number, word in enumerate(spoken)
        ]
        alternative = {"transcript": text, "confidence": CONFIDENCE if text else 0.0, "words": words}
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": round(start, 3),
            "duration": round(seconds, 3),
            "is_final": final,
            "speech_final": final,
            "from_finalize": asked,
            "channel": {"alternatives": [alternative]},
            "metadata": {"request_id": self._id, "model_uuid": self._id, "model_info": {"name": "lab", "version": "1"}},
        }
