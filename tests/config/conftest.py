"""Fixtures for the tests of options."""

from zones import set_zone

__all__ = ["set_zone"]
