"""A softphone that is not ours: baresip, of Debian's packages, calls the front desk and is greeted."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
import soxr

from bench.desk import Desk
from lab.ai.engines import HEARING_RATE
from lab.lab import FRONT_DESK
from tests.lab.support import LIMIT, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_call_left")]

CONFIG = """\
sip_listen 127.0.0.1:0
module_path {modules}
audio_player aubridge,ear
audio_source aufile,{folder}/silence.wav
audio_channels 1
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
snd_path {folder}
module_app account.so
module_app menu.so
"""
ACCOUNT = "<sip:+12025550177@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1\n"
INSTALL_LIMIT = 180
"""Seconds."""


def installed() -> bool:
    """Whether baresip is here; where apt can install it, it is installed."""
    if shutil.which("baresip"):
        return True
    if os.geteuid() or not shutil.which("apt-get"):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "baresip-core"]):
        try:
            subprocess.run(command, env=environment, capture_output=True, timeout=INSTALL_LIMIT, check=True)
        except (subprocess.SubprocessError, OSError):
            return False
    return shutil.which("baresip") is not None


def modules() -> Path:
    return next(Path("/usr/lib").rglob("g711.so")).parent


def write_silence(path: Path, seconds: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * seconds))


def heard(desk: Desk, folder: Path) -> str:
    """What stands in the file that baresip is writing."""
    files = list(folder.glob("dump-*-dec.wav"))
    if not files:
        return ""
    samples = np.frombuffer(files[0].read_bytes()[44:][: os.path.getsize(files[0]) // 2 * 2 - 44], "<i2")
    at_16k = soxr.resample(samples.astype(np.float32), 8000, HEARING_RATE).astype(np.int16)
    return " ".join(desk.code.read_all(at_16k, HEARING_RATE))


async def test_a_softphone_from_debian_calls_the_front_desk_and_is_greeted(desk: Desk, tmp_path: Path) -> None:
    if not await asyncio.to_thread(installed):
        pytest.skip("NO SOFTPHONE: the Debian package baresip-core is not installed and cannot be installed here")
    (tmp_path / "config").write_text(CONFIG.format(modules=modules(), folder=tmp_path))
    (tmp_path / "accounts").write_text(ACCOUNT)
    write_silence(tmp_path / "silence.wav", 60)
    softphone = await asyncio.create_subprocess_exec(
        "baresip", "-f", str(tmp_path), "-t", "60", "-e", f"d sip:{FRONT_DESK}@{desk.gateway.address}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        await until(lambda: "How can I help you today?" in heard(desk, tmp_path), "the greeting", LIMIT, every=0.05)
    finally:
        softphone.terminate()
        await softphone.wait()
    await until(lambda: not desk.server.rooms.all(), "the call and its room are gone")
