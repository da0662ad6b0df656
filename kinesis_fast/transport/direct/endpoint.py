"""Where PutRecords goes and how it is signed: botocore's own word, read off a call of its client.

The client is called once without records. Its request is taken out, signed, in the documented
event ``before-send``, and nothing is sent. So endpoint rules, accounts in endpoints, FIPS and
whatever else botocore knows hold here as well.
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
# Headers that the signer writes, or that say something about botocore's own attempts.
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
# A URL that is sent as it stands; in others urllib3 would change something.
PLAIN_URL: Final = re.compile(
    r"https?://[^/?#\s]+(/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*)?", re.ASCII
)


class OddRequestError(Exception):
    """botocore's request has something that the direct transport cannot do; the text says what."""


class Route(NamedTuple):
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


def find_route(client: Any, stream: str) -> Route:
    """Ask a botocore client how it would send PutRecords.

    Args:
        client: has credentials; this sends nothing.
        stream: name or ARN of the stream.

    Raises:
        OddRequestError: the direct transport could not send it in the same way.
        BotoCoreError, ClientError, OSError, JSONDecodeError: credentials or endpoint cannot be had.
    """
    request = _prepared(client, stream)
    headers = {name: _text(value) for name, value in request.headers.items()}
    scope = CREDENTIAL.fullmatch(headers.get("Authorization", ""))
    if scope is None:
        raise OddRequestError("botocore does not sign the requests with Signature Version 4")
    if request.method != "POST" or not PLAIN_URL.fullmatch(request.url):
        raise OddRequestError("the URL of the endpoint has unusual characters")
    region, service = scope.groups()
    kept = {name: value for name, value in headers.items() if name.lower() not in NOT_KEPT}
    return Route(request.url, Signer(request.url, kept, region, service))


def check_signature(client: Any, stream: str, keys: Keys) -> None:
    """Sign a request of a client once more and compare.

    Args:
        client: signs with `keys`; this sends nothing.
        stream: name or ARN of the stream.
        keys: the client's.

    Raises:
        OddRequestError: the signatures differ.
        BotoCoreError: the endpoint cannot be had.
    """
    signer = find_route(client, stream).signer
    request = _prepared(client, stream)
    body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
    theirs = _text(request.headers["Authorization"])
    at_s = timegm(strptime(_text(request.headers["X-Amz-Date"]), "%Y%m%dT%H%M%SZ"))
    ours = signer.head(keys, at_s, sha256(body).hexdigest(), len(body))
    if f"\r\nAuthorization: {theirs}\r\n".encode() not in ours:
        raise OddRequestError("botocore signs the requests in a way of its own")


def why_not(client: Any) -> str | None:
    """Return what of a client's configuration the direct transport cannot do, None if nothing."""
    config, url = client.meta.config, client.meta.endpoint_url
    proxies = get_environ_proxies(url) if config.proxies is None else config.proxies
    scheme = url.partition(":")[0]
    if proxies.get(scheme):
        return f"a proxy is configured for {scheme}"
    if config.client_cert:
        return "a client certificate is configured"
    return None


def _prepared(client: Any, stream: str) -> AWSPreparedRequest:
    taken: list[AWSPreparedRequest] = []

    def take(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        taken.append(request)
        return AWSResponse(request.url, 200, {}, _NoBody())

    client.meta.events.register("before-send.kinesis.PutRecords", take)
    try:
        client.put_records(Records=[], **stream_parameter(stream))
    finally:
        client.meta.events.unregister("before-send.kinesis.PutRecords", take)
    if not taken:
        raise OddRequestError("botocore did not show its request in before-send")
    return taken[0]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
