"""Limits of the service and constants of the delivery: value, unit, source, one a line.

"PutRecords" stands for the operation's page in the Kinesis Data Streams API reference,
https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
"""

from typing import Final

KIB: Final = 1024  # bytes
MIB: Final = 1024 * KIB  # bytes

# Requests and records. A size is the data before base64 plus the partition key in UTF-8.
MAX_RECORDS_PER_REQUEST: Final = 500  # records; PutRecords
MAX_REQUEST_BYTES: Final = 5 * MIB  # bytes; ours: the older limit of PutRecords
MAX_LARGE_REQUEST_BYTES: Final = 10 * MIB  # bytes; PutRecords; if max_record_size exceeds 1 MiB
DEFAULT_MAX_RECORD_BYTES: Final = 1 * MIB  # bytes; PutRecords: the default limit of a stream
MIN_MAX_RECORD_BYTES: Final = 1 * KIB  # bytes; ours: the longest key (768) must leave room for data
MAX_RECORD_BYTES: Final = 10 * MIB  # bytes; PutRecords: the highest limit of a stream
MAX_PARTITION_KEY_UTF16_UNITS: Final = 256  # UTF-16 units; PutRecords: "256 Unicode characters"
RANDOM_KEY_LENGTH: Final = 8  # characters [a-zA-Z0-9]; as the Go plugin

# Aggregates: entries that stand for many records.
MIN_AGGREGATE_BYTES: Final = 1 * KIB  # bytes; ours: smaller ones would hold one record each
DEFAULT_AGGREGATE_BYTES: Final = 51_200  # bytes; as the Kinesis Producer Library: 2 PUT units
DEFAULT_JOINED_BYTES: Final = 256 * KIB  # bytes; ours: no fewer PUT units per byte above it
HASH_KEYS: Final = 2**128  # hash keys of a stream; PutRecords: MD5 maps partition keys to them
MAX_AGGREGATION_BUCKETS: Final = 1024  # parts of the hash space; ours: one for each of many shards
DEFAULT_AGGREGATION_BUCKETS: Final = 64  # parts; ours: even enough on 30 shards

# Limits of the encoder's input and output.
MAX_NESTING: Final = 128  # levels of maps and arrays; ours: deeper records are skipped
TRUNCATION_SUFFIX: Final = b"[Truncated...]"  # bytes at the end of a cut record; as the Go plugin
MAX_TIME_FORMAT_LENGTH: Final = 256  # characters of time_key_format; ours, bounds strftime's output

# Retries. Every wait is random between 0 and the backoff (full jitter).
MAX_ATTEMPTS: Final = 4  # attempts per request in a flush, the first included; ours
MAX_REFUSALS: Final = 24  # requests refused in a row without one accepted record, then RETRY; ours
RETRY_BUDGET_S: Final = 5.0  # seconds of retrying in a flush, then RETRY; ours
BACKOFF_BASE_S: Final = 0.5  # seconds before attempt 2, then doubled; ours: limits are per second
BACKOFF_CAP_S: Final = 2.0  # seconds; ours, so that all waits fit into RETRY_BUDGET_S
BACKGROUND_BACKOFF_BASE_S: Final = 1.0  # seconds before the first retry in the background; ours
BACKGROUND_BACKOFF_CAP_S: Final = 30.0  # seconds; ours
DEFAULT_MAX_IN_FLIGHT: Final = 4  # requests of one flush at a time; ours
MAX_IN_FLIGHT: Final = 32  # requests; ours: more would only wait for the same shards
SPOOL_BACKOFF_CAP_S: Final = 300.0  # seconds, after the retries are used up; ours
SPOOL_START_SPREAD_S: Final = 2.0  # seconds; ours: a random delay before spooled chunks are sent
MAX_BACKGROUND_DELIVERIES: Final = 10  # deliveries at a time; as the Go plugin
DEFAULT_BACKGROUND_RETRIES: Final = 4  # retries; as the Go plugin
CLOSE_TIMEOUT_S: Final = 5.0  # seconds that close() waits for requests in flight; ours
DEFAULT_HTTP_TIMEOUT_S: Final = 30.0  # seconds; ours: an endless flush would block a shutdown

# Files. K, M and G of sizes are powers of 1000, as in Fluent Bit.
DEFAULT_SPOOL_BYTES: Final = 1_000_000_000  # bytes; ours: some minutes of a busy host
MIN_SPOOL_BYTES: Final = 10_000_000  # bytes; ours: room for a few of Fluent Bit's chunks of 2 MB
DEFAULT_DEAD_LETTER_BYTES: Final = 64_000_000  # bytes; ours
MIN_DEAD_LETTER_BYTES: Final = 1_000_000  # bytes; ours: each file must hold some dead letters
MAX_DISK_BYTES: Final = 10**15  # bytes; ours, larger than any disk of a host

# The direct transport. http_request_timeout limits connecting, each wait while a request is
# written, and the time from then to the end of the response; 0 means no limit. Writing may take
# http_request_timeout + n_bytes / SLOWEST_BYTES_PER_S in total. So a large request can use a slow
# line, and a peer that stops reading cannot block it for ever.
SLOWEST_BYTES_PER_S: Final = 16 * KIB  # bytes/s; ours: 5 MiB may take 5 minutes
MAX_ANSWER_BYTES: Final = 8 * MIB  # bytes with headers; ours: 500 records need about 55 KB
MAX_ANSWER_HEAD_BYTES: Final = 64 * KIB  # bytes of status line and headers, roughly; ours
MAX_IDLE_S: Final = 50.0  # seconds; ours: servers often close idle connections after 60 s
MAX_CLOCK_SKEW_S: Final = 240.0  # seconds; ours: AWS refuses signatures that are 300 s off

# The memory of chunks that were returned to the host after a part of them arrived.
RESUME_MAX_BYTES: Final = 8 * MIB  # bytes; ours: about 5,000 chunks of 10,000 events
RESUME_MAX_AGE_S: Final = 6 * 3600.0  # seconds; ours: Fluent Bit retries within 2,000 s
