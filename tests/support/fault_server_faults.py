"""The kinds of faults: how a request is read, what is accepted, what the response is.

A fault is a dict with the `kind`, a name in KINDS, and the arguments of its function here.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any, Final

from fault_server_rules import THROTTLED
from fault_server_service import Entry, Service, entries_of
from fault_server_wire import GoneError, Head, Wire

HTTP_1_1: Final = "HTTP/1.1"
SPACES: Final = b" " * 65536
GIB: Final = 1 << 30
INTERNAL: Final = "InternalFailure"


class Exchange:
    """One request and its response.

    Args:
        service: accepts the entries.
        wire: the connection.
        head: the request up to its body.
    """

    def __init__(self, service: Service, wire: Wire, head: Head) -> None:
        self._service = service
        self._body: bytes | None = None
        self.wire = wire
        self.head = head
        self.n_body = int(head.headers.get("content-length", "0"))

    def body(self) -> bytes:
        """Read the body, unless it was read before."""
        if self._body is None:
            if self.head.headers.get("expect"):
                self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._body = self.wire.read(self.n_body)
        return self._body

    def read_in_parts(self, parts: int, pause_s: float) -> None:
        """Read the body with pauses."""
        size = self.n_body // parts
        self._body = b""
        for _ in range(parts):
            time.sleep(pause_s)
            self._body += self.wire.read(size)
        self._body += self.wire.read(self.n_body - size * parts)

    def entries(self) -> list[Entry]:
        """Decode the body; record a violation when it is wrong."""
        try:
            return entries_of(self.body())
        except (ValueError, KeyError) as error:
            self._service.violation(repr(error))
            raise GoneError from None

    def accept(self, failing: dict[int, str] | None = None, doubtful: bool = False) -> bytes:
        """Accept the entries and return the body of the response.

        Args:
            failing: error codes by index.
            doubtful: this response will not reach the client.
        """
        entries = self.entries()
        return answer_body(self._service.take(entries, failing or {}, self.wire, doubtful))

    def http(
        self, body: bytes, status: int = 200, version: str = HTTP_1_1, **headers: str | None
    ) -> bytes:
        """Return the bytes of a response; a header that is None is omitted."""
        date = formatdate(time.time() + self._service.skew_s, usegmt=True)
        fields: dict[str, str | None] = {
            "Date": date,
            "Content-Type": "application/x-amz-json-1.1",
            "Content-Length": str(len(body)),
        }
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        return "\r\n".join([f"{version} {status} Status", *lines, "", ""]).encode() + body

    def refuse_by_rules(self) -> bool:
        """Refuse a request that breaks the rules. Returns whether it did."""
        refusal = self._service.refusal(self.head, self.body())
        if refusal is None:
            return False
        text = error_body(refusal.code, refusal.message)
        self.wire.send(self.http(text, refusal.status))
        return True


def answer_body(codes: Sequence[str | None]) -> bytes:
    """Return the body of a PutRecords response; codes: of the entries, None for accepted ones."""
    entries = [
        {"SequenceNumber": f"{index:056d}", "ShardId": "shardId-000000000000"}
        if code is None
        else {"ErrorCode": code, "ErrorMessage": f"{code} for a shard"}
        for index, code in enumerate(codes)
    ]
    answer = {"FailedRecordCount": sum(code is not None for code in codes), "Records": entries}
    return json.dumps(answer, separators=(",", ":")).encode()


def error_body(code: str, message: str = "because") -> bytes:
    """Return an error in the JSON 1.1 protocol."""
    return json.dumps({"__type": code, "message": message}).encode()


# --- true responses; each function returns whether the connection stays open ---


def accept(x: Exchange) -> bool:
    """Accept everything."""
    x.wire.send(x.http(x.accept()))
    return True


def partial(
    x: Exchange,
    indexes: Sequence[int] = (),
    chance: float = 0.0,
    seed: int = 0,
    code: str = THROTTLED,
) -> bool:
    """Refuse the entries at these indexes, and each with a probability."""
    draw = random.Random(seed).random
    n_entries = len(x.entries())
    failing = {i: code for i in range(n_entries) if i in indexes or draw() < chance}
    x.wire.send(x.http(x.accept(failing)))
    return True


def status(
    x: Exchange,
    status: int = 500,
    code: str = INTERNAL,
    body: str | None = None,
    location: str | None = None,
) -> bool:
    """Refuse the request with an error, or with any body."""
    x.body()
    text = error_body(code) if body is None else body.encode()
    x.wire.send(x.http(text, status, Location=location))
    return True


def close(x: Exchange, said: bool = True) -> bool:
    """Accept everything and close the connection, announced or not."""
    x.wire.send(x.http(x.accept(), Connection="close" if said else None))
    return False


def http_1_0(x: Exchange, clean: bool = True) -> bool:
    """Accept everything; the end of the connection ends the response, with close_notify in TLS."""
    body = x.accept(doubtful=not clean)
    x.wire.send(x.http(body, version="HTTP/1.0", Content_Length=None))
    if clean:
        x.wire.say_end()
    return False


def chunked(x: Exchange, pieces: int = 3) -> bool:
    """Accept everything; the response has the transfer encoding "chunked"."""
    body = x.accept()
    size = len(body) // pieces + 1
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])
    x.wire.send(x.http(b"", Content_Length=None, Transfer_Encoding="chunked") + coded)
    return True


def interim(x: Exchange, times: int = 3) -> bool:
    """Accept everything; responses with status 100 come first."""
    body = x.accept()
    x.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n" * times + x.http(body))
    return True


def drip(x: Exchange, step: int = 20, pause_s: float = 0.01, status: int = 503) -> bool:
    """Refuse the request; the response comes in small pieces, head and body."""
    x.body()
    answer = x.http(error_body("ServiceUnavailable", "z" * 300), status)
    for start in range(0, len(answer), step):
        x.wire.send(answer[start : start + step])
        time.sleep(pause_s)
    return True


def slow_read(x: Exchange, parts: int = 4, pause_s: float = 0.02) -> bool:
    """Accept everything, but read with pauses."""
    x.read_in_parts(parts, pause_s)
    x.wire.send(x.http(x.accept()))
    return True


# --- no response, or half of one ---


def reset(x: Exchange, when: str = "after", keep: bool = False, end: bool = False) -> bool:
    """Reset the connection before, during or after the body; keep: accept everything first.

    With `end` it first shuts its sending side down, so that a later write gets EPIPE.
    """
    if when == "during":
        x.wire.read(x.n_body // 2)
    elif when == "after":
        x.body()
    if keep:
        x.accept(doubtful=True)
    if end:
        x.wire.shut()
    x.wire.reset()
    return False


def hang(x: Exchange, keep: bool = False, head: bool = True) -> bool:
    """Never respond; without `head` do not even read the body."""
    if keep:
        x.accept(doubtful=True)
    elif head:
        x.body()
    x.wire.wait_for_end()
    return False


def half(x: Exchange, share: float = 0.5, then: str = "close") -> bool:
    """Accept everything; send a part of the response, then close, reset or hang."""
    answer = x.http(x.accept(doubtful=True))
    x.wire.send(answer[: int(len(answer) * share)])
    if then == "reset":
        x.wire.reset()
    elif then == "hang":
        x.wire.wait_for_end()
    return False


def wrong_length(x: Exchange, more: int) -> bool:
    """Accept everything; the Content-Length of the response is wrong."""
    body = x.accept(doubtful=True)
    x.wire.send(x.http(body, Content_Length=str(len(body) + more)))
    return more < 0


def half_chunked(x: Exchange) -> bool:
    """Accept everything; the response ends in the middle of a chunk of HTTP."""
    body = x.accept(doubtful=True)
    head = x.http(b"", Content_Length=None, Transfer_Encoding="chunked")
    x.wire.send(head + b"%x\r\n%s" % (len(body), body[:-5]))
    return False


# --- meaningless responses ---


def garbage(x: Exchange, body: str = "<html>sorry</html>", keep: bool = False) -> bool:
    """Respond 200 with another body; keep: accept everything."""
    if keep:
        x.accept(doubtful=True)
    else:
        x.body()
    x.wire.send(x.http(body.encode()))
    return True


def garbage_head(x: Exchange, text: str = "NONSENSE\r\n\r\n") -> bool:
    """Accept everything; the response is not HTTP."""
    x.accept(doubtful=True)
    x.wire.send(text.encode())
    return False


def wrong_count(x: Exchange, more: int) -> bool:
    """Accept everything; the response has entries for more or fewer records."""
    x.accept(doubtful=True)
    x.wire.send(x.http(answer_body([None] * (len(x.entries()) + more))))
    return True


def endless(x: Exchange, n_bytes: int = GIB, keep: bool = False, coded: bool = False) -> bool:
    """Respond 200 with n_bytes spaces, chunked or not; keep: accept everything."""
    if keep:
        x.accept(doubtful=True)
    else:
        x.body()
    length, how = (None, "chunked") if coded else (str(n_bytes), None)
    x.wire.send(x.http(b"", Content_Length=length, Transfer_Encoding=how))
    block = b"%x\r\n%s\r\n" % (len(SPACES), SPACES) if coded else SPACES
    for _ in range(n_bytes // len(SPACES)):
        x.wire.send(block)
    return False


def endless_head(x: Exchange, n_bytes: int = 1 << 26) -> bool:
    """Respond 200 with n_bytes of headers."""
    x.body()
    x.wire.send(b"HTTP/1.1 200 OK\r\n")
    for _ in range(n_bytes // 1000):
        x.wire.send(b"X-More: " + b"y" * 990 + b"\r\n")
    return False


Kind = Callable[..., bool]
KINDS: Final[dict[str, Kind]] = {
    kind.__name__: kind
    for kind in (
        *(accept, partial, status, close, http_1_0, chunked, interim, drip, slow_read),
        *(reset, hang, half, wrong_length, half_chunked),
        *(garbage, garbage_head, wrong_count, endless, endless_head),
    )
}


def answer(x: Exchange, fault: dict[str, Any]) -> bool:
    """Respond with a fault. Returns whether the connection stays open."""
    arguments = {name: value for name, value in fault.items() if name != "kind"}
    return KINDS[fault["kind"]](x, **arguments)
