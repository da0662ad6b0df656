"""Finished bodies through a botocore client, which signs, connects and renews credentials.

The client is called without records. The body takes its place in botocore's ``before-call`` event
and the raw answer is taken out in ``before-parse``, so botocore neither writes nor parses entries.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Mapping
from json import JSONDecodeError
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    SSLError,
)

from kinesis_fast.errors import TransportError
from kinesis_fast.transport import NotSentError, Response

TOO_MANY_REQUESTS = 429
CLIENT_ERROR = 400
SERVER_ERROR = 500
EMPTY_ANSWER = b"{}"
OUTDATED = re.compile(rb"ExpiredToken|InvalidClientTokenId|UnrecognizedClient")
USER_INFO = re.compile(r"//[^/@\s\"]+@")  # of a URL: it may be a password
# The first that fits counts: what botocore raised, whether it may pass, what to do.
ADVICE: tuple[tuple[type[Exception], type[TransportError], str], ...] = (
    (NoCredentialsError, NotSentError, "give the process AWS credentials, or set profile"),
    (SSLError, TransportError, "check endpoint and AWS_CA_BUNDLE"),
    (ConnectionError, TransportError, "check the network, the proxy, region and endpoint"),
    (HTTPClientError, TransportError, "check the network, the proxy, region and endpoint"),
    (MetadataRetrievalError, TransportError, "the source of the credentials does not answer"),
    (BotoCoreError, NotSentError, "check credentials, profile, role_arn, region and endpoint"),
    (OSError, NotSentError, "check credential_process and the files of the AWS configuration"),
    (JSONDecodeError, NotSentError, "check what credential_process prints"),
)
# What a client that cannot get its credentials may raise when it is made.
NO_CREDENTIALS = (BotoCoreError, OSError, JSONDecodeError)


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
        self._target = {"StreamARN" if stream.startswith("arn:") else "StreamName": stream}
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
        if response.status >= CLIENT_ERROR and OUTDATED.search(response.body):
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


def explain(error: Exception) -> TransportError:
    """Turn what botocore raised instead of an answer into a short text that says what to do."""
    text = USER_INFO.sub("//***@", f"{type(error).__name__}: {error}")
    if isinstance(error, ClientError):
        return _explain_sts(error.response, text)
    for kind, outcome, advice in ADVICE:
        if isinstance(error, kind):
            return outcome(f"{text}; {advice}")
    return TransportError(text)


def _explain_sts(answer: Mapping[str, Any], text: str) -> TransportError:
    """An answer that is not PutRecords' own came from STS, asked for a role's credentials."""
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    throttled = "throttl" in str(answer.get("Error", {}).get("Code", "")).lower()
    if throttled or status >= SERVER_ERROR or status == TOO_MANY_REQUESTS:
        return TransportError(f"{text}; STS is busy")
    return NotSentError(
        f"{text}; check role_arn, external_id, EKS_POD_EXECUTION_ROLE, the credentials in use and "
        "the trust policy of the role"
    )
