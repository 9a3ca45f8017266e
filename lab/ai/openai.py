"""OpenAI's chat completions and speech, as far as the LiveKit plugin uses them."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import web

from lab.ai.brain import Answer, Brain
from lab.ai.engines import VOICES, Engine
from lab.ai.faults import Faults
from lab.ai.settings import AiSettings

Note = Callable[..., None]
CHUNK = 9600
"""Bytes of speech in one piece: 200 ms."""


class OpenAiApi:
    def __init__(self, engine: Engine, brain: Brain, faults: Faults, settings: AiSettings, note: Note) -> None:
        self._engine, self._brain, self._faults, self._settings, self._note = engine, brain, faults, settings, note

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/", self._root)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/audio/speech", self._speech)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "lab", "object": "model"}]})

    async def _root(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    # -- chat

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        await self._faults.meet("llm", request)
        answer = self._brain.answer(body)
        await asyncio.sleep(self._settings.first_token)
        self._note("llm", text=answer.text, tool=answer.tool)
        if not body.get("stream"):
            return web.json_response(_completion(body, answer))
        return await self._stream(request, body, answer)

    async def _stream(self, request: web.Request, body: dict[str, Any], answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "x-request-id": _id("req_")})
        await response.prepare(request)
        head = {"id": _id("chatcmpl-"), "object": "chat.completion.chunk", "model": body.get("model", "lab")}
        head |= {"created": int(time.time())}
        for delta, finish in _deltas(answer):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            await _send(response, {**head, "choices": [choice]})
        if (body.get("stream_options") or {}).get("include_usage"):
            await _send(response, {**head, "choices": [], "usage": _USAGE})
        await response.write(b"data: [DONE]\n\n")
        return response

    # -- speech

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        """Raw samples in answer to any requested format: the plugin goes by the content type."""
        body = await request.json()
        await self._faults.meet("tts", request)
        began = time.monotonic()
        voice = body.get("voice", "agent")
        samples = await self._engine.synthesize(body["input"], voice if voice in VOICES else "agent")
        await asyncio.sleep(self._settings.first_audio)
        self._note("tts", text=body["input"], took=time.monotonic() - began, seconds=len(samples) / 24000)
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm", "x-request-id": _id("req_")})
        await response.prepare(request)
        raw = samples.astype("<i2").tobytes()
        for start in range(0, len(raw), CHUNK):
            await response.write(raw[start : start + CHUNK])
        return response


_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def _id(prefix: str) -> str:
    return prefix + uuid.uuid4().hex[:16]


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _tool_call(answer: Answer) -> dict[str, Any]:
    function = {"name": answer.tool, "arguments": json.dumps(answer.arguments)}
    return {"index": 0, "id": _id("call_"), "type": "function", "function": function}


def _deltas(answer: Answer) -> list[tuple[dict[str, Any], str | None]]:
    """The pieces in the order in which OpenAI sends them: a tool's name first, its arguments after it."""
    out: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    out += [({"content": word}, None) for word in re.findall(r"\S+\s*", answer.text)]
    if answer.tool:
        call = _tool_call(answer)
        arguments = call["function"].pop("arguments")
        opening = {**call, "function": {**call["function"], "arguments": ""}}
        out.append(({"tool_calls": [opening]}, None))
        out.append(({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}, None))
    out.append(({}, "tool_calls" if answer.tool else "stop"))
    return out


def _completion(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tool:
        message["tool_calls"] = [{k: v for k, v in _tool_call(answer).items() if k != "index"}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if answer.tool else "stop"}
    head = {"id": _id("chatcmpl-"), "object": "chat.completion", "created": int(time.time())}
    return {**head, "model": body.get("model", "lab"), "choices": [choice], "usage": _USAGE}
