"""The sink counts exactly, however the bytes are split, and rejects what is not a request."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from counting_sink import Certificate, CountingSink, Totals
from sink_client import Client, Connect

LATENCY_MS = 300
CBOR = "Content-Type: application/x-amz-cbor-1.1"
TRICKY_KEYS = ("plain", '"PartitionKey":', 'a\\"PartitionKey\\":b', "ключ")


def put_records(n_entries: int, data_bytes: int = 20) -> bytes:
    """A body whose partition keys look like entries."""
    entries = [
        {
            "Data": base64.b64encode(bytes([number % 256]) * data_bytes).decode(),
            "PartitionKey": TRICKY_KEYS[number % len(TRICKY_KEYS)],
        }
        for number in range(n_entries)
    ]
    return json.dumps({"Records": entries, "StreamName": "s"}).encode()


def post(body: bytes, *headers: str) -> bytes:
    """A whole request."""
    lines = ["POST / HTTP/1.1", "Host: x", f"content-length:{len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def check_taken(client: Client, n_entries: int) -> None:
    """Read a response and check that it accepts the given number of entries."""
    status, response = client.response()
    assert (status, response["FailedRecordCount"]) == (200, 0)
    records = response["Records"]
    assert isinstance(records, list)
    assert len(records) == n_entries
    for record in records:
        assert record["SequenceNumber"].isdigit()
        assert len(record["SequenceNumber"]) == 56
        assert record["ShardId"] == "shardId-000000000000"


def test_counts_requests_one_after_the_other(sink: CountingSink, connect: Connect) -> None:
    client = connect(sink)
    sizes = (1, 499, 500, 2)
    n_bytes = 0
    for n_entries in sizes:
        body = put_records(n_entries)
        n_bytes += len(body)
        client.send(post(body))
        check_taken(client, n_entries)
    counted = sink.totals()
    assert counted == Totals(counted.connections, len(sizes), sum(sizes), n_bytes, 0)


@pytest.mark.parametrize("seed", range(3))
def test_counts_what_comes_in_pieces(sink: CountingSink, connect: Connect, seed: int) -> None:
    rng = random.Random(seed)
    client = connect(sink)
    bodies = [put_records(rng.randrange(1, 9), rng.randrange(200)) for _ in range(4)]
    stream = b"".join(map(post, bodies))
    while stream:
        n = rng.choice((1, 2, 3, 50, 400))
        client.send(stream[:n])
        stream = stream[n:]
    for _ in bodies:
        assert client.response()[0] == 200
    assert sink.totals()[1:] == (4, sum(map(n_keys, bodies)), sum(map(len, bodies)), 0)


def n_keys(body: bytes) -> int:
    """The entries of a body, counted by a JSON parser."""
    return len(json.loads(body)["Records"])


def test_large_body_behind_another(sink: CountingSink, connect: Connect) -> None:
    small, large = put_records(3), put_records(500, 10_000)
    assert len(large) > 6_000_000
    client = connect(sink)
    client.send(post(small) + post(large) + post(small))
    for n_entries in (3, 500, 3):
        check_taken(client, n_entries)
    assert sink.totals()[1:] == (3, 506, 2 * len(small) + len(large), 0)


def test_reset_gives_the_totals_and_starts_anew(sink: CountingSink, connect: Connect) -> None:
    client = connect(sink)
    body = put_records(7)
    client.send(post(body))
    check_taken(client, 7)
    assert sink.reset()[1:] == (1, 7, len(body), 0)
    assert sink.totals() == (0, 0, 0, 0, 0)
    client.send(post(body))
    check_taken(client, 7)
    assert sink.stop() == (0, 1, 7, len(body), 0)


def test_counts_of_many_connections(sink: CountingSink, connect: Connect) -> None:
    body = put_records(11)

    def send(client: Client) -> None:
        for _ in range(20):
            client.send(post(body))
            check_taken(client, 11)

    threads = [threading.Thread(target=send, args=(connect(sink),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Whoever asks for the totals has a connection too.
    assert sink.totals() == (7, 120, 120 * 11, 120 * len(body), 0)


def test_latency_of_one_connection_holds_up_no_other(
    tls: Certificate | None, connect: Connect
) -> None:
    with CountingSink(tls, latency_ms=LATENCY_MS) as sink:
        clients = [connect(sink) for _ in range(8)]
        start = time.monotonic()
        for client in clients:
            client.send(post(put_records(1)))
        for client in clients:
            check_taken(client, 1)
        taken_ms = (time.monotonic() - start) * 1000
    assert LATENCY_MS <= taken_ms < LATENCY_MS * 4


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2x\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST /\0 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        post(b'{"Records":[],"StreamName":"s"}'),
        post(put_records(501)),
    ],
)
def test_refuses_and_counts_what_is_no_request(
    sink: CountingSink, connect: Connect, request_bytes: bytes
) -> None:
    client = connect(sink)
    client.send(request_bytes)
    status, response = client.response()
    assert (status, response["__type"]) == (400, "ValidationException")
    assert sink.totals()[1:] == (0, 0, 0, 1)


def test_counts_a_request_that_is_cut_off(sink: CountingSink, connect: Connect) -> None:
    client = connect(sink)
    client.send(post(put_records(3))[:-1])
    client.close()
    wait_until(lambda: sink.totals().malformed == 1)
    assert sink.totals().records == 0


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds in the server."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_closes_when_it_is_asked_to(sink: CountingSink, connect: Connect) -> None:
    client = connect(sink)
    client.send(post(put_records(2), "Connection: close"))
    check_taken(client, 2)
    assert client.has_ended()


def in_cbor(n_entries: int) -> bytes:
    """The body of put_records in CBOR."""
    parsed = json.loads(put_records(n_entries))
    for entry in parsed["Records"]:
        entry["Data"] = base64.b64decode(entry["Data"])
    return cbor2.dumps(parsed)


def test_counts_entries_in_cbor(sink: CountingSink, connect: Connect) -> None:
    client = connect(sink)
    bodies = [in_cbor(n_entries) for n_entries in (1, 23, 24, 255, 256, 500)]
    for body in bodies:
        client.send(post(body, CBOR))
        check_taken(client, len(cbor2.loads(body)["Records"]))
    assert sink.totals()[1:] == (6, 1059, sum(map(len, bodies)), 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        in_cbor(2)[:-1],
        in_cbor(2) + b"x",
        cbor2.dumps({"Records": []}),
        cbor2.dumps({"Records": 3}),
        cbor2.dumps([{"Records": [1]}]),
        cbor2.dumps({"Others": [1]}),
        b"\xa1\x67Records\x9b" + b"\xff" * 8,
        b"\x81" * 100_000,
    ],
)
def test_cbor_that_is_no_request(sink: CountingSink, connect: Connect, body: bytes) -> None:
    client = connect(sink)
    client.send(post(body, CBOR))
    assert client.response()[0] == 400
    assert sink.totals()[1:] == (0, 0, 0, 1)


def test_keeps_bodies(tmp_path: Path, tls: Certificate | None, connect: Connect) -> None:
    bodies = [put_records(n_entries) for n_entries in (1, 2, 3)]
    with CountingSink(tls, keep=tmp_path) as sink:
        client = connect(sink)
        for body in bodies:
            client.send(post(body))
            client.response()
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == b"".join(b"%d\n%s\n" % (len(body), body) for body in bodies)
