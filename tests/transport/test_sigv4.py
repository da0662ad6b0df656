"""Our signatures are those of botocore's own signer, for any request."""

import hashlib
import re
import string
from calendar import timegm
from time import gmtime, strftime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinesis_fast.transport import NotSentError
from kinesis_fast.transport.direct.sigv4 import Keys, Signer, host_header

HEADERS = {
    "X-Amz-Target": "Kinesis_20131202.PutRecords",
    "Content-Type": "application/x-amz-json-1.1",
    "User-Agent": "kinesis-fast/0 of  a   test",
}
PATH = string.ascii_letters + string.digits + "/._~-!$&'()*+,;=:@"
KEY = st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=60)
tokens = st.none() | st.text(string.printable[:95], min_size=1, max_size=300).map(str.strip)
hosts = st.sampled_from(
    ["127.0.0.1", "localhost", "[::1]", "kinesis.eu-west-1.amazonaws.com", "a-b.c.example"]
)
ports = st.sampled_from(["", ":80", ":443", ":4567"])
users = st.sampled_from(["", "me:sesame@"])
paths = st.text(PATH, max_size=20).map(lambda path: f"/{path}" if path else "")
urls = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https"]),
    users,
    hosts,
    ports,
    paths,
)
keys_of = st.builds(Keys, KEY, KEY, tokens)
moments = st.integers(timegm((1990, 1, 1, 0, 0, 0)), timegm((2100, 1, 1, 0, 0, 0)))


def by_botocore(
    url: str, keys: Keys, at_s: int, body: bytes, headers: dict[str, str], scope: tuple[str, str]
) -> str:
    """Return the header Authorization."""
    request = AWSRequest("POST", url, dict(headers), body)
    region, service = scope
    signer = SigV4Auth(Credentials(*keys), service, region)
    request.context["timestamp"] = strftime("%Y%m%dT%H%M%SZ", gmtime(at_s))
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return str(request.headers["Authorization"])


@settings(max_examples=200, deadline=None)
@given(urls, keys_of, moments, st.binary(max_size=200), st.lists(moments, max_size=2))
@example("http://h//a/../b/%20", Keys("A", "s", "a  b"), 0, b"", [86399, 86400])
def test_signatures_are_botocores(
    url: str, keys: Keys, at_s: int, body: bytes, more: list[int]
) -> None:
    scope = ("eu-west-1", "kinesis")
    signer = Signer(url, HEADERS, *scope)
    for moment in (at_s, *more, at_s + 86_400):
        head = signer.head(keys, moment, hashlib.sha256(body).hexdigest(), len(body)).decode()
        authorization = by_botocore(url, keys, moment, body, HEADERS, scope)
        assert f"\r\nAuthorization: {authorization}\r\n" in head
        assert f"\r\nContent-Length: {len(body)}\r\n\r\n" in head
        if keys.token:
            assert f"\r\nX-Amz-Security-Token: {keys.token}\r\n" in head


@settings(max_examples=100, deadline=None)
@given(st.lists(keys_of, min_size=2, max_size=4), moments, st.lists(st.integers(0, 3), max_size=8))
@example([Keys("A", "s", None), Keys("B", "t", "token")], 0, [0, 1, 0])
def test_keys_that_alternate(known: list[Keys], at_s: int, order: list[int]) -> None:
    scope = ("us-gov-west-1", "kinesis")
    signer = Signer("https://h.example/", HEADERS, *scope)
    for index in order:
        keys = known[index % len(known)]
        head = signer.head(keys, at_s, hashlib.sha256(b"").hexdigest(), 0).decode()
        assert by_botocore("https://h.example/", keys, at_s, b"", HEADERS, scope) in head


def test_the_head_is_one_request() -> None:
    signer = Signer("http://me:sesame@[::1]:81/a", HEADERS, "r", "kinesis")
    head = signer.head(Keys("AKID", "s", "t"), 0, "0" * 64, 7).decode()
    lines = head.split("\r\n")
    assert lines[0] == "POST /a HTTP/1.1"
    assert lines[1] == "Host: [::1]:81"
    assert lines[-2:] == ["", ""]
    names = [line.partition(":")[0].lower() for line in lines[1:-2]]
    assert sorted(names) == [
        *("authorization", "content-length", "content-type", "host", "user-agent", "x-amz-date"),
        *("x-amz-security-token", "x-amz-target"),
    ]
    signed = re.search("SignedHeaders=([^,]*)", head)
    assert signed
    assert signed[1] == "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
    assert "sesame" not in head


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://h:443", "h"),
        ("http://h:443", "h:443"),
        ("https://h:80/", "h:80"),
        ("http://u:p@H:80/x", "h"),
        ("https://[2001:DB8::1]/", "[2001:db8::1]"),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert host_header(url) == host


@pytest.mark.parametrize("bad", ["a\r\nX-Injected: 1", "a\n", "\x00", "\u00e9", "a\tb"])
def test_credentials_that_no_header_can_hold(bad: str) -> None:
    signer = Signer("https://h", HEADERS, "r", "kinesis")
    with pytest.raises(NotSentError, match=r"access key .* no HTTP header.*check the source"):
        signer.head(Keys(bad, "s", None), 0, "", 0)
    with pytest.raises(NotSentError, match="session token") as caught:
        signer.head(Keys("A", "s", f"{bad}sesame"), 0, "", 0)
    assert "sesame" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    keys = Keys("AKID", "sesame", "open-sesame")
    signer = Signer("https://h", HEADERS, "r", "kinesis")
    signer.head(keys, 0, "", 0)
    shown = f"{keys!r} {keys} {signer!r} {signer._templates!r}"
    assert "sesame" not in shown
    assert "AKID" in shown
