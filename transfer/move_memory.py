"""Whether this worker's server can move participants: asked once, and remembered for the life of the worker.

Each call has a process of its own, so what one of them learns is a file whose name all of them inherit.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import tempfile
from pathlib import Path

VARIABLE = "WARM_TRANSFER_NO_MOVE"
"""Set by the first process that imports this, which is the worker's."""

if VARIABLE not in os.environ:
    os.environ[VARIABLE] = str(Path(tempfile.gettempdir()) / f"warm-transfer-{os.getpid()}-{secrets.token_hex(4)}")
    atexit.register(lambda: Path(os.environ[VARIABLE]).unlink(missing_ok=True))


def may_move() -> bool:
    """False once a server has said that it cannot."""
    return not Path(os.environ[VARIABLE]).exists()


def forget_move() -> None:
    """The server has said that it cannot."""
    with contextlib.suppress(OSError):  # a read-only disk: the next call asks again, which takes some 20 ms
        Path(os.environ[VARIABLE]).touch()
