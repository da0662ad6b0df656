"""Shared set-up of the encoder's tests."""

import pytest

# These hold the assertions that many tests share.
pytest.register_assert_rewrite("encoded")
