"""How a finished PutRecords body reaches the service; nothing here knows chunks or records."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from kinesis_fast.errors import TransportError

__all__ = ["NotSentError", "Response", "Transport"]


class NotSentError(TransportError):
    """A request could not even be made, and the next one at once could not either (credentials)."""


class Response(NamedTuple):
    """Any HTTP answer, good or bad, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """One way of sending; called from several threads at once."""

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Post one body and wait for its answer.

        Args:
            body: the JSON of a PutRecords request. The caller takes the memory back after the
                call, so whoever needs the body longer copies it.
            n_records: number of entries in the body, at least 1.
            timeout_s: seconds to wait for the network, None for no bound.

        Returns:
            The answer, whatever its status.

        Raises:
            NotSentError: sending again at once is pointless, for instance without credentials.
            TransportError: there was no answer; the request may have arrived. Any other exception
                is taken for this one.
        """
        ...
