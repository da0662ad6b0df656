"""Shared set-up of the tests with a real Fluent Bit."""

from local_stream import local_kinesis, stream

__all__ = ["local_kinesis", "stream"]
