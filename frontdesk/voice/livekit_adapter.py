"""The private parts of LiveKit Agents that the front desk needs. `test_livekit_adapter.py` fails when they change."""

from __future__ import annotations

from livekit.agents import AgentSession


async def end_audio_recording(session: AgentSession) -> bool:
    """Finishes the audio file of a session that is recorded; False when there is none, or it is finished already."""
    recorder = session._recorder_io
    if recorder is None or not recorder.recording:
        return False
    await recorder.aclose()
    return True
