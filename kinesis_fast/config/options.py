"""OutputConfig: every option, its default, its check and its help, from one table."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kinesis_fast import limits
from kinesis_fast.config import parsers
from kinesis_fast.config.parsers import MAX_SECONDS, MIN_SECONDS, without_user_info
from kinesis_fast.errors import ConfigError
from kinesis_fast.logs import printable

TRANSPORTS: Final = ("auto", "direct", "botocore")
DEFAULT_TIME_KEY_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"

_SHOWN_CHARACTERS: Final = 120  # of a value, in errors and in the line of effective options
_MAX_RETRIES: Final = 1_000_000
_ANY_KEY: Final = "the name of a key at the top level of a record"
_BOOLEAN: Final = "true, on, yes, 1 or false, off, no, 0"
_URL: Final = "an http:// or https:// URL with a host, or a host alone, which means https"
_DIRECTORY: Final = "the absolute path of a directory"


def _sizes(low: int) -> str:
    return f"a number of bytes from {low} on, such as 512M or 2G (K, M, G: powers of 1000)"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def _hidden(_value: str) -> str:
    return "***"


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the table of options.

    Attributes:
        name: as in Fluent Bit's configuration, lower case; also the field of OutputConfig.
        parse: returns the value of a text, or raises ValueError with the reason.
        default: the value when the option is absent.
        allowed: what parse takes, in words.
        help: what the option does, in one sentence.
        required: whether the option must be given.
        show: the reverse of parse.
        mask: what may be shown of a text; the whole by default.
    """

    name: str
    parse: Callable[[str], object]
    default: object
    allowed: str
    help: str
    required: bool = False
    show: Callable[[Any], str] = _shown
    mask: Callable[[str], str] = str

    @property
    def default_text(self) -> str:
        """The default as one would write it, empty when there is none."""
        return self.show(self.default)


OPTIONS: Final = (
    Option(
        name="region",
        parse=parsers.region,
        default=None,
        required=True,
        allowed="the name of an AWS region such as us-west-2",
        help="The AWS region of the stream.",
    ),
    Option(
        name="stream",
        parse=parsers.stream,
        default=None,
        required=True,
        allowed="a name of 1 to 128 characters A-Z a-z 0-9 _ . - or a stream's ARN",
        help="The stream that the records go to.",
    ),
    Option(
        name="partition_key",
        parse=parsers.key_path,
        default=(),
        allowed="a key, or a path such as kubernetes->pod_name; not 'log'",
        help="The key whose value becomes the partition key; random when absent.",
        show="->".join,
    ),
    Option(
        name="data_keys",
        parse=parsers.key_names,
        default=(),
        allowed="keys at the top level of a record, separated by commas",
        help="The keys that are sent, all when absent.",
        show=",".join,
    ),
    Option(
        name="log_key",
        parse=parsers.text,
        default=None,
        allowed=_ANY_KEY,
        help="The key whose value alone is sent, not as JSON when it is a string.",
    ),
    Option(
        name="replace_dots",
        parse=parsers.text,
        default=None,
        allowed="any text",
        help="What replaces each dot in the names of keys.",
    ),
    Option(
        name="append_newline",
        parse=parsers.boolean,
        default=False,
        allowed=_BOOLEAN,
        help="Whether each record ends with a newline.",
    ),
    Option(
        name="time_key",
        parse=parsers.text,
        default=None,
        allowed=_ANY_KEY,
        help="The key under which the time of the event is added to the record.",
    ),
    Option(
        name="time_key_format",
        parse=parsers.time_format,
        default=DEFAULT_TIME_KEY_FORMAT,
        allowed=(
            f"at most {limits.MAX_TIME_FORMAT_LENGTH} characters with the specifiers of "
            "strftime(3), %L (ms), %f (us), %3N %6N %9N, %N (ns) and %v (%e-%b-%Y)"
        ),
        help="How the time is written, in the local time zone.",
    ),
    Option(
        name="role_arn",
        parse=parsers.role_arn,
        default=None,
        allowed="the ARN of an IAM role such as arn:aws:iam::123456789012:role/name",
        help="The role to assume.",
    ),
    Option(
        name="external_id",
        parse=parsers.external_id,
        default=None,
        allowed="2 to 1224 characters A-Z a-z 0-9 _ + = , . @ : / -",
        help="The external id that the role to assume asks for.",
        mask=_hidden,
    ),
    Option(
        name="sts_endpoint",
        parse=parsers.endpoint,
        default=None,
        allowed=_URL,
        help="Where roles are assumed, instead of AWS STS in the region.",
        mask=without_user_info,
    ),
    Option(
        name="endpoint",
        parse=parsers.endpoint,
        default=None,
        allowed=_URL,
        help="Where the records are sent, instead of Kinesis in the region.",
        mask=without_user_info,
    ),
    Option(
        name="profile",
        parse=parsers.text,
        default=None,
        allowed="the name of a profile in the AWS configuration files",
        help="The profile that the credentials come from.",
    ),
    Option(
        name="http_request_timeout",
        parse=parsers.seconds,
        default=limits.DEFAULT_HTTP_TIMEOUT_S,
        allowed=f"seconds from {MIN_SECONDS} to {MAX_SECONDS}, or 0 for no limit",
        help="How many seconds a request may take.",
    ),
    Option(
        name="max_record_size",
        parse=parsers.whole_number(limits.MIN_MAX_RECORD_BYTES, limits.MAX_RECORD_BYTES),
        default=limits.DEFAULT_MAX_RECORD_BYTES,
        allowed=(
            f"a whole number of bytes from {limits.MIN_MAX_RECORD_BYTES} "
            f"to {limits.MAX_RECORD_BYTES}"
        ),
        help="Bytes of data and partition key above which a record is cut.",
    ),
    Option(
        name="max_in_flight",
        parse=parsers.whole_number(1, limits.MAX_IN_FLIGHT),
        default=limits.DEFAULT_MAX_IN_FLIGHT,
        allowed=f"a whole number from 1 to {limits.MAX_IN_FLIGHT}",
        help="How many requests of one chunk may be under way at a time.",
    ),
    Option(
        name="transport",
        parse=parsers.one_of(TRANSPORTS),
        default="auto",
        allowed=", ".join(TRANSPORTS),
        help="How requests are sent: by kinesis_fast itself, or by botocore.",
    ),
    Option(
        name="experimental_concurrency",
        parse=parsers.whole_number(0, limits.MAX_BACKGROUND_DELIVERIES),
        default=0,
        allowed=f"a whole number from 0 to {limits.MAX_BACKGROUND_DELIVERIES}",
        help="How many deliveries may go on in the background; 0: every flush waits for its own.",
    ),
    Option(
        name="experimental_concurrency_retries",
        parse=parsers.whole_number(0, _MAX_RETRIES),
        default=limits.DEFAULT_BACKGROUND_RETRIES,
        allowed=f"a whole number from 0 to {_MAX_RETRIES}",
        help="How often a delivery in the background is retried before its records are given up.",
    ),
    Option(
        name="spool_dir",
        parse=parsers.directory,
        default=None,
        allowed=_DIRECTORY,
        help="Where chunks are kept until they are delivered; needs experimental_concurrency.",
    ),
    Option(
        name="spool_max_bytes",
        parse=parsers.size(limits.MIN_SPOOL_BYTES, limits.MAX_DISK_BYTES),
        default=limits.DEFAULT_SPOOL_BYTES,
        allowed=_sizes(limits.MIN_SPOOL_BYTES),
        help="Bytes that this output may keep in spool_dir; when they are full it says RETRY.",
    ),
    Option(
        name="dead_letter_dir",
        parse=parsers.directory,
        default=None,
        allowed=_DIRECTORY,
        help="Where records that can never be delivered are written down.",
    ),
    Option(
        name="dead_letter_max_bytes",
        parse=parsers.size(limits.MIN_DEAD_LETTER_BYTES, limits.MAX_DISK_BYTES),
        default=limits.DEFAULT_DEAD_LETTER_BYTES,
        allowed=_sizes(limits.MIN_DEAD_LETTER_BYTES),
        help="Bytes that all files in dead_letter_dir may have; then the oldest go.",
    ),
    Option(
        name="compression",
        parse=parsers.no_compression,
        default="none",
        allowed="none; gzip, zlib, zstd and snappy are not supported yet",
        help="How each record is compressed.",
    ),
    Option(
        name="aggregation",
        parse=parsers.no_aggregation,
        default=False,
        allowed="false, off, no, 0; aggregation is not supported yet",
        help="Whether records are aggregated in the format of the Kinesis Producer Library.",
    ),
)
_BY_NAME: Final = {option.name: option for option in OPTIONS}
_SIZES_OF: Final = {
    "spool_max_bytes": "spool_dir",
    "dead_letter_max_bytes": "dead_letter_dir",
}


def option_names() -> list[str]:
    """Return the names of all options, in the order of the documentation."""
    return list(_BY_NAME)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OutputConfig:
    """The options of an output, checked; made by from_options(), described in OPTIONS."""

    region: str
    stream: str
    partition_key: tuple[str, ...]
    data_keys: tuple[str, ...]
    log_key: str | None
    replace_dots: str | None
    append_newline: bool
    time_key: str | None
    time_key_format: str
    role_arn: str | None
    external_id: str | None
    sts_endpoint: str | None
    endpoint: str | None
    profile: str | None
    http_request_timeout: float
    max_record_size: int
    max_in_flight: int
    transport: str
    experimental_concurrency: int
    experimental_concurrency_retries: int
    spool_dir: str | None
    spool_max_bytes: int
    dead_letter_dir: str | None
    dead_letter_max_bytes: int
    compression: str
    aggregation: bool

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> "OutputConfig":
        """Check options as Fluent Bit passes them.

        Args:
            options: names, in any case, and texts; an empty text counts as absent.

        Raises:
            ConfigError: an option is unknown, missing, given twice or wrong, or two contradict.
        """
        texts = _known_texts(options)
        values: dict[str, Any] = {
            option.name: _parsed(option, texts[option.name])
            if option.name in texts
            else option.default
            for option in OPTIONS
        }
        for option in OPTIONS:
            if option.required and option.name not in texts:
                raise ConfigError(f"option {option.name} is missing; allowed is {option.allowed}")
        config = cls(**values)
        arn_region = parsers.region_of_arn(config.stream)
        if arn_region not in {None, config.region}:
            raise ConfigError(
                f"option region is '{config.region}', but the ARN in option stream says "
                f"'{arn_region}'; allowed is the same region in both"
            )
        return config

    def describe(self) -> str:
        """Return the effective options as one line, without secrets; absent ones are left out."""
        shown = ((option, option.show(getattr(self, option.name))) for option in OPTIONS)
        return " ".join(
            f"{option.name}={_quoted(option.mask(text))}" for option, text in shown if text
        )

    def warnings(self) -> list[str]:
        """Return a sentence for each choice that works, but hardly as it was meant."""
        found = []
        if self.log_key is not None and not self._can_find(self.log_key):
            found.append(
                f"no record can have the log_key '{printable(self.log_key, _SHOWN_CHARACTERS)}' "
                "after data_keys and replace_dots were applied: every record will be skipped"
            )
        if any(name != name.strip() for name in self.partition_key):
            found.append("spaces in the path of partition_key count as parts of the keys' names")
        if self.time_key is None and self.time_key_format != DEFAULT_TIME_KEY_FORMAT:
            found.append("time_key_format has no effect without time_key")
        if self.external_id is not None and self.role_arn is None:
            found.append("external_id has no effect without role_arn")
        if self.experimental_concurrency and self.spool_dir is None:
            found.append(
                "with experimental_concurrency and without spool_dir a flush is reported as done "
                "before its records have arrived: those in flight are lost when the process dies"
            )
        if self.spool_dir is not None and not self.experimental_concurrency:
            found.append("spool_dir has no effect without experimental_concurrency")
        found += (
            f"{name} is http without TLS, to a host that is not this one: {what} can be read, and "
            "changed, on the way; write https://"
            for name, what in (("endpoint", "records"), ("sts_endpoint", "credentials"))
            if parsers.is_open_to_others(getattr(self, name))
        )
        found += (
            f"{name} has no effect without {needed}"
            for name, needed in _SIZES_OF.items()
            if getattr(self, needed) is None and getattr(self, name) != _BY_NAME[name].default
        )
        return found

    def _can_find(self, log_key: str) -> bool:
        """Tell whether a record may have this key when log_key is looked up, as the last step."""
        if self.data_keys:
            kept = {*self.data_keys, *([self.time_key] if self.time_key else [])}
            return log_key in {self._renamed(name) for name in kept}
        return "." not in log_key or "." in self._renamed(log_key)

    def _renamed(self, name: str) -> str:
        return name if self.replace_dots is None else name.replace(".", self.replace_dots)

    def __repr__(self) -> str:
        return f"OutputConfig({self.describe()})"


def _known_texts(options: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the options that are present, by lower-case name."""
    texts: dict[str, str] = {}
    for given, value in options.items():
        name = given.lower() if isinstance(given, str) else ""
        if name not in _BY_NAME:
            raise ConfigError(_unknown(str(given)))
        if not isinstance(value, str):
            raise ConfigError(
                f"option {name} is of type {type(value).__name__}; allowed are texts only, "
                "as Fluent Bit passes them"
            )
        if value and name in texts:
            raise ConfigError(f"option {name} is given twice, in different case; allowed is once")
        if value:
            texts[name] = value
    return texts


def _unknown(given: str) -> str:
    nearest = difflib.get_close_matches(given.lower(), _BY_NAME, n=1, cutoff=0.5)
    hint = (
        f"did you mean {nearest[0]}?" if nearest else f"the options are {', '.join(option_names())}"
    )
    return f"option '{printable(given, _SHOWN_CHARACTERS)}' is unknown; {hint}"


def _parsed(option: Option, text: str) -> object:
    try:
        if not _is_unicode(text):
            raise ValueError("it is no valid UTF-8")
        return option.parse(text)
    except ValueError as error:
        shown = printable(option.mask(text), _SHOWN_CHARACTERS)
        raise ConfigError(
            f"option {option.name} is '{shown}': {error}; allowed is {option.allowed}"
        ) from None


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _quoted(text: str) -> str:
    shown = printable(text, _SHOWN_CHARACTERS)
    return f'"{shown}"' if any(character in shown for character in " \"'") else shown
