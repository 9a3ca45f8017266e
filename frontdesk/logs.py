"""No telephone number and no transcript reaches a log line. A caller's number is in the names of rooms and participants, too."""

from __future__ import annotations

import logging
from typing import Any

from transfer.masking import mask

_STANDARD = set(logging.makeLogRecord({}).__dict__)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_masked(item) for item in value) if type(value) in (list, tuple) else value
    return value


def _is_transcript(name: str, value: Any) -> bool:
    """LiveKit marks what people said so, among its debug messages."""
    return name.startswith("lk.pii.") and isinstance(value, str) and " " in value


def _mask_record(record: logging.LogRecord) -> None:
    if isinstance(record.msg, str):
        record.msg = mask(record.msg)
    if isinstance(record.args, tuple | dict):
        record.args = _masked(record.args)
    for name in record.__dict__.keys() - _STANDARD:
        value = record.__dict__[name]
        record.__dict__[name] = f"({len(value)} characters)" if _is_transcript(name, value) else _masked(value)


def mask_all_logs() -> None:
    """Masks every record of this process as it is handed out, whoever logs it. Calling it again changes nothing."""
    if getattr(logging.Logger.callHandlers, "masks", False):
        return
    call_handlers = logging.Logger.callHandlers

    # callHandlers and not a filter: records of the job processes reach the worker's handlers through it alone.
    def masked(self: logging.Logger, record: logging.LogRecord) -> None:
        _mask_record(record)
        call_handlers(self, record)

    masked.masks = True  # type: ignore[attr-defined]
    logging.Logger.callHandlers = masked  # type: ignore[method-assign]
