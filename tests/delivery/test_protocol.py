"""CBOR or JSON: what an output sends, and when it goes back to JSON for good."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import cbor2
import pytest
from aggregated import WAYS, all_numbers, keyed
from cbor_service import CBOR_HEADERS, JSON_HEADERS, CborService, OnlyJson, cbor_answer, foreign
from fake_transport import (
    INTERNAL,
    FakeTime,
    FakeTransport,
    Step,
    accept,
    entries_answer,
    error,
    fail,
    raise_it,
    raw,
    refuse_if,
)
from outputs import Gate, assert_stats, eventually, new_output, numbered, numbers

from kinesis_fast import FlushResult
from kinesis_fast.transport import CBOR_TYPE, JSON_TYPE, NotSentError, Response

CBOR = {"protocol": "cbor"}
OK, RETRY = FlushResult.OK, FlushResult.RETRY
LINE = "the service does not take CBOR, so requests are JSON from now on"
HTML = Response(502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>")
UNREADABLE = error(400, "SerializationException")
# What shows that CBOR is not spoken, when the first request meets it.
SIGNS: dict[str, Step] = {
    "SerializationException in CBOR": UNREADABLE,
    "UnknownOperationException in CBOR": error(400, "UnknownOperationException"),
    "the same in JSON": foreign(
        Response(400, JSON_HEADERS, b'{"__type":"SerializationException"}')
    ),
    "404 in CBOR": error(404, "NotFound"),
    "404": foreign(Response(404, {}, b"")),
    "415": foreign(Response(415, {"Content-Type": "text/plain"}, b"unsupported")),
    "500 in JSON": foreign(Response(500, JSON_HEADERS, b'{"__type":"InternalFailure"}')),
    "HTML": foreign(HTML),
    "no type": foreign(Response(200, {}, b"ok")),
    "JSON without entries": foreign(Response(200, JSON_HEADERS, b"{}")),
    "JSON that says CBOR": foreign(Response(400, CBOR_HEADERS, b'{"__type":"x"}')),
    "broken CBOR": foreign(Response(200, CBOR_HEADERS, b"\xa2gRecords")),
    "CBOR that is no map": foreign(Response(200, CBOR_HEADERS, b"\x80")),
    "JSON in which all entries failed": foreign(
        Response(200, JSON_HEADERS, entries_answer(["InternalFailure"]).body)
    ),
}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if LINE in text]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kinesis_fast")


def test_json_is_the_default() -> None:
    service = CborService()
    with new_output(service) as output:
        assert output.flush(numbered(range(3))) is OK
    assert service.content_types == [JSON_TYPE]


def test_requests_and_responses_in_cbor(caplog: pytest.LogCaptureFixture) -> None:
    service = CborService()
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered(range(1203))) is OK
        assert output.flush(numbered(range(1203, 1210))) is OK
        assert_stats(output, delivered=1210, requests=4, retried=0)
    assert service.content_types == [CBOR_TYPE] * 4
    assert numbers(service.kept) == list(range(1210))
    assert not lines(caplog)


@pytest.mark.parametrize("way", WAYS)
def test_aggregates_in_cbor(way: str) -> None:
    service = CborService(fail(0))
    with new_output(service, **CBOR, **WAYS[way]) as output:
        assert output.flush(keyed(range(500))) is OK
        assert_stats(output, delivered=500)
    assert sorted(all_numbers(service.kept)) == list(range(500))
    assert set(service.content_types) == {CBOR_TYPE}


def test_failed_entries_go_again_in_cbor_with_new_keys() -> None:
    service = CborService(fail(1, 3, code=INTERNAL))
    with new_output(service, FakeTime(), **CBOR) as output:
        assert output.flush(numbered(range(5))) is OK
        assert_stats(output, delivered=5, requests=2, retried=2)
    assert service.sizes == [5, 2]
    assert service.content_types == [CBOR_TYPE] * 2
    assert sorted(numbers(service.kept)) == list(range(5))
    keys = [{entry["PartitionKey"] for entry in sent} for sent in service.sent]
    assert not keys[0] & keys[1]


def test_errors_in_cbor_are_understood(caplog: pytest.LogCaptureFixture) -> None:
    said = error(400, "ResourceNotFoundException", "stream logs is not there")
    with new_output(CborService(then=said), **CBOR) as output:
        assert output.flush(numbered(range(2))) is RETRY
    assert "ResourceNotFoundException (HTTP 400): stream logs is not there" in caplog.text
    assert "no such stream in this account" in caplog.text
    assert not lines(caplog)


def test_refused_records_are_found_in_cbor() -> None:
    service = CborService(then=refuse_if(lambda data: data == b'{"n":3}'))
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered(range(8))) is OK
        assert_stats(output, delivered=7, dead=1)
    assert sorted(numbers(service.kept)) == [0, 1, 2, 4, 5, 6, 7]
    assert set(service.content_types) == {CBOR_TYPE}


# --- back to JSON -------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_at_the_first_request(sign: str, caplog: pytest.LogCaptureFixture) -> None:
    """The same records go out as JSON at once: no pause, no failed attempt, one log line."""
    clock = FakeTime()
    service = CborService(SIGNS[sign])
    with new_output(service, clock, **CBOR) as output:
        assert output.flush(numbered([7])) is OK
        is_paused = sign == "JSON in which all entries failed"  # that is a response to the entries
        assert bool(clock.waits) == is_paused
        assert output.flush(numbered([8, 9])) is OK
        assert_stats(output, in_=3, delivered=3, entries=3, requests=3)
    assert service.content_types == [CBOR_TYPE, JSON_TYPE, JSON_TYPE]
    assert numbers(service.kept) == [7, 8, 9]
    assert len(lines(caplog)) == 1


def test_the_line_says_why_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    with new_output(CborService(UNREADABLE), **CBOR) as output:
        output.flush(numbered([1]))
    (line,) = lines(caplog)
    assert "option protocol" in line
    assert "SerializationException (HTTP 400): because" in line


@pytest.mark.parametrize("way", ["single", *WAYS])
def test_each_record_arrives_once(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Several requests are under way; those that were written before go out as JSON, too."""
    gate = Gate(UNREADABLE)
    service = OnlyJson(gate)
    options = {**CBOR, **WAYS.get(way, {}), "max_in_flight": "4"}
    n = 4000 if way == "single" else 30_000
    n_first = 1 if "keyed" in way else 2  # with keys, all requests are in one lane
    chunk = keyed(range(n))
    with new_output(service, **options) as output:
        results: list[FlushResult] = []
        thread = threading.Thread(target=lambda: results.append(output.flush(chunk)))
        thread.start()
        gate.wait_for_arrivals(n_first)
        gate.open()
        thread.join(20)
        assert results == [OK]
        assert_stats(output, in_=n, delivered=n, pending=0, returned=0, dead=0)
    assert sorted(all_numbers(service.kept)) == list(range(n))
    n_cbor = service.content_types.count(CBOR_TYPE)
    assert n_first <= n_cbor <= 4
    assert len(service.content_types) > n_cbor
    assert len(lines(caplog)) == 1


def test_records_of_a_key_keep_their_order_when_requests_become_json() -> None:
    service = CborService(UNREADABLE, then=accept)
    options = {**CBOR, "partition_key": "k", "max_in_flight": "4"}
    with new_output(service, **options) as output:
        assert output.flush(keyed(range(6000))) is OK
    by_key: dict[int, list[int]] = {}
    for number in all_numbers(service.kept):
        by_key.setdefault(number % 13, []).append(number)
    assert all(found == sorted(found) for found in by_key.values())
    assert sum(map(len, by_key.values())) == 6000


def test_what_json_acknowledges_is_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """A service may read CBOR and respond in JSON."""
    said = Response(200, JSON_HEADERS, entries_answer([None, None]).body)
    service = CborService(foreign(said, stored=range(2)))
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered(range(2))) is OK
        assert output.flush(numbered(range(2, 4))) is OK
        assert_stats(output, delivered=4, requests=2, retried=0)
    assert service.content_types == [CBOR_TYPE, JSON_TYPE]
    assert numbers(service.kept) == [0, 1, 2, 3]
    assert len(lines(caplog)) == 1


def test_what_fails_as_json_as_well_has_used_one_attempt() -> None:
    clock = FakeTime()
    service = CborService(UNREADABLE, then=error(500, "InternalFailure"))
    with new_output(service, clock, **CBOR) as output:
        assert output.flush(numbered([1])) is RETRY
        assert_stats(output, requests=5, returned=1)
    assert service.content_types == [CBOR_TYPE, *[JSON_TYPE] * 4]
    assert len(clock.waits) == 3


def test_a_request_that_was_not_sent_as_json_counts_as_sent() -> None:
    service = CborService(UNREADABLE, raise_it(NotSentError("no credentials")))
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered([1])) is RETRY
        assert_stats(output, requests=1, returned=1)


# --- what is no sign ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        HTML,
        Response(404, {}, b""),
        Response(500, JSON_HEADERS, b'{"__type":"InternalFailure"}'),
        Response(200, CBOR_HEADERS, b"\xa2gRecords"),
    ],
)
def test_once_cbor_was_accepted_other_responses_are_failures(
    answer: Response, caplog: pytest.LogCaptureFixture
) -> None:
    service = CborService(accept, foreign(answer))
    clock = FakeTime()
    with new_output(service, clock, **CBOR) as output:
        assert output.flush(numbered([1])) is OK
        is_blocked = answer.status == 404
        assert output.flush(numbered([2])) is (RETRY if is_blocked else OK)
        assert output.flush(numbered([2])) is OK
        assert bool(clock.waits) != is_blocked
    assert set(service.content_types) == {CBOR_TYPE}
    assert not lines(caplog)


def test_an_error_in_cbor_shows_that_it_is_spoken(caplog: pytest.LogCaptureFixture) -> None:
    service = CborService(error(500, "InternalFailure"), foreign(HTML))
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered([1])) is OK
    assert service.content_types == [CBOR_TYPE] * 3
    assert not lines(caplog)


@pytest.mark.parametrize("sign", ["SerializationException in CBOR", "the same in JSON", "415"])
def test_an_error_that_says_so_always_is_a_sign(
    sign: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = CborService(accept, SIGNS[sign])
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered([1])) is OK
        assert output.flush(numbered([2])) is OK
        assert_stats(output, delivered=2, requests=3)
    assert service.content_types == [CBOR_TYPE, CBOR_TYPE, JSON_TYPE]
    assert len(lines(caplog)) == 1


def test_no_response_is_no_sign(caplog: pytest.LogCaptureFixture) -> None:
    service = CborService(raise_it(TimeoutError()))
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered([1])) is OK
    assert service.content_types == [CBOR_TYPE] * 2
    assert not lines(caplog)


def test_json_requests_meet_none_of_this(caplog: pytest.LogCaptureFixture) -> None:
    with new_output(CborService(UNREADABLE)) as output:
        assert output.flush(numbered([1])) is RETRY
    assert "SerializationException" in caplog.text
    assert not lines(caplog)


# --- strictness ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["X", 1, 0, False, [], {}, b""])
def test_any_code_but_none_is_a_failure(code: object) -> None:
    entry = {"SequenceNumber": "1", "ShardId": "s", "ErrorCode": code, "ErrorMessage": None}
    body = cbor2.dumps({"FailedRecordCount": 0, "Records": [entry]})
    service = CborService(foreign(Response(200, CBOR_HEADERS, body)))
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered([1])) is OK
        assert_stats(output, delivered=1, requests=2)
    assert service.sizes == [1, 1]


def test_a_type_with_parameters_and_in_capitals() -> None:
    headers = {"CONTENT-TYPE": "Application/X-Amz-CBOR-1.1; charset=utf-8"}
    service = CborService(
        foreign(cbor_answer([None])._replace(headers=headers), stored=[0]), foreign(HTML)
    )
    with new_output(service, **CBOR) as output:
        assert output.flush(numbered([1])) is OK
        assert output.flush(numbered([2])) is OK
    assert set(service.content_types) == {CBOR_TYPE}


# --- transports and spools ----------------------------------------------------------------------


def test_a_transport_that_takes_no_cbor_gets_json(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport()
    with new_output(transport, **CBOR) as output:
        assert output.flush(numbered([1])) is OK
    assert numbers(transport.kept) == [1]
    assert "the transport of this output takes no CBOR, so requests are JSON" in caplog.messages


@pytest.mark.parametrize(("first", "second"), [("json", "cbor"), ("cbor", "json")])
def test_what_was_spooled_with_one_protocol_is_sent_with_the_other(
    tmp_path: Path, first: str, second: str
) -> None:
    options = {"spool_dir": str(tmp_path), "experimental_concurrency": "1"}
    down = CborService(then=error(500, "InternalFailure"))
    with new_output(down, **options, protocol=first) as output:
        assert output.flush(numbered([1, 2, 3])) is OK
        eventually(lambda: down.sizes)
    up = CborService()
    with new_output(up, **options, protocol=second) as output:
        eventually(lambda: len(up.kept) == 3)
    assert numbers(up.kept) == [1, 2, 3]
    assert set(up.content_types) == {CBOR_TYPE if second == "cbor" else JSON_TYPE}


def test_raw_steps_are_what_they_say() -> None:
    """The fake: a response of JSON comes as CBOR."""
    reply = CborService(raw(b'{"a":1}')).send(memoryview(b"\xa1gRecords\x80"), 0, None, CBOR_TYPE)
    assert (reply.headers, reply.body) == (CBOR_HEADERS, b"\xa1aa\x01")
