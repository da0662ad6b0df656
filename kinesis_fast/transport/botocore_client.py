"""Sends finished bodies through a botocore client, which signs, connects and renews credentials.

The client is called without records. A handler of botocore's ``before-call`` event puts the body
in, and one of ``before-parse`` takes the raw response out: botocore neither writes nor parses
entries.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from kinesis_fast.errors import TransportError
from kinesis_fast.transport import JSON_TYPE, Response
from kinesis_fast.transport.credentials import expiry_of
from kinesis_fast.transport.errors import (
    NO_CREDENTIALS,
    check_proxy,
    explain,
    is_outdated,
    is_source_outdated,
    stream_parameter,
)
from kinesis_fast.transport.secrets import without_secrets


class _Exchange(threading.local):
    """What one call and its event handlers hand each other; each thread has its own."""

    body: memoryview | None = None
    content_type: str = JSON_TYPE
    timeout_s: float | None = None
    response: Response | None = None


class BotocoreTransport:
    """Sends bodies to one stream.

    Args:
        make_client: makes the client, with SDK retries and parameter validation off. Called at
            once, and again after credentials were missing or outdated: a client looks for
            credentials only when it is made.
        stream: name or ARN of the stream; botocore chooses the endpoint by it.

    Raises:
        ConfigError: from make_client. Missing credentials are not an error yet.
    """

    takes_cbor = True

    def __init__(self, make_client: Callable[[], Any], stream: str) -> None:
        self._make_client = make_client
        self._target = stream_parameter(stream)
        self._exchange = _Exchange()
        self._client: Any = None
        self._is_closed = False
        with contextlib.suppress(*NO_CREDENTIALS):
            self._client = self._new_client()

    def send(
        self,
        body: memoryview,
        n_records: int,
        timeout_s: float | None,
        content_type: str = JSON_TYPE,
    ) -> Response:
        """Post one body; see `kinesis_fast.transport.CborTransport`.

        An old botocore (1.40 for one) ignores `timeout_s` and uses the client's own time-out.
        """
        exchange = self._exchange
        exchange.body, exchange.content_type = body, content_type
        exchange.timeout_s, exchange.response = timeout_s, None
        client = None
        try:
            client = self._client or self._new_client()
            self._client = client
            client.put_records(Records=[], **self._target)
        except Exception as error:
            # botocore raises an exception for an error response; it is a response all the same.
            if exchange.response is None:
                if is_source_outdated(error):
                    self._client = None
                raise explain(error, client and client.meta.endpoint_url) from error
        finally:
            response = exchange.response
            exchange.body = exchange.response = None
            if self._is_closed and client is not None:
                client.close()
        if response is None:
            raise TransportError(
                "botocore ended the call without its before-parse event; is it older than 1.35.16?"
            )
        check_proxy(response)
        if is_outdated(response):
            self._client = None
        return without_secrets(response)

    @property
    def credentials_expire_at(self) -> float | None:
        """When the credentials expire, seconds since 1970; None if never, or not known yet."""
        signer = getattr(self._client, "_request_signer", None)
        return expiry_of(getattr(signer, "_credentials", None))

    def close(self) -> None:
        """Close the idle connections now, and those in use or opened later after their response."""
        self._is_closed = True
        client = self._client
        if client is not None:
            client.close()

    def reconnect(self) -> None:
        """Send no further request over the connections of now; see `kinesis_fast.transport`."""
        client = self._client
        if client is not None:
            client.close()

    def _new_client(self) -> Any:
        client = self._make_client()
        events = client.meta.events
        events.register("before-call.kinesis.PutRecords", self._put_body)
        events.register("before-parse.kinesis.PutRecords", self._capture_response)
        return client

    def _put_body(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        params["body"] = self._exchange.body
        if self._exchange.content_type != JSON_TYPE:
            params["headers"]["Content-Type"] = self._exchange.content_type
        if self._exchange.timeout_s is not None:
            context["read_timeout"] = self._exchange.timeout_s

    def _capture_response(self, response_dict: dict[str, Any], **_: object) -> None:
        self._exchange.response = Response(
            response_dict["status_code"], response_dict["headers"], response_dict["body"]
        )
        response_dict["body"] = b"{}"  # botocore parses this instead
