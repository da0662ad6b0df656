"""Both transports with bodies in CBOR: the header, the signature, and secrets in responses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cbor_service import CBOR_HEADERS, cbor_answer
from chunks import output_config
from direct import BODY, Service
from raw_server import RawServer, http

from kinesis_fast.transport import CBOR_TYPE, JSON_TYPE, Response, is_cbor, secrets
from kinesis_fast.transport.client import open_transport
from kinesis_fast.transport.direct.sigv4 import Keys, Signer
from kinesis_fast.transport.secrets import MASK, without_secrets

CBOR_BODY = b"\xa2gRecords\x99\0\0jStreamNamedlogs"
TOKEN = "IQoJb3JpZ2luX2VjEDIaCXVzLWVhc3QtMSJHMEUC"


@pytest.fixture
def transport(server: RawServer, transport_name: str) -> Iterator[Any]:
    transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
    yield transport
    transport.close()


@pytest.fixture
def _known_token() -> Iterator[None]:
    before = list(secrets._lasting)
    secrets.learn(TOKEN)
    yield
    secrets._lasting[:] = before


def test_the_type_is_sent_and_signed(transport: Any, server: RawServer, service: Service) -> None:
    """Sign what arrived once more, with botocore's own signer, and compare."""
    assert transport.takes_cbor
    answer = cbor_answer([None])
    service.response = http(200, answer.body, content_type=CBOR_TYPE)
    for body, content_type in ((CBOR_BODY, CBOR_TYPE), (BODY, JSON_TYPE), (CBOR_BODY, CBOR_TYPE)):
        more = () if content_type == JSON_TYPE else (content_type,)
        response = transport.send(memoryview(body), 1, None, *more)
        assert (response.status, response.body) == (200, answer.body)
        assert is_cbor(response.headers)
        arrived = server.arrived[-1]
        assert arrived.body == body
        assert arrived.headers["content-type"] == content_type
        assert arrived.headers["x-amz-target"] == "Kinesis_20131202.PutRecords"
        authorization = arrived.headers["authorization"]
        names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert "content-type" in names
        headers = {name: arrived.headers[name] for name in names}
        request = AWSRequest("POST", server.url + "/", headers, body)
        request.context["timestamp"] = arrived.headers["x-amz-date"]
        signer = SigV4Auth(Credentials("ENVKEY", "secret"), "kinesis", "us-east-1")
        canonical = signer.canonical_request(request)
        assert canonical.endswith(hashlib.sha256(body).hexdigest())
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        assert authorization.endswith(f"Signature={signature}")


def test_errors_in_cbor_come_back_as_they_are(
    transport: Any, server: RawServer, service: Service
) -> None:
    body = cbor2.dumps({"__type": "ResourceNotFoundException", "message": "no"})
    for status in (400, 404, 500):
        service.response = http(status, body, content_type=CBOR_TYPE)
        response = transport.send(memoryview(CBOR_BODY), 1, None, CBOR_TYPE)
        assert (response.status, response.body) == (status, body)
    assert len(server.arrived) == 3


def test_the_clock_is_adopted_with_the_same_type(server: RawServer, service: Service) -> None:
    transport = open_transport(output_config(endpoint=server.url, transport="direct"))
    body = cbor2.dumps({"__type": "InvalidSignatureException", "message": "expired"})
    date = "Sat, 28 Nov 2037 06:51:06 GMT"
    service.response = http(400, body, content_type=CBOR_TYPE, date=date)
    transport.send(memoryview(CBOR_BODY), 1, None, CBOR_TYPE)
    transport.close()
    assert [arrived.headers["content-type"] for arrived in server.arrived] == [CBOR_TYPE] * 2


def test_each_type_has_a_signature_of_its_own() -> None:
    headers = {"X-Amz-Target": "T", "content-type": JSON_TYPE}
    signer = Signer("https://h", headers, "r", "kinesis")
    keys = Keys("AKID", "secret", None)
    heads = [signer.head(keys, 0, "0" * 64, 3, kind) for kind in (JSON_TYPE, CBOR_TYPE)]
    assert heads[0] == signer.head(keys, 0, "0" * 64, 3)
    assert heads[1].lower().count(b"content-type: ") == 1
    assert CBOR_TYPE.encode() in heads[1]
    assert JSON_TYPE.encode() not in heads[1]
    signatures = {head.partition(b"Signature=")[2] for head in heads}
    assert len(signatures) == 2


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_known_token")
@pytest.mark.parametrize("shown", [TOKEN, TOKEN[3:30], TOKEN.encode().hex(), f"a {TOKEN}, {TOKEN}"])
def test_a_mask_keeps_the_length_of_a_text(shown: str) -> None:
    said = {"__type": "InvalidSignatureException", "message": f"key {shown} is wrong"}
    response = without_secrets(Response(400, CBOR_HEADERS, cbor2.dumps(said)))
    masked = cbor2.loads(response.body)
    assert masked["__type"] == said["__type"]
    assert len(masked["message"]) == len(said["message"])
    assert masked["message"].startswith("key ")
    assert masked["message"].endswith(" is wrong")
    assert MASK in masked["message"]
    assert shown not in masked["message"]
    assert TOKEN[10:20] not in masked["message"]


@pytest.mark.usefixtures("_known_token")
def test_secrets_in_entries_and_in_headers() -> None:
    entry = {"ErrorCode": "KMSAccessDeniedException", "ErrorMessage": f"denied: {TOKEN}"}
    body = cbor2.dumps({"FailedRecordCount": 1, "Records": [entry] * 500})
    response = without_secrets(Response(200, {**CBOR_HEADERS, "x-why": TOKEN}, body))
    found = cbor2.loads(response.body)["Records"]
    assert found == [{**entry, "ErrorMessage": "denied: " + "*" * len(TOKEN)}] * 500
    assert TOKEN not in response.headers["x-why"]
    assert is_cbor(response.headers)


@pytest.mark.usefixtures("_known_token")
def test_a_response_without_failures_is_not_searched() -> None:
    nulls = {"ErrorCode": None, "ErrorMessage": None, "SequenceNumber": "1"}
    for members in ("FailedRecordCount", "Records"), ("Records", "FailedRecordCount"):
        said = {"FailedRecordCount": 0, "Records": [nulls]}
        body = cbor2.dumps({name: said[name] for name in members})
        response = Response(200, CBOR_HEADERS, body)
        assert without_secrets(response) is response


@pytest.mark.usefixtures("_known_token")
def test_a_huge_error_is_searched_as_it_is() -> None:
    body = cbor2.dumps({"__type": "X", "message": "y" * 100_000 + TOKEN})
    response = without_secrets(Response(400, CBOR_HEADERS, body))
    assert cbor2.loads(response.body)["message"] == "y" * 100_000 + "*" * len(TOKEN)
