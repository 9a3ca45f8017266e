"""Text files that people edit on any system: read as UTF-8; any other encoding is named."""

from __future__ import annotations

import codecs
from pathlib import Path

_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""The longer marks first: that of UTF-32 begins with that of UTF-16."""


class NotUtf8(ValueError):
    """Names the encoding found instead, and where to look."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without the byte order mark that Windows writes. Raises OSError and NotUtf8."""
    data = path.read_bytes()
    for mark, name in _BOMS:
        if data.startswith(mark):
            raise NotUtf8(f"is {name}: save it as UTF-8")
    if b"\0" in data:
        raise NotUtf8("is UTF-16 without a byte order mark, or no text: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise NotUtf8(f"is {_single_byte(data)} (line {line}): save it as UTF-8") from None


def _single_byte(data: bytes) -> str:
    """Windows-1252 leaves five bytes free that ISO 8859 and others use."""
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "not UTF-8"
    return "Windows-1252"
