"""The variables that are enough for a worker; nothing listens at the address."""

from __future__ import annotations

ENOUGH = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "secret",
    "OPENAI_API_KEY": "sk-1",
    "DEEPGRAM_API_KEY": "dg",
    "LIVEKIT_SIP_OUTBOUND_TRUNK": "ST_1",
}
