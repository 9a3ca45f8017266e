"""Makes the project's virtual environment from a hash-locked requirements file.

Standard library only: it runs before anything is installed.

    python3 tools/bootstrap.py .venv requirements-dev.txt

A half-made environment is never left behind: `.ready`, with the lock's digest, is written only when it is complete.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

MINIMUM_PYTHON = (3, 11)
LOG_NAME = "install.log"


class SetupError(Exception):
    """Names the failure and its remedy, in one line."""


def digest(requirements: Path) -> str:
    """The lock and the interpreter that an environment was made for."""
    return f"{hashlib.sha256(requirements.read_bytes()).hexdigest()} {sys.version_info[:3]}"


def is_ready(environment: Path, requirements: Path) -> bool:
    ready = environment / ".ready"
    return ready.exists() and ready.read_text() == digest(requirements)


def explain(log: str) -> str:
    """The one line for pip's failure: its own words are in the log."""
    if re.search(r"Failed to establish a new connection|Temporary failure in name resolution|Connection refused", log):
        return "the package index cannot be reached: check the network, or pip's index-url setting"
    if re.search(r"No matching distribution found for (\S+)", log):
        name = re.findall(r"No matching distribution found for (\S+)", log)[-1]
        return (
            f"the package index has no {name} for this machine and Python {sys.version_info[0]}.{sys.version_info[1]}"
        )
    if "DO NOT MATCH THE HASHES" in log:
        return "a package differs from the lock: do not install it; run 'make lock' only if you trust the new one"
    if "No space left on device" in log:
        return "no space left on the disk"
    errors = re.findall(r"^ERROR: (.+)$", log, re.MULTILINE)
    return errors[-1] if errors else "pip failed"


def install(environment: Path, requirements: Path, log_path: Path) -> None:
    """Runs pip and shows one line that moves; raises SetupError with the reason when it fails."""
    wanted = len(re.findall(r"^[A-Za-z0-9][^\s]*==", requirements.read_text(), re.MULTILINE))
    command = [
        str(environment / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "--no-input",
        "--disable-pip-version-check", "--retries", "2", "--progress-bar", "off", "-r", str(requirements),
    ]  # fmt: skip
    seen = 0
    with (
        log_path.open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip,
    ):
        assert pip.stdout is not None
        for line in pip.stdout:
            log.write(line)
            if found := re.match(r"\s*(?:Collecting|Ignoring|Requirement already satisfied:) ([\w.-]+)", line):
                seen += 1
                progress(f"fetching {seen}/{wanted} {found[1]}")
            elif line.startswith("Installing collected packages"):
                progress("unpacking (half a minute)")
    if pip.returncode:
        raise SetupError(f"{explain(log_path.read_text())} (all of it: {log_path})")


def progress(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K  {text}", end="", flush=True)
    elif re.search(r" \d*0/|unpacking", text):
        print(f"  {text}", flush=True)


def make(environment: Path, requirements: Path) -> None:
    if sys.version_info < MINIMUM_PYTHON:
        raise SetupError(
            f"Python {MINIMUM_PYTHON[0]}.{MINIMUM_PYTHON[1]} or newer is needed, this is {sys.version.split()[0]}: "
            "run 'make PYTHON=/path/to/python3.11 ...'"
        )
    print(f"Setting up {environment} (once, one to three minutes)", flush=True)
    shutil.rmtree(environment, ignore_errors=True)
    log_path = Path("build") / LOG_NAME
    log_path.parent.mkdir(exist_ok=True)
    try:
        venv.create(environment, with_pip=True)
    except subprocess.CalledProcessError:
        raise SetupError(
            "this Python cannot make virtual environments: install its venv package (Debian: python3-venv)"
        ) from None
    install(environment, requirements, log_path)
    (environment / ".ready").write_text(digest(requirements))
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    print(f"{environment} is ready", flush=True)


def main() -> int:
    environment, requirements = Path(sys.argv[1]), Path(sys.argv[2])
    if is_ready(environment, requirements):
        return 0
    try:
        make(environment, requirements)
    except (SetupError, OSError) as error:
        print(f"\nset-up failed: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nset-up interrupted: nothing was kept, run it again", file=sys.stderr)
    else:
        return 0
    shutil.rmtree(environment, ignore_errors=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
