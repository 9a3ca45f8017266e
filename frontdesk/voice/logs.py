"""No telephone number, credential or transcript reaches a log line. A caller's number is in the names of rooms, too.

Two places see everything. `Logger.callHandlers` hands each record of this process, and each that a job process sent through
LiveKit's queue, to all handlers: they get a copy that is masked in every part, for handlers that read the parts
(LiveKit's console, OpenTelemetry). `Handler.format` makes the final text: it is masked once more, with all that a formatter
put into it. Both are the standard library's; nothing of LiveKit is touched.
"""

from __future__ import annotations

import copy
import itertools
import json
import logging
import os
import re
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote

from transfer.masking import SECRET, mask

CREDENTIALS = ("_API_KEY", "_API_SECRET", "_AUTH_TOKEN", "_PASSWORD")
"""Endings of the names of environment variables whose values are secrets: LIVEKIT_API_SECRET, SIP_AUTH_PASSWORD."""
SHORTEST_SECRET = 6
"""Characters. A shorter value stands in log lines for other reasons."""
WORD_LIKE = 8
"""Characters of a secret below which it is masked as a whole word alone: the development server's are "devkey" and "secret"."""
DEPTH = 8
"""Levels of containers in an extra value that are searched; deeper ones are masked as text."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_TRANSCRIPT = "lk.pii."
"""LiveKit's prefix for the names of values that hold people's words."""


class _Secrets:
    """The registered values, as they may be written in a line."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._written: re.Pattern[str] | None = None
        """One alternative per written form, the longest first; none has a quantifier."""

    def add(self, values: Iterable[str]) -> None:
        self._values |= {value for value in values if len(value) >= SHORTEST_SECRET}
        forms = {form for value in self._values for form in (value, quote(value, safe=""), json.dumps(value)[1:-1])}
        patterns = [
            re.escape(form) if len(form) >= WORD_LIKE else rf"(?<![\w(]){re.escape(form)}(?![\w)])"
            for form in sorted(forms, key=lambda form: (-len(form), form))
        ]
        self._written = re.compile("|".join(patterns)) if patterns else None

    def without(self, text: str) -> str:
        return self._written.sub(SECRET, text) if self._written else text


_secrets = _Secrets()


def _clean(text: str, keep: Collection[str] = ()) -> str:
    return mask(_secrets.without(text), keep)


def _shown(value: Any) -> str:
    """A value as a formatter would show it: "" when it cannot be shown."""
    try:
        return str(value)
    except Exception:
        return ""


def _masked(value: Any, name: str = "", depth: int = 0) -> Any:
    """The value itself when there is nothing to mask, or else a masked copy or text. `name` shows a number's kind."""
    if value is None or isinstance(value, bool):
        return value
    if depth < DEPTH and type(value) is dict:
        pairs = {_masked_text(key, ""): _masked(item, _shown(key), depth + 1) for key, item in value.items()}
        same = all(old is new for old, new in zip(_flat(value), _flat(pairs), strict=False))
        return value if same else pairs
    if depth < DEPTH and type(value) in (list, tuple, set, frozenset):
        items = [_masked(item, name, depth + 1) for item in value]
        return value if all(old is new for old, new in zip(value, items, strict=True)) else type(value)(items)
    return _masked_text(value, name)


def _flat(pairs: Mapping[Any, Any]) -> Iterator[Any]:
    return itertools.chain.from_iterable(pairs.items())


def _masked_text(value: Any, name: str) -> Any:
    # The name stands before the value as in a line of JSON, so that both places come to the same result.
    label = f"{name}: " if name and not any(character.isdigit() for character in name) else ""
    texts = (value,) if isinstance(value, str) else (_shown(value), _safe_repr(value))
    for text in texts:
        clean = _clean(label + text)
        if clean != label + text:
            return clean.removeprefix(label)
    return value


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return ""


def _without_transcript(value: Any) -> Any:
    """The length of a transcript in place of its words; a single word such as an identity stays, masked."""
    shown = _shown(value)
    return f"({len(shown)} characters)" if " " in shown else _masked(value)


# -- exceptions


def _stand_in(error: BaseException, seen: dict[int, BaseException]) -> BaseException:
    """An exception of the same name, place and causes with masked texts; handlers can ask for its type as before."""
    if id(error) in seen:
        return seen[id(error)]
    kind = type(error)
    shown = _clean(_shown(error))
    members = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    if isinstance(error, BaseExceptionGroup):
        inner = [_stand_in(each, seen) for each in error.exceptions]
        group = type(kind.__name__, (kind,), members)
        stand_in: BaseException = kind.__new__(group, _clean(error.message), inner)
    else:
        stand_in = _empty(kind, {**members, "__str__": lambda _self: shown})
        stand_in.args = (shown,) if error.args else ()
    seen[id(error)] = stand_in
    for name, value in vars(error).items():
        vars(stand_in)[name] = _masked(value, name)
    stand_in.__traceback__ = error.__traceback__
    stand_in.__cause__ = _stand_in(error.__cause__, seen) if error.__cause__ else None
    stand_in.__context__ = _stand_in(error.__context__, seen) if error.__context__ else None
    stand_in.__suppress_context__ = error.__suppress_context__
    return stand_in


def _empty(kind: type[BaseException], members: dict[str, Any]) -> BaseException:
    try:
        derived = type(kind.__name__, (kind,), members)
        return cast(BaseException, kind.__new__(derived))
    except Exception:  # a type that wants arguments or forbids subclasses
        return cast(BaseException, type(kind.__name__, (Exception,), members)())


def _mask_exception(record: logging.LogRecord) -> None:
    if not isinstance(record.exc_info, tuple) or record.exc_info[1] is None:
        return
    kind, error, trace = record.exc_info
    text = "".join(traceback.format_exception(kind, error, trace))
    if _clean(text) == text:
        return
    try:
        stand_in = _stand_in(error, {})
        record.exc_info = (type(stand_in), stand_in, trace)
        shown = "".join(traceback.format_exception(*record.exc_info))
    except Exception:  # an exception may do anything when it is copied
        shown = ""
    if len(shown.splitlines()) != len(text.splitlines()):
        record.exc_info, record.exc_text = None, _clean(text.removesuffix("\n"))


# -- records


def _masked_record(record: logging.LogRecord) -> logging.LogRecord:
    """A copy; parts with nothing to mask are the same objects as before."""
    safe = copy.copy(record)
    _mask_message(safe)
    _mask_exception(safe)
    for name in ("message", "exc_text", "stack_info", "threadName", "processName", "taskName"):
        value = safe.__dict__.get(name)
        if isinstance(value, str):
            safe.__dict__[name] = _clean(value)
    for name in safe.__dict__.keys() - _STANDARD:
        value = safe.__dict__[name]
        hidden = name.startswith(_TRANSCRIPT)
        safe.__dict__[name] = _without_transcript(value) if hidden else _masked(value, name)
    return safe


def _mask_message(record: logging.LogRecord) -> None:
    if isinstance(record.msg, Mapping) and not record.args:
        record.msg = _masked(dict(record.msg))  # LiveKit's JSON formatter takes its items for fields
        return
    try:
        message = record.getMessage()
    except Exception:  # the handler will say so, with the parts
        record.msg = _masked(record.msg)
        record.args = tuple(_masked(each) for each in record.args) if isinstance(record.args, tuple) else None
        return
    clean = _clean(message)
    if clean != message:
        record.msg, record.args = clean, None


def _own_numbers(record: logging.LogRecord) -> frozenset[str]:
    """Numbers of the record itself that a format may show."""
    return frozenset(str(number) for number in (record.thread, record.process, int(record.created)))


def mask_all_logs(secrets: Iterable[str] = ()) -> None:
    """Masks every record of this process as it is handed out, for every logger and every handler.

    `secrets`: values that must not stand in a line, besides those in the environment. Called again, it adds these.
    """
    environment = [value for name, value in os.environ.items() if name.endswith(CREDENTIALS)]
    _secrets.add([*environment, *secrets])
    if not getattr(logging.Logger.callHandlers, "masks", False):
        call_handlers = logging.Logger.callHandlers

        # callHandlers and not a filter: records of the job processes reach the worker's handlers through it alone.
        def hand_out_masked(self: logging.Logger, record: logging.LogRecord) -> None:
            call_handlers(self, _masked_record(record))

        hand_out_masked.masks = True  # type: ignore[attr-defined]
        logging.Logger.callHandlers = hand_out_masked  # type: ignore[method-assign]
    if not getattr(logging.Handler.format, "masks", False):
        make_text = logging.Handler.format

        # Handler.format and not Formatter.format: formatters override that, and call it or not.
        def format_masked(self: logging.Handler, record: logging.LogRecord) -> str:
            text = make_text(self, record)
            return _clean(text, _own_numbers(record)) if isinstance(text, str) else text

        format_masked.masks = True  # type: ignore[attr-defined]
        logging.Handler.format = format_masked  # type: ignore[method-assign]
