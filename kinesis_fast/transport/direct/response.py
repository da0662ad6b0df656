"""Headers, and the parser of responses that are not of the usual form: httptools.

Nothing here touches a socket. response_reader.pyx reads the others.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from kinesis_fast.limits import MAX_ANSWER_BYTES, MAX_ANSWER_HEAD_BYTES
from kinesis_fast.transport import Response

# httptools is compiled for one version of Python, and this package serves several. If it cannot be
# loaded, botocore sends, and the log says so.
try:
    import httptools
except ImportError as error:
    MISSING: str | None = f"httptools cannot be imported ({error})"
else:
    MISSING = None

INTERIM_STATUS: Final = range(100, 200)
SWITCHING_PROTOCOLS: Final = 101
# A response with one of these tells where it ends; any other ends with the connection.
LENGTH_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})


class Headers(Mapping[str, str]):
    """The headers of a response. Names are found in any case and shown in lower case.

    Args:
        source: pairs of name and value, or a whole head of the usual form.
    """

    def __init__(self, source: Sequence[tuple[bytes, bytes]] | bytes) -> None:
        self._source = source

    @functools.cached_property
    def _values(self) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, value in _pairs(self._source):
            key, text = name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")
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


def _pairs(source: Sequence[tuple[bytes, bytes]] | bytes) -> Iterable[tuple[bytes, bytes]]:
    if not isinstance(source, bytes):
        return source
    lines = source.split(b"\r\n")[1:-2]  # without the status line, and what ends the head
    pairs = (line.partition(b":") for line in lines)
    return ((name, value) for name, _, value in pairs)


class GeneralReader:
    """Reads any response, as ResponseReader does.

    The parser calls the methods on_*.

    Attributes:
        started: whether a byte of the response has arrived.
        is_final: whether its headers have arrived, after any interim responses (1xx).
        complete: whether all of it has arrived.
        reusable: whether another request may follow on the connection, once it is complete.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.reset()

    def reset(self) -> None:
        """Expect the next response."""
        self.started = self.complete = self.reusable = False
        self._n_bytes = 0
        self._forget()

    def feed(self, data: memoryview) -> None:
        """Parse bytes, at least one; they are copied.

        Raises:
            ValueError: this is not HTTP, or the response is too large.
        """
        self._n_bytes += len(data)
        self.started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.reusable = False
            if not self.complete:  # bytes after a complete response do not harm it
                cause = error.__context__ or error  # an exception of on_*, or the parser's own
                raise ValueError(f"the response is not HTTP/1: {cause}") from error
        if not self.complete:
            self._check_size()

    def end(self) -> bool:
        """Note that no more bytes come. Returns whether that completes the response."""
        self.complete = self.is_final and not self._has_length
        self.reusable = False
        return self.complete

    def close(self) -> None:
        """Break the reference cycle with the parser. The reader cannot be used afterwards."""
        del self._parser

    def response(self) -> Response:
        """Return the response, which must be complete, and forget it: the connection may idle."""
        status, pairs, parts = self._status, self._pairs, self._body
        self._forget()
        return Response(status, Headers(pairs), parts[0] if len(parts) == 1 else b"".join(parts))

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("more than one response")
        self._forget()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name, value))
        if name.lower() in LENGTH_HEADERS:
            self._has_length = True

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status == SWITCHING_PROTOCOLS:
            raise ValueError("switching protocols")
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
            what = "response" if self.is_final else "head of the response"
            raise ValueError(f"the {what} is longer than {limit} bytes")
