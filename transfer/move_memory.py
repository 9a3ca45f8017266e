"""Whether this worker's server can move participants: asked once, and remembered for the life of the worker.

Each call has a process of its own, so an answer is remembered in a file; all processes inherit the beginning of its name.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

VARIABLE = "WARM_TRANSFER_NO_MOVE"
"""Set by the first process that imports this, which is the worker's."""

if VARIABLE not in os.environ:
    with contextlib.suppress(OSError):  # no folder can be written to: each call asks again
        os.environ[VARIABLE] = str(Path(tempfile.gettempdir()) / f"warm-transfer-{os.getpid()}-{secrets.token_hex(4)}")
        atexit.register(lambda: _clear(Path(os.environ[VARIABLE])))


def may_move(url: str) -> bool:
    """False once the server at `url` has said that it cannot."""
    note = _note(url)
    return note is None or not note.exists()


def remember_no_move(url: str) -> None:
    """The server at `url` has said that it cannot."""
    note = _note(url)
    with contextlib.suppress(OSError):  # a read-only disk: the next call asks again, which takes some 20 ms
        if note is not None:
            note.touch()


def _note(url: str) -> Path | None:
    """None without a folder to write to."""
    if VARIABLE not in os.environ:
        return None
    return Path(f"{os.environ[VARIABLE]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}")


def _clear(prefix: Path) -> None:
    for note in prefix.parent.glob(f"{prefix.name}-*"):
        note.unlink(missing_ok=True)
