"""A transport that speaks CBOR, made of cbor2; and bodies and responses in CBOR."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import cbor2
from fake_transport import FakeTransport, Reply, Step, entries_answer

from kinesis_fast._core.request import Request
from kinesis_fast.transport import CBOR_TYPE, JSON_TYPE, Response

CBOR_HEADERS = {"Content-Type": CBOR_TYPE}
JSON_HEADERS = {"content-type": JSON_TYPE}


def as_cbor(response: Response) -> Response:
    """Return a JSON response as the service writes it in CBOR."""
    return Response(response.status, CBOR_HEADERS, cbor2.dumps(json.loads(response.body)))


def cbor_answer(codes: Sequence[str | None]) -> Response:
    """Return the response to a request whose entries failed with these codes (None: accepted)."""
    return as_cbor(entries_answer(codes))


def parsed(request: Request) -> dict[str, Any]:
    """Decode a body; data is bytes in either protocol."""
    body = bytes(request.body)
    if request.is_cbor:
        return dict(cbor2.loads(body))
    said: dict[str, Any] = json.loads(body)
    for entry in said["Records"]:
        entry["Data"] = b64decode(entry["Data"], validate=True)
    return said


class CborService(FakeTransport):
    """A FakeTransport that takes CBOR as well, and responds in the protocol of the request.

    Args:
        steps: for the first requests, in order.
        then: for all requests after them.

    Attributes:
        content_types: of the requests.
    """

    takes_cbor = True

    def __init__(self, *steps: Step, then: Step | None = None) -> None:
        super().__init__(*steps, **({"then": then} if then else {}))
        self.content_types: list[str] = []

    def send(
        self,
        body: memoryview,
        n_records: int,
        timeout_s: float | None,
        content_type: str = JSON_TYPE,
    ) -> Response:
        """Take the next step."""
        self.content_types.append(content_type)
        if content_type == JSON_TYPE:
            return super().send(body, n_records, timeout_s)
        assert content_type == CBOR_TYPE
        said = cbor2.loads(bytes(body))
        for entry in said["Records"]:
            assert isinstance(entry["Data"], bytes)
            entry["Data"] = b64encode(entry["Data"]).decode()
        response = super().send(memoryview(json.dumps(said).encode()), n_records, timeout_s)
        return response if response.headers.get("foreign") else as_cbor(response)


def foreign(response: Response, stored: Sequence[int] = ()) -> Step:
    """Return a step whose response comes as it is, in any form."""
    headers = {**response.headers, "foreign": "yes"}
    return lambda _: Reply(response._replace(headers=headers), stored)


class OnlyJson(CborService):
    """A service that takes no CBOR, whatever comes in between.

    Args:
        step: its response to a request in CBOR.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def send(
        self,
        body: memoryview,
        n_records: int,
        timeout_s: float | None,
        content_type: str = JSON_TYPE,
    ) -> Response:
        """Accept JSON."""
        if content_type == JSON_TYPE:
            return super().send(body, n_records, timeout_s)
        self.content_types.append(content_type)
        reply = self._step([])
        assert isinstance(reply.response, Response)
        return as_cbor(reply.response)
