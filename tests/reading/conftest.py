"""Shared set-up of the tests that read streams."""

from emulators import emulator

__all__ = ["emulator"]
