"""The option --quick: fewer examples and seeds of each property, and only the best kernels.

For all runs: less work for the garbage collector.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest

QUICK_EXAMPLES = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    text = f"at most {QUICK_EXAMPLES} examples or seeds of each property, only the best kernels"
    parser.addoption("--quick", action="store_true", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect slower kernels and many seeds; lower max_examples, also where a test sets it."""
    if not config.getoption("--quick"):
        return
    from hypothesis import settings  # noqa: PLC0415 - takes longer than many a run of one test

    left_out = [item for item in items if _is_left_out(item)]
    items[:] = [item for item in items if not _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    for item in items:
        test: Any = getattr(item, "obj", None)
        if getattr(test, "is_hypothesis_test", False):
            function: Any = getattr(test, "__func__", test)
            of_test = function._hypothesis_internal_use_settings
            n_examples = min(of_test.max_examples, QUICK_EXAMPLES)
            function._hypothesis_internal_use_settings = settings(of_test, max_examples=n_examples)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests, which live until the end."""
    gc.freeze()


def _is_left_out(item: pytest.Item) -> bool:
    from kinesis_fast._core import kernels  # noqa: PLC0415 - not needed without --quick

    best = kernels.level()
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    seed = parameters.get("seed", 0)
    return bool(parameters.get("kernel_level", best) != best or seed >= QUICK_EXAMPLES)
