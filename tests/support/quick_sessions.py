"""Lets botocore make sessions and clients in half the time, for tests that make hundreds.

For each session botocore works out again what the names of its hundred events stand for, and
whether its handlers take keyword arguments. Here it does so once per process: the answers depend on
these names and functions alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import botocore.hooks


@cache
def remember_names_and_handlers() -> None:
    """Change botocore for the rest of the process, if this version has what is changed."""
    aliaser = botocore.hooks.EventAliaser
    if hasattr(aliaser, "_alias_event_name"):
        aliaser._alias_event_name = _by_name(aliaser._alias_event_name)
    if hasattr(botocore.hooks, "accepts_kwargs"):
        botocore.hooks.accepts_kwargs = _by_function(botocore.hooks.accepts_kwargs)


def _by_name(alias: Callable[[Any, str], str]) -> Callable[[Any, str], str]:
    known: dict[str, str] = {}

    def remembered(aliaser: Any, name: str) -> str:
        if aliaser._event_aliases != botocore.hooks.EVENT_ALIASES:
            return alias(aliaser, name)
        if name not in known:
            known[name] = alias(aliaser, name)
        return known[name]

    return remembered


def _by_function(accepts: Callable[[Any], Any]) -> Callable[[Any], Any]:
    known: WeakKeyDictionary[FunctionType, Any] = WeakKeyDictionary()

    def remembered(handler: Any) -> Any:
        function = getattr(handler, "__func__", handler)
        if not isinstance(function, FunctionType):
            return accepts(handler)
        if function not in known:
            known[function] = accepts(handler)
        return known[function]

    return remembered
