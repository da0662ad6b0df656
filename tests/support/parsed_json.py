"""JSON for comparisons: parsed, but numbers by their text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Never

from oracle_text import Ext, Pairs, go_float, key_text, rfc3339, text_of


class Number(str):
    """A number by its text: 100 differs from 100.0."""


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_refuse)


def plain(value: Any, dot: str | None = None) -> Any:
    """Return a decoded value as parsed() returns its JSON."""
    if isinstance(value, Pairs):
        return {key_text(key, dot): plain(member, dot) for key, member in value}
    if isinstance(value, list):
        return [plain(item, dot) for item in value]
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, Ext):
        return rfc3339(value)
    if isinstance(value, float):
        return Number(go_float(value)) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool) else Number(value)


def parsed(data: bytes) -> Any:
    """Return parsed JSON; of duplicate keys the last one counts."""
    return _DECODER.decode(data.decode())


def everywhere(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a parsed value with change applied to every part, the outermost first."""
    value = change(value)
    if isinstance(value, dict):
        return {key: everywhere(member, change) for key, member in value.items()}
    return [everywhere(item, change) for item in value] if isinstance(value, list) else value


def undotted(value: Any, dot: str) -> Any:
    """Return a parsed value with the dots in all keys replaced."""

    def change(part: Any) -> Any:
        if isinstance(part, dict):
            return {key.replace(".", dot): member for key, member in part.items()}
        return part

    return everywhere(value, change)
