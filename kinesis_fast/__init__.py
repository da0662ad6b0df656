"""Fluent Bit's records into Amazon Kinesis Data Streams, with a compiled hot path."""

from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import Record, RecordEncoder
from kinesis_fast.errors import (
    ClosedError,
    ConfigError,
    KinesisFastError,
    SendFailureTimeout,
    TransportError,
)
from kinesis_fast.output import FlushResult, KinesisOutput
from kinesis_fast.version import VERSION

__version__ = VERSION

__all__ = [
    "ClosedError",
    "ConfigError",
    "FlushResult",
    "KinesisFastError",
    "KinesisOutput",
    "OutputConfig",
    "Record",
    "RecordEncoder",
    "SendFailureTimeout",
    "TransportError",
]
