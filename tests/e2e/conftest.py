"""Shared set-up of the tests over real HTTP."""

from local_stream import local_kinesis, stream

__all__ = ["local_kinesis", "stream"]
