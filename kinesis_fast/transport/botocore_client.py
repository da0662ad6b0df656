"""Finished bodies through a botocore client, which signs, connects and renews credentials.

The client is called without records. The body takes its place in botocore's ``before-call`` event
and the raw answer is taken out in ``before-parse``, so botocore neither writes nor parses entries.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import NoCredentialsError

from kinesis_fast.errors import TransportError
from kinesis_fast.transport import Response
from kinesis_fast.transport.errors import NO_CREDENTIALS, explain, is_outdated, stream_parameter

EMPTY_ANSWER = b"{}"


class _Exchange(threading.local):
    """What the event handlers hand over within one call; each thread has its own."""

    body: memoryview | None = None
    timeout_s: float | None = None
    response: Response | None = None


class BotocoreTransport:
    """Sends bodies to one stream.

    Args:
        make_client: makes the client, with SDK retries and parameter validation off. Called
            here, and again when its credentials were missing or outdated: a client looks for
            credentials once, when it is made.
        stream: name or ARN of the stream; botocore chooses the endpoint by it.

    Raises:
        ConfigError: what make_client says. Credentials that cannot be had now are no reason.
    """

    def __init__(self, make_client: Callable[[], Any], stream: str) -> None:
        self._make_client = make_client
        self._target = stream_parameter(stream)
        self._exchange = _Exchange()
        self._client: Any = None
        with contextlib.suppress(*NO_CREDENTIALS):
            self._client = self._new_client()

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Post one body; see `kinesis_fast.transport.Transport`.

        An old botocore, 1.40 for one, does not look at `timeout_s` and keeps to the client's own.
        """
        exchange = self._exchange
        exchange.body, exchange.timeout_s, exchange.response = body, timeout_s, None
        try:
            client = self._client or self._new_client()
            self._client = client
            client.put_records(Records=[], **self._target)
        except Exception as error:
            # An answer that botocore makes an exception of is an answer all the same.
            if exchange.response is None:
                if isinstance(error, NoCredentialsError):
                    self._client = None
                raise explain(error) from error
        finally:
            response = exchange.response
            exchange.body = exchange.response = None
        if response is None:
            raise TransportError(
                "botocore ended the call without its before-parse event; is it older than 1.35.16?"
            )
        if is_outdated(response):
            self._client = None
        return response

    def close(self) -> None:
        """Close the pooled connections."""
        if self._client is not None:
            self._client.close()

    def _new_client(self) -> Any:
        client = self._make_client()
        events = client.meta.events
        events.register("before-call.kinesis.PutRecords", self._put_body)
        events.register("before-parse.kinesis.PutRecords", self._take_answer)
        return client

    def _put_body(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        params["body"] = self._exchange.body
        if self._exchange.timeout_s is not None:
            context["read_timeout"] = self._exchange.timeout_s

    def _take_answer(self, response_dict: dict[str, Any], **_: object) -> None:
        self._exchange.response = Response(
            response_dict["status_code"], response_dict["headers"], response_dict["body"]
        )
        response_dict["body"] = EMPTY_ANSWER
