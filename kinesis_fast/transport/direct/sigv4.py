"""AWS Signature Version 4 for one kind of request: what does not change is put together once.

The rules are those of "Create a signed AWS API request" in the IAM User Guide.
"""

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from botocore.utils import normalize_url_path

from kinesis_fast.transport import NotSentError

ALGORITHM: Final = "AWS4-HMAC-SHA256"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Headers that take no part in a signature, in lower case; somebody on the way may change them.
NOT_SIGNED: Final = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})


class Keys(NamedTuple):
    """Credentials as they are at one moment; the secrets are not shown."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"Keys({self.access_key})"


class _Day(NamedTuple):
    """All that is the same in the requests that one set of keys signs on one day."""

    keys: Keys
    date: str
    signing_key: bytes
    scope: str
    canonical: tuple[str, str]  # before and after the value of x-amz-date; then comes the digest
    head: tuple[str, str, str]  # before the time, from there to the signature, behind it

    def __repr__(self) -> str:
        return f"_Day({self.scope})"


class Signer:
    """Writes the head of POST requests to one URL; may be called by several threads at once.

    Args:
        url: where the requests go, http or https, ASCII.
        headers: the headers that all requests have, but for Host, Content-Length and those that
            belong to the signature.
        region: what the signature is for, as `service`.
        service: the service's name in signatures.
    """

    def __init__(self, url: str, headers: Mapping[str, str], region: str, service: str) -> None:
        parts = urlsplit(url)
        self._host = host_header(url)
        self._path = quote(normalize_url_path(parts.path), safe="/~")
        self._query = "&".join(
            f"{name}={value}"
            for name, value in sorted(_pair(pair) for pair in parts.query.split("&") if pair)
        )
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = dict(headers)
        self._scope_end = f"{region}/{service}/aws4_request"
        self._names = (region, service, "aws4_request")
        self._day: _Day | None = None

    def head(self, keys: Keys, at_s: float, digest: str, n_bytes: int) -> bytes:
        """Return the request line and all headers, up to the empty line.

        Args:
            keys: what to sign with.
            at_s: the time of the signature, seconds since the epoch.
            digest: SHA-256 of the body in lower-case hexadecimal digits.
            n_bytes: length of the body.

        Raises:
            NotSentError: the credentials hold a character that no header can hold.
        """
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))
        day = self._day
        if day is None or day.date != now[:8] or day.keys != keys:
            self._day = day = self._new_day(keys, now[:8])
        before, after = day.canonical
        canonical = sha256(f"{before}{now}{after}{digest}".encode()).hexdigest()
        text = f"{ALGORITHM}\n{now}\n{day.scope}\n{canonical}"
        signature = hmac.digest(day.signing_key, text.encode(), "sha256").hex()
        start, middle, end = day.head
        return f"{start}{now}{middle}{signature}{end}{n_bytes}\r\n\r\n".encode()

    def _new_day(self, keys: Keys, date: str) -> _Day:
        _check(keys)
        key = f"AWS4{keys.secret_key}".encode()
        for name in (date, *self._names):
            key = hmac.digest(key, name.encode(), "sha256")
        scope = f"{date}/{self._scope_end}"
        token = {"X-Amz-Security-Token": keys.token} if keys.token else {}
        signed = {
            name.lower(): " ".join(value.split())
            for name, value in (self._headers | token | {"Host": self._host}).items()
            if name.lower() not in NOT_SIGNED
        }
        names = sorted([*signed, "x-amz-date"])
        before = [f"{name}:{signed[name]}\n" for name in names if name < "x-amz-date"]
        after = [f"{name}:{signed[name]}\n" for name in names if name > "x-amz-date"]
        fixed = {"Host": self._host} | self._headers | token
        lines = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        return _Day(
            keys,
            date,
            key,
            scope,
            (
                f"POST\n{self._path}\n{self._query}\n{''.join(before)}x-amz-date:",
                f"\n{''.join(after)}\n{';'.join(names)}\n",
            ),
            (
                f"POST {self._target} HTTP/1.1\r\n{lines}X-Amz-Date: ",
                f"\r\nAuthorization: {ALGORITHM} Credential={keys.access_key}/{scope}, "
                f"SignedHeaders={';'.join(names)}, Signature=",
                "\r\nContent-Length: ",
            ),
        )


def host_header(url: str) -> str:
    """Return the host of a URL and its port, unless that is the scheme's; without user-info."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    return host if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{port}"


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _check(keys: Keys) -> None:
    for what, text in (("access key", keys.access_key), ("session token", keys.token or "")):
        if not (text.isascii() and text.isprintable()):
            raise NotSentError(
                f"the {what} of the AWS credentials holds a character that no HTTP header can "
                "hold, a line break for instance; check the source of the credentials"
            )
