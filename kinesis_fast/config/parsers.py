"""Parsers of option texts: each returns the value or raises ValueError with the reason."""

import ipaddress
import os
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from kinesis_fast.config.time_format import split_subseconds
from kinesis_fast.limits import MAX_NESTING
from kinesis_fast.logs import printable

MAX_SECONDS: Final = 86_400
MIN_SECONDS: Final = 0.001  # no response arrives in less time, so every request would fail

_BOOLEANS: Final = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}
_MAX_DIGITS: Final = 18  # a longer number is out of every range below
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:([KMG])B?)?", re.IGNORECASE | re.ASCII)
_UNITS: Final = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}

_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL")

_HOST_LABEL: Final = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
# The regions of all partitions have this form: us-west-2, us-gov-east-1, us-iso-east-1,
# eusc-de-east-1; botocore's pseudo regions for FIPS too.
_REGION_NAME: Final = r"[a-z]{2,}(?:-[a-z]+){1,3}-[0-9]{1,2}"
_REGION: Final = re.compile(rf"{_REGION_NAME}(?:-fips)?")
_ZONE: Final = re.compile(rf"({_REGION_NAME})(?:[a-z]|-[a-z0-9-]+)")
_ANY_REGION: Final = re.compile(_HOST_LABEL)
_HOST_NAME: Final = re.compile(rf"(?=.{{1,255}}\Z){_HOST_LABEL}(\.{_HOST_LABEL})*\.?")
_HOST_AND_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(.*))?")
_USER_INFO: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%-]*")
_URL_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%/-]*")
_MAX_PORT: Final = 65_535

_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_ANY_STREAM_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_STREAM_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:kinesis:(?P<region>[a-z0-9-]+):[0-9]{12}:stream/[A-Za-z0-9_.-]{1,128}"
)
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,576}")
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")


def is_unicode(text: str) -> bool:
    """Tell whether a text can be written in UTF-8: it has no lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def text(value: str) -> str:
    """Accept any text."""
    return value


def boolean(value: str) -> bool:
    """Parse true/on/yes/1 and false/off/no/0 in any case."""
    if value.lower() not in _BOOLEANS:
        raise ValueError("it is not a boolean")
    return _BOOLEANS[value.lower()]


def one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    """Return a parser that accepts one of these names, in any case."""

    def parse(value: str) -> str:
        name = value.lower()
        if name not in names:
            raise ValueError("it is not one of the allowed values")
        return name

    return parse


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for decimal digits whose value is from low to high, both included."""

    def parse(value: str) -> int:
        if not re.fullmatch("-?[0-9]+", value):
            raise ValueError("it is not a whole number")
        number = int(value) if len(value) <= _MAX_DIGITS else None
        if number is None or not low <= number <= high:
            raise ValueError("it is out of range")
        return number

    return parse


def power_of_two(high: int) -> Callable[[str], int]:
    """Return a parser for the powers of two from 1 to high."""
    parse_number = whole_number(1, high)

    def parse(value: str) -> int:
        number = parse_number(value)
        if number.bit_count() != 1:
            raise ValueError("it is not a power of two")
        return number

    return parse


def size(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for a number of bytes from low to high, both included.

    As in Fluent Bit, the number may have a fraction and a unit in any case: K (1000), M or G, or
    KB, MB, GB.
    """

    def parse(value: str) -> int:
        match = _SIZE.fullmatch(value)
        if not match:
            raise ValueError("it is not a size")
        number = Decimal(match[1]) if len(value) <= _MAX_DIGITS else Decimal(-1)
        n_bytes = int(number * _UNITS[(match[2] or "").upper()])
        if not low <= n_bytes <= high:
            raise ValueError("it is out of range")
        return n_bytes

    return parse


def size_text(n_bytes: int) -> str:
    """Return the shortest text that size() parses to this number of bytes."""
    units = (unit for unit in "GMK" if n_bytes % _UNITS[unit] == 0)
    unit = next(units, "") if n_bytes else ""
    return f"{n_bytes // _UNITS[unit]}{unit}"


def directory(value: str) -> str:
    """Accept the absolute path of a directory; slashes at its end are removed."""
    if not value.startswith("/"):
        raise ValueError("it is not an absolute path, which starts with /")
    if "\0" in value:
        raise ValueError("it contains a NUL character")
    return value.rstrip("/") or "/"


def file(value: str) -> str:
    """Accept the absolute path of a file."""
    path = directory(value)
    if path != value:
        raise ValueError("it is the path of a directory")
    return path


def listen_address(value: str) -> tuple[str, int]:
    """Return IP address and port; a port alone is on 127.0.0.1, and so is localhost."""
    host, separator, port = value.rpartition(":")
    host = host if separator else "localhost"
    address = "127.0.0.1" if host.lower() == "localhost" else host
    try:
        if address.startswith("[") and address.endswith("]"):
            address = str(ipaddress.IPv6Address(address[1:-1]))
        else:
            address = str(ipaddress.IPv4Address(address))
    except ValueError:
        raise ValueError(f"'{printable(host, 60)}' is not an IP address") from None
    if not _is_port(port):
        raise ValueError(f"'{printable(port, 20)}' is not a port from 1 to {_MAX_PORT}")
    return address, int(port)


def address_text(address: tuple[str, int]) -> str:
    """Return the text that listen_address() parses to this address."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def seconds(value: str) -> float:
    """Parse seconds in decimal digits with an optional fraction; 0 means no limit."""
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        raise ValueError("it is not a decimal number")
    number = float(value) if len(value) <= _MAX_DIGITS else -1.0
    if number != 0 and not MIN_SECONDS <= number <= MAX_SECONDS:
        raise ValueError("it is out of range")
    return abs(number)


def is_endpoint_in_environment() -> bool:
    """Tell whether botocore takes the endpoint of Kinesis from the environment."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return False
    return any(map(os.environ.get, _ENDPOINT_VARIABLES))


def region(value: str) -> str:
    """Accept what has the form of a region of AWS, even one that is not known yet."""
    zone = _ZONE.fullmatch(value)
    if zone and not _REGION.fullmatch(value):
        raise ValueError(f"it is the name of a zone; its region is {zone[1]}")
    return _matching(_REGION, value, "it cannot be the name of a region")


def any_region(value: str) -> str:
    """Accept any label of a host name, as compatible services have it."""
    return _matching(_ANY_REGION, value, "it cannot be the name of a region")


def stream(value: str) -> str:
    """Accept the name or the ARN of a stream."""
    return _stream(_STREAM_NAME, value)


def any_stream(value: str) -> str:
    """Accept any name without control characters, as compatible services have it, or an ARN."""
    return _stream(_ANY_STREAM_NAME, value)


def _stream(names: re.Pattern[str], value: str) -> str:
    if value.startswith("arn:"):
        return _matching(_STREAM_ARN, value, "it is not the ARN of a stream")
    return _matching(names, value, "it cannot be the name of a stream")


def region_of_arn(value: str) -> str | None:
    """Return the region in a stream's ARN; None if the stream is given by its name."""
    match = _STREAM_ARN.fullmatch(value)
    return match["region"] if match else None


def role_arn(value: str) -> str:
    """Accept the ARN of an IAM role."""
    return _matching(_ROLE_ARN, value, "it is not the ARN of a role")


def external_id(value: str) -> str:
    """Accept what STS accepts as an external id."""
    return _matching(_EXTERNAL_ID, value, "its length or one of its characters is not allowed")


def _matching(pattern: re.Pattern[str], value: str, otherwise: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(otherwise)
    return value


def key_path(value: str) -> tuple[str, ...]:
    """Split the path of partition_key at "->"; spaces are kept, as in the Go plugin."""
    if value == "log":
        raise ValueError(
            "log lines differ, so they cannot group records; the Go plugin refuses it too"
        )
    names = tuple(value.split("->"))
    if "" in names:
        raise ValueError("a name before or after '->' is empty")
    if len(names) > MAX_NESTING:
        raise ValueError(f"it is nested deeper than {MAX_NESTING} levels")
    return names


def key_names(value: str) -> tuple[str, ...]:
    """Split at commas and remove spaces around the names; empty and repeated names are dropped."""
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names:
        raise ValueError("it contains no key")
    return names


def time_format(value: str) -> str:
    """Accept a format that split_subseconds() understands."""
    split_subseconds(value)
    return value


def endpoint(value: str) -> str:
    """Accept an http or https URL without a query; a missing scheme becomes https."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "https", value
    scheme = scheme.lower()
    if scheme not in {"http", "https"}:
        raise ValueError("its scheme is neither http nor https")
    authority, _, path = rest.partition("/")
    user_info, _, address = authority.rpartition("@")
    if not _URL_PATH.fullmatch(path) or not _USER_INFO.fullmatch(user_info):
        raise ValueError("it contains a query, a fragment or a character that no URL may contain")
    _check_address(address)
    return f"{scheme}://{rest}"


def _check_address(address: str) -> None:
    match = _HOST_AND_PORT.fullmatch(address)
    host, port = match.groups() if match else (address, None)
    if not host:
        raise ValueError("it has no host")
    if not _is_host(host):
        shown = printable(host, 60)
        if _is_host(host.replace("_", "-")):
            raise ValueError(
                f"'{shown}' has an underscore, and botocore connects to no such host; use an alias "
                "of the host or its address"
            )
        raise ValueError(f"'{shown}' is not a host")
    if port is not None and not _is_port(port):
        raise ValueError(f"'{printable(port, 20)}' is not a port from 1 to {_MAX_PORT}")


def _is_port(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", text)) and 1 <= int(text) <= _MAX_PORT


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _HOST_NAME.fullmatch(host) is not None
    try:
        return ipaddress.IPv6Address(host[1:-1]).scope_id is None
    except ValueError:
        return False


def without_user_info(value: str) -> str:
    """Return a URL, even a malformed one, with all text between the scheme and @ masked."""
    return re.sub(r"\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1***@", value, flags=re.DOTALL)


def is_open_to_others(url: str | None) -> bool:
    """Tell whether traffic to a URL is unencrypted and leaves this machine."""
    if url is None or not url.startswith("http://"):
        return False
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
