"""The answers that come on one connection, parsed by httptools; nothing here touches a socket."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from kinesis_fast.limits import MAX_ANSWER_BYTES, MAX_ANSWER_HEAD_BYTES
from kinesis_fast.transport import Response

# httptools is compiled for one version of Python, this package serves several: what was installed
# with another one cannot be loaded. Then botocore sends, and the log says so.
try:
    import httptools
except ImportError as error:
    MISSING: str | None = f"httptools cannot be imported ({error})"
else:
    MISSING = None

INTERIM_STATUS: Final = range(100, 200)
SWITCHING_PROTOCOLS: Final = 101
# An answer with one of these says itself where it ends; others end with the connection.
LENGTH_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})


class Headers(Mapping[str, str]):
    """The headers of an answer; their names are found in any case and shown in lower case."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    @functools.cached_property
    def _values(self) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, value in self._pairs:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            known = values.get(key)
            values[key] = text if known is None else f"{known}, {text}"
        return values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values})"


class ResponseReader:
    """Takes what arrives on a connection until an answer is complete, one answer after another.

    The methods on_* are called by the parser.

    Attributes:
        started: whether a byte of the answer has arrived.
        is_final: whether the headers of the answer have arrived, after any interim ones (1xx).
        complete: whether the answer is there as a whole.
        reusable: whether a further request may follow on the connection, once it is complete.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Expect the next answer."""
        self.started = self.complete = self.reusable = False
        self._n_bytes = 0
        self._forget()

    def feed(self, data: memoryview) -> None:
        """Take bytes, at least one, which are copied.

        Raises:
            ValueError: this is no HTTP, or more of it than anybody needs.
        """
        self._n_bytes += len(data)
        self.started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.reusable = False
            if not self.complete:  # what follows a complete answer does no harm to it
                raise ValueError(f"the answer is no HTTP/1: {_cause(error)}") from error
        if not self.complete:
            self._check_size()

    def end(self) -> bool:
        """Take note that no more bytes come. Returns whether the answer is complete with that."""
        self.complete = self.is_final and not self._has_length
        self.reusable = False
        return self.complete

    def close(self) -> None:
        """End the cycle of reader and parser; the reader is of no use afterwards."""
        del self._parser

    def response(self) -> Response:
        """Return the answer, which is complete."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Response(self._status, Headers(self._pairs), body)

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("more than one answer")
        self._forget()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name, value))
        if name.lower() in LENGTH_HEADERS:
            self._has_length = True

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status == SWITCHING_PROTOCOLS:
            raise ValueError("it switches protocols")
        self.is_final = self._status not in INTERIM_STATUS

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self.is_final:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _forget(self) -> None:
        self._status = 0
        self._pairs: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self.is_final = self._has_length = False

    def _check_size(self) -> None:
        limit = MAX_ANSWER_BYTES if self.is_final else MAX_ANSWER_HEAD_BYTES
        if self._n_bytes > limit:
            what = "answer is" if self.is_final else "head of the answer is"
            raise ValueError(f"the {what} longer than {limit} bytes")


def _cause(error: Exception) -> str:
    return str(error.__context__ or error)
