"""A condition whose `wait_for` a test replaces."""

from collections.abc import Callable
from typing import Any

from kinesis_fast.condition import Condition


class HookedCondition:
    """Does what another condition does, but for `wait_for`.

    Args:
        condition: does all else.
        wait_for: called in its place, with its arguments.
    """

    def __init__(self, condition: Condition, wait_for: Callable[..., Any]) -> None:
        self._condition = condition
        self.wait_for = wait_for

    def __enter__(self) -> bool:
        return self._condition.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._condition.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._condition, name)
