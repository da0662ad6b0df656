"""Fixtures for the tests that load the plugin's library into a host."""

from host_fixtures import elsewhere, environment, host, host_program, new_host
from local_stream import local_kinesis, stream

__all__ = [
    "elsewhere",
    "environment",
    "host",
    "host_program",
    "local_kinesis",
    "new_host",
    "stream",
]
