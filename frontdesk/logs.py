"""No telephone number reaches a log line: a caller's is in the names of rooms and participants, too."""

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


def _mask_record(record: logging.LogRecord) -> None:
    if isinstance(record.msg, str):
        record.msg = mask(record.msg)
    if isinstance(record.args, tuple | dict):
        record.args = _masked(record.args)
    for name in record.__dict__.keys() - _STANDARD:
        record.__dict__[name] = _masked(record.__dict__[name])


def mask_all_logs() -> None:
    """Masks every record of this process as it is handed out, whoever logs it. Calling it again changes nothing."""
    if getattr(logging.Logger.handle, "masks_numbers", False):
        return
    handle = logging.Logger.handle

    def masked_handle(self: logging.Logger, record: logging.LogRecord) -> None:
        _mask_record(record)
        handle(self, record)

    masked_handle.masks_numbers = True  # type: ignore[attr-defined]
    logging.Logger.handle = masked_handle  # type: ignore[method-assign]
