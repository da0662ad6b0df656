"""AWS Signature Version 4 for one kind of request; the parts that do not change are cached.

The rules are those of "Create a signed AWS API request" in the IAM User Guide.
"""

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from botocore.utils import normalize_url_path

from kinesis_fast.transport import JSON_TYPE, NotSentError

ALGORITHM: Final = "AWS4-HMAC-SHA256"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Headers that are not signed, in lower case; a proxy on the way may change them.
NOT_SIGNED: Final = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})
DATE_MARK: Final = "\0"  # stands for the value of x-amz-date; no header can hold it


class Keys(NamedTuple):
    """Credentials as they are at one moment. The repr does not show the secrets."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"Keys({self.access_key})"


class _Template(NamedTuple):
    """What all requests have in common that one set of keys signs on one day."""

    keys: Keys
    date: str
    signing_key: bytes
    scope: str
    canonical: tuple[str, str]  # the canonical request before and after the value of x-amz-date
    head: tuple[str, str]  # the head before the time, and from there to the signature

    def __repr__(self) -> str:
        return f"_Template({self.scope})"


class Signer:
    """Writes the heads of POST requests to one URL. Several threads may call it at once.

    Args:
        url: where the requests go: http or https, ASCII, without a query.
        headers: the headers of all requests, without Host, Content-Length and those of the
            signature. Their Content-Type is that of JSON.
        region: the region that the signature is valid for.
        service: the service's name in signatures.
    """

    def __init__(self, url: str, headers: Mapping[str, str], region: str, service: str) -> None:
        self._path = urlsplit(url).path or "/"
        self._headers = {"Host": host_header(url), **headers}
        self._scope = (region, service, "aws4_request")
        self._templates: dict[str, _Template] = {}  # by content type

    def head(
        self, keys: Keys, at_s: float, digest: str, n_bytes: int, content_type: str = JSON_TYPE
    ) -> bytes:
        """Return the request line and all headers, with the empty line at the end.

        Args:
            keys: the credentials to sign with.
            at_s: the time of the signature, seconds since the epoch.
            digest: SHA-256 of the body in lower-case hexadecimal digits.
            n_bytes: length of the body.
            content_type: of the body.

        Raises:
            NotSentError: the credentials have a character that no header can hold.
        """
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))
        template = self._templates.get(content_type)
        if template is None or template.date != now[:8] or template.keys != keys:
            template = self._new_template(keys, now[:8], content_type)
            self._templates[content_type] = template
        before, after = template.canonical
        canonical = sha256(f"{before}{now}{after}{digest}".encode()).hexdigest()
        text = f"{ALGORITHM}\n{now}\n{template.scope}\n{canonical}"
        signature = hmac.digest(template.signing_key, text.encode(), "sha256").hex()
        start, middle = template.head
        return f"{start}{now}{middle}{signature}\r\nContent-Length: {n_bytes}\r\n\r\n".encode()

    def _new_template(self, keys: Keys, date: str, content_type: str) -> _Template:
        _check(keys)
        key = f"AWS4{keys.secret_key}".encode()
        for name in (date, *self._scope):
            key = hmac.digest(key, name.encode(), "sha256")
        scope = "/".join((date, *self._scope))
        headers = self._headers | ({"X-Amz-Security-Token": keys.token} if keys.token else {})
        if content_type != JSON_TYPE:
            kept = {n: v for n, v in headers.items() if n.lower() != "content-type"}
            headers = {**kept, "Content-Type": content_type}
        signed = {
            name.lower(): " ".join(value.split())
            for name, value in headers.items()
            if name.lower() not in NOT_SIGNED
        }
        signed["x-amz-date"] = DATE_MARK
        names = ";".join(sorted(signed))
        path = quote(normalize_url_path(self._path), safe="/~")
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        before, _, after = f"POST\n{path}\n\n{lines}\n{names}\n".partition(DATE_MARK)
        fixed = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return _Template(
            keys,
            date,
            key,
            scope,
            (before, after),
            (
                f"POST {self._path} HTTP/1.1\r\n{fixed}X-Amz-Date: ",
                f"\r\nAuthorization: {ALGORITHM} Credential={keys.access_key}/{scope}, "
                f"SignedHeaders={names}, Signature=",
            ),
        )


def host_header(url: str) -> str:
    """Return the host of a URL, with the port unless the scheme implies it; without user-info."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    return host if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{port}"


def _check(keys: Keys) -> None:
    for what, text in (("access key", keys.access_key), ("session token", keys.token or "")):
        if not (text.isascii() and text.isprintable()):
            raise NotSentError(
                f"the {what} of the AWS credentials has a character that no HTTP header can hold, "
                "a line break for instance; check the source of the credentials"
            )
