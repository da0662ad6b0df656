"""Parsers for the texts of options: each returns the value or raises ValueError with the reason."""

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from kinesis_fast.config.time_format import split_subseconds
from kinesis_fast.limits import MAX_NESTING
from kinesis_fast.logs import printable

MAX_SECONDS: Final = 86_400
MIN_SECONDS: Final = 0.001  # shorter ones would act as if no answer could ever come in time

_BOOLEANS: Final = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}
_COMPRESSIONS_TO_COME: Final = frozenset({"gzip", "zlib", "zstd", "snappy"})
_MAX_DIGITS: Final = 18  # longer numbers are out of every range here
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:([KMG])B?)?", re.IGNORECASE | re.ASCII)
_UNITS: Final = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}

_HOST_LABEL: Final = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_REGION: Final = re.compile(_HOST_LABEL)
_HOST_NAME: Final = re.compile(rf"(?=.{{1,255}}\Z){_HOST_LABEL}(\.{_HOST_LABEL})*\.?")
_HOST_AND_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(.*))?")
_USER_INFO: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%-]*")
_URL_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%/-]*")
_MAX_PORT: Final = 65_535

_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_STREAM_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:kinesis:(?P<region>[a-z0-9-]+):[0-9]{12}:stream/[A-Za-z0-9_.-]{1,128}"
)
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,576}")
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")


def text(value: str) -> str:
    """Take any text."""
    return value


def boolean(value: str) -> bool:
    """Parse true/on/yes/1 and false/off/no/0 in any case."""
    if value.lower() not in _BOOLEANS:
        raise ValueError("it is no boolean")
    return _BOOLEANS[value.lower()]


def no_aggregation(value: str) -> bool:
    """Parse a boolean that can only be false so far."""
    if boolean(value):
        raise ValueError("aggregation is not supported yet")
    return False


def no_compression(value: str) -> str:
    """Take "none", in any case."""
    name = value.lower()
    if name in _COMPRESSIONS_TO_COME:
        raise ValueError(f"compression with {name} is not supported yet")
    if name != "none":
        raise ValueError("it is no known compression")
    return name


def one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    """Return a parser for one of a few names, in any case."""

    def parse(value: str) -> str:
        name = value.lower()
        if name not in names:
            raise ValueError("it is no known choice")
        return name

    return parse


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for plain decimal digits from low to high, both included."""

    def parse(value: str) -> int:
        if not re.fullmatch("-?[0-9]+", value):
            raise ValueError("it is no whole number")
        number = int(value) if len(value) <= _MAX_DIGITS else None
        if number is None or not low <= number <= high:
            raise ValueError("it is out of range")
        return number

    return parse


def size(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for bytes from low to high, both included: plain, or with K, M or G.

    As in Fluent Bit: K is 1000, a B may follow it, upper or lower case, and a fraction is fine.
    """

    def parse(value: str) -> int:
        match = _SIZE.fullmatch(value)
        if not match:
            raise ValueError("it is no size")
        number = Decimal(match[1]) if len(value) <= _MAX_DIGITS else Decimal(-1)
        n_bytes = int(number * _UNITS[(match[2] or "").upper()])
        if not low <= n_bytes <= high:
            raise ValueError("it is out of range")
        return n_bytes

    return parse


def directory(value: str) -> str:
    """Take the absolute path of a directory; slashes at its end do not count."""
    if not value.startswith("/"):
        raise ValueError("it is no absolute path, which starts with /")
    if "\0" in value:
        raise ValueError("it holds a NUL, which no path may hold")
    return value.rstrip("/") or "/"


def seconds(value: str) -> float:
    """Parse seconds in plain decimal digits, 0 for none."""
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        raise ValueError("it is no decimal number")
    number = float(value) if len(value) <= _MAX_DIGITS else -1.0
    if number != 0 and not MIN_SECONDS <= number <= MAX_SECONDS:
        raise ValueError("it is out of range")
    return abs(number)


def region(value: str) -> str:
    """Take what can be a part of a host name, as a region is."""
    return _matching(_REGION, value, "it cannot be the name of a region")


def stream(value: str) -> str:
    """Take the name or the ARN of a stream."""
    if value.startswith("arn:"):
        return _matching(_STREAM_ARN, value, "it is no ARN of a stream")
    return _matching(_STREAM_NAME, value, "it cannot be the name of a stream")


def region_of_arn(value: str) -> str | None:
    """Return the region in a stream's ARN, None when the stream is given by its name."""
    match = _STREAM_ARN.fullmatch(value)
    return match["region"] if match else None


def role_arn(value: str) -> str:
    """Take the ARN of an IAM role."""
    return _matching(_ROLE_ARN, value, "it is no ARN of a role")


def external_id(value: str) -> str:
    """Take what STS takes as an external id."""
    return _matching(_EXTERNAL_ID, value, "its length or one of its characters is not allowed")


def _matching(pattern: re.Pattern[str], value: str, otherwise: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(otherwise)
    return value


def key_path(value: str) -> tuple[str, ...]:
    """Split a partition key's path at "->"; nothing is trimmed, as in the Go plugin."""
    if value == "log":
        raise ValueError(
            "the text of a log line is no key that groups records; the Go plugin refuses it too"
        )
    names = tuple(value.split("->"))
    if "" in names:
        raise ValueError("a name before or after '->' is empty")
    if len(names) > MAX_NESTING:
        raise ValueError(f"it is nested deeper than {MAX_NESTING} levels")
    return names


def key_names(value: str) -> tuple[str, ...]:
    """Split at commas and trim; empty names, as after a comma at the end, do not count."""
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names:
        raise ValueError("it names no key")
    return names


def time_format(value: str) -> str:
    """Take a format that split_subseconds() understands, unchanged."""
    split_subseconds(value)
    return value


def endpoint(value: str) -> str:
    """Check an http or https URL without query; a missing scheme becomes https."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "https", value
    scheme = scheme.lower()
    if scheme not in {"http", "https"}:
        raise ValueError("its scheme is neither http nor https")
    authority, _, path = rest.partition("/")
    user_info, _, address = authority.rpartition("@")
    if not _URL_PATH.fullmatch(path) or not _USER_INFO.fullmatch(user_info):
        raise ValueError("it holds a query, a fragment or a character that no URL may hold")
    _check_address(address)
    return f"{scheme}://{rest}"


def _check_address(address: str) -> None:
    match = _HOST_AND_PORT.fullmatch(address)
    host, port = match.groups() if match else (address, None)
    if not host:
        raise ValueError("it has no host")
    if not _is_host(host):
        raise ValueError(f"'{printable(host, 60)}' cannot be a host")
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= _MAX_PORT):
        raise ValueError(f"'{printable(port, 20)}' is no port from 1 to {_MAX_PORT}")


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _HOST_NAME.fullmatch(host) is not None
    try:
        return ipaddress.IPv6Address(host[1:-1]).scope_id is None
    except ValueError:
        return False


def without_user_info(value: str) -> str:
    """Return a URL, even a malformed one, with everything between scheme and @ replaced."""
    return re.sub(r"\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1***@", value, flags=re.DOTALL)


def is_open_to_others(url: str | None) -> bool:
    """Tell whether what goes to a URL is unencrypted and leaves this machine."""
    if url is None or not url.startswith("http://"):
        return False
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
