"""OutputConfig: each option is one field, whose Option says everything besides the type."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from kinesis_fast import limits
from kinesis_fast.config import parsers
from kinesis_fast.config.option import Option, option_of
from kinesis_fast.config.parsers import MAX_SECONDS, MIN_SECONDS, without_user_info
from kinesis_fast.config.time_format import local_time_is_utc, sign_of_utc
from kinesis_fast.errors import ConfigError
from kinesis_fast.logs import printable

TIME_ZONES: Final = ("local", "utc")
TRANSPORTS: Final = ("auto", "direct", "botocore")
DEFAULT_TIME_KEY_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"

_MAX_SHOWN_CHARACTERS: Final = 120  # of a value, in errors and in describe()
_MAX_RETRIES: Final = 1_000_000
_ANY_KEY: Final = "the name of a key at the top level of a record"
_BOOLEAN: Final = "true, on, yes, 1 or false, off, no, 0"
_URL: Final = "an http:// or https:// URL with a host, or a host alone, which means https"
_DIRECTORY: Final = "the absolute path of a directory"


def _sizes(low: int) -> str:
    return f"a number of bytes, at least {low}, such as 512M or 2G (K, M, G: powers of 1000)"


def _hidden(_text: str) -> str:
    return "***"


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
        metadata=Option(
            parse=parsers.text,
            allowed=_ANY_KEY,
            help="The one key whose value is sent: a string as it is, anything else as JSON.",
            identifies_spool=True,
        ).metadata
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
        metadata=Option(
            parse=parsers.text,
            allowed=_ANY_KEY,
            help="The key under which the time of the event is added to the record.",
            identifies_spool=True,
        ).metadata
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
            parse=parsers.no_compression,
            default="none",
            allowed="none; gzip, zlib, zstd and snappy are not supported yet",
            help="How each record is compressed.",
            details="Anything but `none` is refused: not supported yet.",
            identifies_spool=True,
        ).metadata
    )
    aggregation: bool = field(
        metadata=Option(
            parse=parsers.no_aggregation,
            default=False,
            allowed="false, off, no, 0; aggregation is not supported yet",
            help="Whether records are aggregated in the format of the Kinesis Producer Library.",
            details="`true` is refused: not supported yet.",
            identifies_spool=True,
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
        texts = _known_texts(options)
        with_endpoint = "endpoint" in texts or parsers.is_endpoint_in_environment()
        values: dict[str, Any] = {
            option.name: _parsed(option, texts[option.name], with_endpoint=with_endpoint)
            if option.name in texts
            else option.default
            for option in OPTIONS
        }
        for option in OPTIONS:
            if option.required and option.name not in texts:
                raise ConfigError(f"option {option.name} is missing; allowed: {option.allowed}")
        config = cls(**values)
        arn_region = parsers.region_of_arn(config.stream)
        if arn_region not in {None, config.region}:
            raise ConfigError(
                f"option region is '{config.region}', but the ARN in option stream says "
                f"'{arn_region}'; allowed: the same region in both"
            )
        return config

    def describe(self) -> str:
        """Return the effective options as one line, without secrets and absent options."""
        shown = ((option, option.show(getattr(self, option.name))) for option in OPTIONS)
        return " ".join(
            f"{option.name}={_quoted(option.mask(text))}" for option, text in shown if text
        )

    def warnings(self) -> list[str]:
        """Return a sentence for each choice that is allowed but probably a mistake."""
        found = []
        if self.log_key is not None and not self._can_find(self.log_key):
            found.append(
                f"no record can have the log_key '{_printable(self.log_key)}' after data_keys and "
                "replace_dots are applied: every record will be skipped"
            )
        if any(name != name.strip() for name in self.partition_key):
            found.append("spaces in the path of partition_key are taken as part of the key names")
        if self.experimental_concurrency and self.spool_dir is None:
            found.append(
                "with experimental_concurrency but no spool_dir, a flush returns OK before its "
                "records have arrived: records in flight are lost if the process dies"
            )
        sign = sign_of_utc(self.time_key_format) if self.time_key else ""
        if sign and self.time_zone == "local" and not local_time_is_utc():
            found.append(
                f"time_key_format ends in '{sign}', which means UTC, but the times are in the "
                "local time zone; set time_zone to utc"
            )
        found += (
            f"{name} is http without TLS to another host: {what} can be read and changed on the "
            "way; use https://"
            for name, what in (("endpoint", "records"), ("sts_endpoint", "credentials"))
            if parsers.is_open_to_others(getattr(self, name))
        )
        found += (
            f"{name} has no effect without {needed}"
            for name, needed in _NEEDED_BY.items()
            if not getattr(self, needed) and getattr(self, name) != _BY_NAME[name].default
        )
        return found

    def _can_find(self, log_key: str) -> bool:
        """Tell whether a record can have this key when log_key is looked up, as the last step."""
        if self.data_keys:
            kept = {*self.data_keys, *([self.time_key] if self.time_key else [])}
            return log_key in {self._renamed(name) for name in kept}
        return "." not in log_key or "." in self._renamed(log_key)

    def _renamed(self, name: str) -> str:
        return name if self.replace_dots is None else name.replace(".", self.replace_dots)

    def __repr__(self) -> str:
        return f"OutputConfig({self.describe()})"


OPTIONS: Final = tuple(map(option_of, fields(OutputConfig)))
_BY_NAME: Final = {option.name: option for option in OPTIONS}
# A service that is compatible with Kinesis has names of its own.
_WITH_ENDPOINT: Final = {"region": parsers.any_region, "stream": parsers.any_stream}
_NEEDED_BY: Final = {
    "time_key_format": "time_key",
    "time_zone": "time_key",
    "external_id": "role_arn",
    "spool_dir": "experimental_concurrency",
    "spool_max_bytes": "spool_dir",
    "dead_letter_max_bytes": "dead_letter_dir",
}


def option_names() -> list[str]:
    """Return the names of all options, in the order of the documentation."""
    return list(_BY_NAME)


def _known_texts(options: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the options that are present, by lower-case name."""
    texts: dict[str, str] = {}
    for given, value in options.items():
        name = given.lower() if isinstance(given, str) else ""
        if name not in _BY_NAME:
            raise ConfigError(_unknown(str(given)))
        if not isinstance(value, str):
            raise ConfigError(
                f"option {name} is of type {type(value).__name__}; allowed: str, as Fluent Bit "
                "passes it"
            )
        if value and name in texts:
            raise ConfigError(f"option {name} is given twice, in different case; allowed: once")
        if value:
            texts[name] = value
    return texts


def _unknown(given: str) -> str:
    nearest = difflib.get_close_matches(given.lower(), _BY_NAME, n=1, cutoff=0.5)
    hint = (
        f"did you mean {nearest[0]}?" if nearest else f"the options are {', '.join(option_names())}"
    )
    return f"option '{_printable(given)}' is unknown; {hint}"


def _parsed(option: Option, text: str, *, with_endpoint: bool) -> object:
    parse = _WITH_ENDPOINT.get(option.name, option.parse) if with_endpoint else option.parse
    try:
        if not parsers.is_unicode(text):
            raise ValueError("it is not valid UTF-8")
        return parse(text)
    except ValueError as error:
        shown = _printable(option.mask(text))
        raise ConfigError(
            f"option {option.name} is '{shown}': {error}; allowed: {option.allowed}"
        ) from None


def _printable(text: str) -> str:
    return printable(text, _MAX_SHOWN_CHARACTERS)


def _quoted(text: str) -> str:
    shown = _printable(text)
    return f'"{shown}"' if any(character in shown for character in " \"'") else shown
