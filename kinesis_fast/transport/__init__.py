"""How a finished PutRecords body reaches the service. Nothing here knows chunks or records."""

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from kinesis_fast.errors import TransportError

__all__ = ["CborTransport", "NotSentError", "Response", "Transport"]

JSON_TYPE: Final = "application/x-amz-json-1.1"
CBOR_TYPE: Final = "application/x-amz-cbor-1.1"


class NotSentError(TransportError):
    """The request was not sent, and sending it again at once is pointless (no credentials, say)."""

    n_sent = 0


class Response(NamedTuple):
    """Any HTTP response, good or bad, as it arrived.

    Attributes:
        status: the HTTP status code.
        headers: names are found in any case.
        body: without transfer encoding.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def n_sent(self) -> int:
        """How often the request went out until this response came."""
        return 1


class ResentResponse(Response):
    """A response to a request that the transport had to send more than once."""

    times = 1

    @property
    def n_sent(self) -> int:
        """How often the request went out until this response came."""
        return self.times


def is_cbor(headers: Mapping[str, str]) -> bool:
    """Tell whether the headers of a response say that its body is CBOR."""
    value = next((str(v) for k, v in headers.items() if k.lower() == "content-type"), "")
    return value.partition(";")[0].strip().lower() == CBOR_TYPE


class Transport(Protocol):
    """Sends finished bodies to one stream. Several threads call it at once.

    Its bodies are JSON. A CborTransport gets CBOR as well, if the option protocol says so.

    A transport that keeps connections has a method `reconnect()`: it is called when a response is
    not about its request, so the next response on that connection may not be about its own either.
    No request that begins later may go over a connection that was open before.
    """

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Post one body and wait for the response.

        Args:
            body: the JSON of a PutRecords request. The caller reuses the memory after the call;
                copy what has to live longer.
            n_records: number of entries in the body, at least 1.
            timeout_s: seconds to wait for the network, None for no bound.

        Returns:
            The response, whatever its status.

        Raises:
            NotSentError: sending again at once is pointless, for instance without credentials.
            TransportError: there was no response; the request may have arrived. The caller treats
                any other exception in the same way.
        """
        ...


class CborTransport(Transport, Protocol):
    """A Transport that can also send CBOR; its attribute `takes_cbor` is True."""

    takes_cbor: bool

    def send(
        self,
        body: memoryview,
        n_records: int,
        timeout_s: float | None,
        content_type: str = JSON_TYPE,
    ) -> Response:
        """Do the same as Transport.send.

        Args:
            body: the JSON or CBOR of a PutRecords request.
            n_records: as there.
            timeout_s: as there.
            content_type: the value of the header Content-Type, which the signature covers; passed
                with CBOR only. The response has to come back with its own header.
        """
        ...
