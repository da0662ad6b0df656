"""Sends chunks of Fluent Bit to Amazon Kinesis Data Streams; the hot path is compiled."""

import kinesis_fast._core  # noqa: F401 (first: it says what to do if a compiled module is missing)
from kinesis_fast.config import OutputConfig
from kinesis_fast.delivery.context import Timing
from kinesis_fast.delivery.protocols import Request
from kinesis_fast.encoder import Record, RecordEncoder
from kinesis_fast.errors import (
    ClosedError,
    ConfigError,
    KinesisFastError,
    SendFailureTimeout,
    StorageError,
    TransportError,
)
from kinesis_fast.output import FlushResult, KinesisOutput
from kinesis_fast.stats import Stats
from kinesis_fast.transport import CborTransport, NotSentError, Response, Transport
from kinesis_fast.version import VERSION

__version__ = VERSION

__all__ = [
    "CborTransport",
    "ClosedError",
    "ConfigError",
    "FlushResult",
    "KinesisFastError",
    "KinesisOutput",
    "NotSentError",
    "OutputConfig",
    "Record",
    "RecordEncoder",
    "Request",
    "Response",
    "SendFailureTimeout",
    "Stats",
    "StorageError",
    "Timing",
    "Transport",
    "TransportError",
]
