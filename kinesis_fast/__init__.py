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

__version__ = "0.1.0"

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
