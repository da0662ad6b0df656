"""OutputConfig: each option is one field, whose Option says everything besides the type."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from kinesis_fast import limits
from kinesis_fast.compression import CODECS, LEVELS_IN_WORDS, LEVELS_OF_ALL_CODECS
from kinesis_fast.config import combinations, parsers
from kinesis_fast.config.option import Option, option_of
from kinesis_fast.config.parsers import MAX_SECONDS, MIN_SECONDS, without_user_info
from kinesis_fast.config.texts import known_texts, parsed, quoted
from kinesis_fast.errors import ConfigError

TIME_ZONES: Final = ("local", "utc")
TRANSPORTS: Final = ("auto", "direct", "botocore")
PROTOCOLS: Final = ("json", "cbor")
DEFAULT_TIME_KEY_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"

_MAX_RETRIES: Final = 1_000_000
_BOOLEAN: Final = "true, on, yes, 1 or false, off, no, 0"
_URL: Final = "an http:// or https:// URL with a host, or a host alone, which means https"
_DIRECTORY: Final = "the absolute path of a directory"


def _sizes(low: int) -> str:
    return f"a number of bytes, at least {low}, such as 512M or 2G (K, M, G: powers of 1000)"


def _hidden(_text: str) -> str:
    return "***"


def _shown_address(address: tuple[str, int] | None) -> str:
    return "" if address is None else parsers.address_text(address)


def _key(help_text: str) -> Mapping[str, Option]:
    """Return the metadata of an option that names a key of a record."""
    return Option(
        parse=parsers.text,
        allowed="the name of a key at the top level of a record",
        help=help_text,
        identifies_spool=True,
    ).metadata


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OutputConfig:
    """The checked options of an output, one field each; made by `from_options`."""

    region: str = field(
        metadata=Option(
            parse=parsers.region,
            required=True,
            allowed=(
                "the name of an AWS region such as us-west-2; with option endpoint, 1 to 63 "
                "characters A-Z a-z 0-9 -"
            ),
            help="The AWS region of the stream.",
            identifies_spool=True,
        ).metadata
    )
    stream: str = field(
        metadata=Option(
            parse=parsers.stream,
            required=True,
            allowed=(
                "a name of 1 to 128 characters A-Z a-z 0-9 _ . - or a stream's ARN; with option "
                "endpoint, any name without control characters"
            ),
            help="The stream that receives the records: its name or its ARN.",
            details="With `endpoint` or AWS_ENDPOINT_URL, region and stream may have other names.",
            identifies_spool=True,
        ).metadata
    )
    partition_key: tuple[str, ...] = field(
        metadata=Option(
            parse=parsers.key_path,
            default=(),
            absent="random",
            allowed="a key, or a path such as kubernetes->pod_name; not 'log'",
            help="The key whose value becomes the partition key.",
            details="`a->b` looks into nested maps. `log` is refused.",
            show="->".join,
            identifies_spool=True,
        ).metadata
    )
    data_keys: tuple[str, ...] = field(
        metadata=Option(
            parse=parsers.key_names,
            default=(),
            absent="all",
            allowed="keys at the top level of a record, separated by commas",
            help="The keys that are sent, separated by commas.",
            details="Top level only, exact names.",
            show=",".join,
            identifies_spool=True,
        ).metadata
    )
    log_key: str | None = field(
        metadata=_key("The one key whose value is sent: a string as it is, anything else as JSON.")
    )
    replace_dots: str | None = field(
        metadata=Option(
            parse=parsers.text,
            allowed="any text",
            help="The text that replaces each dot in the names of keys, at every level.",
            identifies_spool=True,
        ).metadata
    )
    append_newline: bool = field(
        metadata=Option(
            parse=parsers.boolean,
            default=False,
            allowed=_BOOLEAN,
            help="Whether each record ends with a newline.",
            identifies_spool=True,
        ).metadata
    )
    time_key: str | None = field(
        metadata=_key("The key under which the time of the event is added to the record.")
    )
    time_key_format: str = field(
        metadata=Option(
            parse=parsers.time_format,
            default=DEFAULT_TIME_KEY_FORMAT,
            allowed=(
                f"at most {limits.MAX_TIME_FORMAT_LENGTH} characters with the specifiers of "
                "strftime(3), %L (ms), %f (us), %3N %6N %9N, %N (ns) and %v (%e-%b-%Y)"
            ),
            help="The format of the time, as for strftime(3).",
            details="Also `%L` (ms), `%f` (µs), `%3N`, `%6N`, `%9N` and `%N` (ns).",
            identifies_spool=True,
        ).metadata
    )
    time_zone: str = field(
        metadata=Option(
            parse=parsers.one_of(TIME_ZONES),
            default="local",
            allowed=", ".join(TIME_ZONES),
            help="The time zone of the time: that of the machine (local), or UTC (utc).",
            details="A format that ends in a literal `Z` needs `utc`.",
            identifies_spool=True,
        ).metadata
    )
    role_arn: str | None = field(
        metadata=Option(
            parse=parsers.role_arn,
            allowed="the ARN of an IAM role such as arn:aws:iam::123456789012:role/name",
            help="The role to assume through STS; renewed before it expires.",
            identifies_spool=True,
        ).metadata
    )
    external_id: str | None = field(
        metadata=Option(
            parse=parsers.external_id,
            allowed="2 to 1224 characters A-Z a-z 0-9 _ + = , . @ : / -",
            help="The external id that the role to assume requires.",
            mask=_hidden,
        ).metadata
    )
    sts_endpoint: str | None = field(
        metadata=Option(
            parse=parsers.endpoint,
            absent="STS in the region",
            allowed=_URL,
            help="The URL of the service that assumes roles.",
            mask=without_user_info,
        ).metadata
    )
    endpoint: str | None = field(
        metadata=Option(
            parse=parsers.endpoint,
            absent="Kinesis in the region",
            allowed=_URL,
            help="The URL that requests are sent to.",
            details="Without a scheme it means https.",
            mask=without_user_info,
            identifies_spool=True,
        ).metadata
    )
    profile: str | None = field(
        metadata=Option(
            parse=parsers.text,
            allowed="the name of a profile in the AWS configuration files",
            help="The profile of the AWS configuration files that supplies the credentials.",
            identifies_spool=True,  # it may belong to another account
        ).metadata
    )
    http_request_timeout: float = field(
        metadata=Option(
            parse=parsers.seconds,
            default=limits.DEFAULT_HTTP_TIMEOUT_S,
            allowed=f"seconds from {MIN_SECONDS} to {MAX_SECONDS}, or 0 for no limit",
            help="Seconds that a request may take; 0 means no limit.",
            details="It limits connecting, each wait during the upload, and the whole response.",
        ).metadata
    )
    max_record_size: int = field(
        metadata=Option(
            parse=parsers.whole_number(limits.MIN_MAX_RECORD_BYTES, limits.MAX_RECORD_BYTES),
            default=limits.DEFAULT_MAX_RECORD_BYTES,
            allowed=(
                f"a whole number of bytes from {limits.MIN_MAX_RECORD_BYTES} "
                f"to {limits.MAX_RECORD_BYTES}"
            ),
            help="Bytes of data and partition key, up to 10485760, above which a record is cut.",
            details="Above the default the stream must allow it, and requests grow to 10 MiB.",
            identifies_spool=True,
        ).metadata
    )
    max_in_flight: int = field(
        metadata=Option(
            parse=parsers.whole_number(1, limits.MAX_IN_FLIGHT),
            default=limits.DEFAULT_MAX_IN_FLIGHT,
            allowed=f"a whole number from 1 to {limits.MAX_IN_FLIGHT}",
            help="Requests of one chunk in flight at a time, 1 to 32.",
        ).metadata
    )
    transport: str = field(
        metadata=Option(
            parse=parsers.one_of(TRANSPORTS),
            default="auto",
            allowed=", ".join(TRANSPORTS),
            help="How requests are sent: by kinesis_fast itself (direct), or by botocore.",
            details="`auto` is direct unless a proxy or a client certificate needs botocore.",
        ).metadata
    )
    protocol: str = field(
        metadata=Option(
            parse=parsers.one_of(PROTOCOLS),
            default="json",
            allowed=", ".join(PROTOCOLS),
            help="The form of requests: JSON, or CBOR, which is a quarter smaller.",
            details="Where the service does not take CBOR, they are JSON again.",
        ).metadata
    )
    experimental_concurrency: int = field(
        metadata=Option(
            parse=parsers.whole_number(0, limits.MAX_BACKGROUND_DELIVERIES),
            default=0,
            allowed=f"a whole number from 0 to {limits.MAX_BACKGROUND_DELIVERIES}",
            help="Deliveries in the background, up to 10; 0: each flush waits for its own.",
        ).metadata
    )
    experimental_concurrency_retries: int = field(
        metadata=Option(
            parse=parsers.whole_number(0, _MAX_RETRIES),
            default=limits.DEFAULT_BACKGROUND_RETRIES,
            allowed=f"a whole number from 0 to {_MAX_RETRIES}",
            help="Retries in a row that deliver nothing, before records are given up.",
            details="For deliveries in the background without `spool_dir`.",
        ).metadata
    )
    spool_dir: str | None = field(
        metadata=Option(
            parse=parsers.directory,
            allowed=_DIRECTORY,
            help="The directory that keeps chunks until they are delivered.",
            details="See docs/spool.md; needs `experimental_concurrency`.",
        ).metadata
    )
    spool_max_bytes: int = field(
        metadata=Option(
            parse=parsers.size(limits.MIN_SPOOL_BYTES, limits.MAX_DISK_BYTES),
            default=limits.DEFAULT_SPOOL_BYTES,
            allowed=_sizes(limits.MIN_SPOOL_BYTES),
            help="Bytes that this output may keep in spool_dir; when full, a flush returns RETRY.",
            show=parsers.size_text,
        ).metadata
    )
    dead_letter_dir: str | None = field(
        metadata=Option(
            parse=parsers.directory,
            allowed=_DIRECTORY,
            help="The directory for records that can never be delivered.",
        ).metadata
    )
    dead_letter_max_bytes: int = field(
        metadata=Option(
            parse=parsers.size(limits.MIN_DEAD_LETTER_BYTES, limits.MAX_DISK_BYTES),
            default=limits.DEFAULT_DEAD_LETTER_BYTES,
            allowed=_sizes(limits.MIN_DEAD_LETTER_BYTES),
            help="Bytes of all files in dead_letter_dir; beyond that the oldest are deleted.",
            show=parsers.size_text,
        ).metadata
    )
    compression: str = field(
        metadata=Option(
            parse=parsers.one_of(CODECS),
            default="none",
            allowed=", ".join(CODECS),
            help="How records are compressed: each alone, or joined ones together.",
            details="`zstd` needs `pip install kinesis-fast[zstd]`.",
            identifies_spool=True,
        ).metadata
    )
    compression_level: int | None = field(
        metadata=Option(
            parse=parsers.whole_number(*LEVELS_OF_ALL_CODECS),
            absent="6, zstd 3; joined 3, zstd 1",
            allowed=f"a whole number, for {LEVELS_IN_WORDS}; none with none and snappy",
            help="How much time compression may take: the higher, the smaller and slower.",
            details=f"For {LEVELS_IN_WORDS}.",
        ).metadata
    )
    aggregation: bool = field(
        metadata=Option(
            parse=parsers.boolean,
            default=False,
            allowed=_BOOLEAN,
            help="Whether records are aggregated in the format of the Kinesis Producer Library.",
            identifies_spool=True,
        ).metadata
    )
    simple_aggregation: bool = field(
        metadata=Option(
            parse=parsers.boolean,
            default=False,
            allowed=_BOOLEAN,
            help="Whether records are joined, with a newline after each.",
            details="Not together with `aggregation`.",
            identifies_spool=True,
        ).metadata
    )
    aggregation_max_size: int | None = field(
        metadata=Option(
            parse=parsers.whole_number(limits.MIN_AGGREGATE_BYTES, limits.MAX_RECORD_BYTES),
            absent=f"{limits.DEFAULT_AGGREGATE_BYTES} or {limits.DEFAULT_JOINED_BYTES}",
            allowed=(
                f"a whole number of bytes from {limits.MIN_AGGREGATE_BYTES} to max_record_size"
            ),
            help="Bytes of an aggregate, or of joined records before they are compressed.",
            details="The second default is that of `simple_aggregation`.",
        ).metadata
    )
    aggregation_buckets: int = field(
        metadata=Option(
            parse=parsers.power_of_two(limits.MAX_AGGREGATION_BUCKETS),
            default=limits.DEFAULT_AGGREGATION_BUCKETS,
            allowed=f"a power of two from 1 to {limits.MAX_AGGREGATION_BUCKETS}",
            help="Parts of the hash space, 1 to 1024, whose partition keys share aggregates.",
            details="64 suit up to about 30 shards.",
        ).metadata
    )
    metrics_listen: tuple[str, int] | None = field(
        metadata=Option(
            parse=parsers.listen_address,
            allowed=(
                "a port from 1 to 65535 on 127.0.0.1, or an IP address and a port such as "
                "127.0.0.1:9402 or [::1]:9402"
            ),
            help="The address where Prometheus finds metrics; a port alone is on 127.0.0.1.",
            details="See docs/metrics.md; needs `pip install kinesis-fast[metrics]`.",
            show=_shown_address,
        ).metadata
    )
    metrics_file: str | None = field(
        metadata=Option(
            parse=parsers.file,
            allowed="the absolute path of a file",
            help="The file that gets the metrics every 15 seconds, for a textfile collector.",
            details="Needs `pip install kinesis-fast[metrics]`.",
        ).metadata
    )
    stats_interval: int | None = field(
        metadata=Option(
            parse=parsers.whole_number(0, MAX_SECONDS),
            allowed=f"whole seconds from 0 to {MAX_SECONDS}; 0 means never",
            absent="never",
            help="Seconds between two log lines with the account of the records.",
        ).metadata
    )
    auto_retry_requests: bool = field(
        metadata=Option(
            parse=parsers.boolean,
            default=True,
            allowed=_BOOLEAN,
            help="Accepted, as in Fluent Bit's own output; failed requests are always retried.",
        ).metadata
    )

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> "OutputConfig":
        """Check options as Fluent Bit passes them.

        Args:
            options: texts by name; names in any case; an empty text counts as absent.

        Raises:
            ConfigError: an option is unknown, missing, given twice or wrong, or two options
                contradict each other.
        """
        texts = known_texts(options, option_names())
        has_endpoint = "endpoint" in texts or parsers.is_endpoint_in_environment()
        own_names = _WITH_ENDPOINT if has_endpoint else {}
        values: dict[str, Any] = {
            option.name: parsed(option, texts[option.name], own_names.get(option.name))
            if option.name in texts
            else option.default
            for option in OPTIONS
        }
        for option in OPTIONS:
            if option.required and option.name not in texts:
                raise ConfigError(f"option {option.name} is missing; allowed: {option.allowed}")
        config = cls(**combinations.with_defaults(values))
        combinations.check(config)
        return config

    def describe(self) -> str:
        """Return the effective options as one line, without secrets and absent options."""
        shown = ((option, option.show(getattr(self, option.name))) for option in OPTIONS)
        return " ".join(
            f"{option.name}={quoted(option.mask(text))}" for option, text in shown if text
        )

    def warnings(self) -> list[str]:
        """Return a sentence for each choice that is allowed but probably a mistake."""
        return combinations.warnings_about(self)

    def as_consumed(self) -> "OutputConfig":
        """Return options that make each record as its consumer sees it.

        That is without aggregation and compression. Joined records have no partition keys of their
        own.
        """
        joined: dict[str, Any] = {}
        if self.simple_aggregation:
            joined = {"append_newline": True, "partition_key": ()}
        unpacked: dict[str, Any] = {
            **{"aggregation": False, "simple_aggregation": False, "aggregation_max_size": None},
            **{"compression": "none", "compression_level": None},
        }
        return replace(self, **joined, **unpacked)

    def __repr__(self) -> str:
        return f"OutputConfig({self.describe()})"


OPTIONS: Final = tuple(map(option_of, fields(OutputConfig)))
# A service that is compatible with Kinesis has names of its own.
_WITH_ENDPOINT: Final = {"region": parsers.any_region, "stream": parsers.any_stream}


def option_names() -> list[str]:
    """Return the names of all options, in the order of the documentation."""
    return [option.name for option in OPTIONS]
