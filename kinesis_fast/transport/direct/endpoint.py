"""Where PutRecords goes and how it is signed, read off a request that botocore prepares.

A botocore client is called without records. A handler of the documented event ``before-send``
takes the signed request out, and nothing is sent. So endpoint rules, accounts in endpoints, FIPS
and whatever else botocore knows hold here as well.
"""

import re
from calendar import timegm
from collections.abc import Iterator
from hashlib import sha256
from time import strptime
from typing import Any, Final, NamedTuple

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.utils import get_environ_proxies

from kinesis_fast.transport.direct.sigv4 import Keys, Signer
from kinesis_fast.transport.errors import stream_parameter

CREDENTIAL: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/([^/,]+)/([^/,]+)/aws4_request, .*"
)
# Headers that the signer writes, or that are about botocore's own attempts.
NOT_KEPT: Final = frozenset(
    {
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "content-length",
        "x-amz-date",
        "x-amz-security-token",
    }
)
# A URL without a query that is sent as it stands; urllib3 would change something in others.
PLAIN_URL: Final = re.compile(
    r"https?://[^/?#\s]+(/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*)?", re.ASCII
)


class NeedsBotocoreError(Exception):
    """The direct transport cannot send what botocore would send; the text says why."""


class Endpoint(NamedTuple):
    """What all requests have in common.

    Attributes:
        url: where they go.
        signer: writes their heads.
    """

    url: str
    signer: Signer


class _NoBody:
    def stream(self) -> Iterator[bytes]:
        yield b"{}"


def find_endpoint(client: Any, stream: str) -> Endpoint:
    """Find out how a botocore client would send PutRecords; this sends nothing.

    Args:
        client: has credentials.
        stream: name or ARN of the stream.

    Raises:
        NeedsBotocoreError: the direct transport could not send it in the same way.
        BotoCoreError, ClientError, OSError, JSONDecodeError: credentials or endpoint are missing.
    """
    return _endpoint_of(_prepared(client, stream))


def check_signature(client: Any, stream: str, keys: Keys) -> None:
    """Sign a request of a client once more and compare; this sends nothing.

    Args:
        client: signs with `keys`.
        stream: name or ARN of the stream.
        keys: the client's.

    Raises:
        NeedsBotocoreError: the signatures differ, or as `find_endpoint`.
        BotoCoreError: the endpoint is missing.
    """
    request = _prepared(client, stream)
    signer = _endpoint_of(request).signer
    body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
    theirs = _text(request.headers["Authorization"])
    at_s = timegm(strptime(_text(request.headers["X-Amz-Date"]), "%Y%m%dT%H%M%SZ"))
    ours = signer.head(keys, at_s, sha256(body).hexdigest(), len(body))
    if f"\r\nAuthorization: {theirs}\r\n".encode() not in ours:
        raise NeedsBotocoreError("botocore signs the requests in a way of its own")


def check_settings(client: Any) -> None:
    """Look for settings of a client that the direct transport does not support.

    Raises:
        NeedsBotocoreError: there is one.
    """
    config, url = client.meta.config, client.meta.endpoint_url
    proxies = get_environ_proxies(url) if config.proxies is None else config.proxies
    scheme = url.partition(":")[0]
    if proxies.get(scheme):
        raise NeedsBotocoreError(f"a proxy is configured for {scheme}")
    if config.client_cert:
        raise NeedsBotocoreError("a client certificate is configured")


def _prepared(client: Any, stream: str) -> AWSPreparedRequest:
    captured: list[AWSPreparedRequest] = []

    def capture(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        captured.append(request)
        return AWSResponse(request.url, 200, {}, _NoBody())

    client.meta.events.register("before-send.kinesis.PutRecords", capture)
    try:
        client.put_records(Records=[], **stream_parameter(stream))
    finally:
        client.meta.events.unregister("before-send.kinesis.PutRecords", capture)
    if not captured:
        raise NeedsBotocoreError("botocore did not show its request in before-send")
    return captured[0]


def _endpoint_of(request: AWSPreparedRequest) -> Endpoint:
    headers = {name: _text(value) for name, value in request.headers.items()}
    scope = CREDENTIAL.fullmatch(headers.get("Authorization", ""))
    if scope is None:
        raise NeedsBotocoreError("botocore does not sign the requests with Signature Version 4")
    if request.method != "POST" or not PLAIN_URL.fullmatch(request.url):
        raise NeedsBotocoreError("the URL of the endpoint has unusual characters")
    region, service = scope.groups()
    kept = {name: value for name, value in headers.items() if name.lower() not in NOT_KEPT}
    return Endpoint(request.url, Signer(request.url, kept, region, service))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
