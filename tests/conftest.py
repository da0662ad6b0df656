"""The option --quick: fewer examples of each property."""

from __future__ import annotations

import pytest
from hypothesis import settings

QUICK_EXAMPLES = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    text = f"at most {QUICK_EXAMPLES} examples of each property"
    parser.addoption("--quick", action="store_true", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lower max_examples, also where a test sets it itself."""
    if not config.getoption("--quick"):
        return
    for item in items:
        test = getattr(item, "obj", None)
        if getattr(test, "is_hypothesis_test", False):
            function = getattr(test, "__func__", test)
            of_test = function._hypothesis_internal_use_settings
            n_examples = min(of_test.max_examples, QUICK_EXAMPLES)
            function._hypothesis_internal_use_settings = settings(of_test, max_examples=n_examples)
