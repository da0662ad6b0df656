"""Shared set-up of the local Kinesis' tests."""

from local_stream import local_kinesis, stream

__all__ = ["local_kinesis", "stream"]
