"""One fault at a time over real sockets: nothing is lost, nothing arrives twice without need."""

import time
from itertools import product
from typing import Any, NamedTuple

import pytest
from fault_flushes import TRANSPORTS, NewOutput, assert_exact, bring
from fault_server import FaultServer
from fault_server_service import Fault
from outputs import numbered

from kinesis_fast import FlushResult

OK, RETRY = FlushResult.OK, FlushResult.RETRY
N_RECORDS = 1200  # three requests
PATIENCE_S = 30.0  # far more than time-outs, budget and a busy machine together
SHORT_S = "0.5"  # for a server that makes the client wait
INTERNAL = "InternalFailure"
ANSWERS = {"partial", "status", "garbage", "wrong_count"}  # well-formed HTTP
BREAKS = {"reset", "half", "hang", "close"}  # what TLS turns into something else


class Case(NamedTuple):
    """A fault, and the result of a flush that meets it once, or every time."""

    fault: Fault
    once: FlushResult = OK
    always: tuple[FlushResult, ...] = (RETRY,)
    timeout_s: str = "20"


def case(kind: str, expected: Case = Case({}), **arguments: Any) -> Case:  # noqa: B008
    return expected._replace(fault={"kind": kind, **arguments})


BLOCKS = Case({}, once=RETRY)
WAITS = Case({}, timeout_s=SHORT_S)
TRUE = Case({}, always=(OK,))
EITHER = Case({}, always=(OK, RETRY))  # the answer arrives, but is not valid HTTP

CASES = {
    "partial-first": case("partial", EITHER, indexes=[0]),
    "partial-all": case("partial", indexes=list(range(500))),
    "partial-some": case("partial", EITHER, chance=0.3, seed=7),
    "partial-most": case("partial", chance=0.95, seed=8, code=INTERNAL),
    "500": case("status", status=500),
    "503-html": case("status", status=503, body="<html>busy</html>"),
    "503-drips": case("drip"),
    "429": case("status", status=429, body=""),
    "throttled": case("status", status=400, code="ProvisionedThroughputExceededException"),
    "denied": case("status", BLOCKS, status=400, code="AccessDeniedException"),
    "307": case("status", BLOCKS, status=307, body="", location="http://127.0.0.1:9/"),
    "301-html": case("status", BLOCKS, status=301, body="<html/>", location="https://127.0.0.1/"),
    "reset-before": case("reset", when="before"),
    "reset-during": case("reset", when="during"),
    "reset-after": case("reset", when="after"),
    "answer-lost": case("reset", keep=True),
    "answer-cut": case("half", share=0.9),
    "answer-cut-in-the-head": case("half", share=0.001),
    "answer-reset": case("half", then="reset"),
    "answer-stops": case("half", WAITS, then="hang"),
    "too-long": case("wrong_length", EITHER, more=1000),
    "too-short": case("wrong_length", more=-1000),
    "shorter-by-one": case("wrong_length", more=-1),
    "chunks-cut": case("half_chunked"),
    "garbage": case("garbage"),
    "empty": case("garbage", body="", keep=True),
    "garbage-json": case("garbage", body='{"Records":[1', keep=True),
    "null": case("garbage", body="null", keep=True),
    "deep-json": case("garbage", body="[" * 100_000),
    "garbage-head": case("garbage_head"),
    "garbage-status": case("garbage_head", text="HTTP/1.1 two hundred\r\n\r\n"),
    "negative-length": case("garbage_head", text="HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    "one-record-less": case("wrong_count", more=-1),
    "one-record-more": case("wrong_count", more=1),
    "hang": case("hang", WAITS),
    "hang-unread": case("hang", WAITS, head=False),
    "hang-kept": case("hang", WAITS, keep=True),
    "slow-reader": case("slow_read", TRUE),
    "close": case("close", TRUE),
    "close-unsaid": case("close", TRUE, said=False),
    "http-1.0": case("http_1_0", TRUE),
    "http-1.0-torn": case("http_1_0", EITHER, clean=False),
    "chunked": case("chunked", TRUE),
    "100-continue": case("interim", TRUE),
}


def combinations(schemes: tuple[str, ...] = ("http",)) -> list[Any]:
    """Return all cases with each transport and scheme.

    The long ones repeat what a short one shows: HTTP without TLS, and the handling of broken
    connections in botocore, which is not ours.
    """
    found = []
    for name, transport, scheme in product(CASES, TRANSPORTS, schemes):
        # A fault that stays costs all attempts of a flush, each with its time-out.
        is_slow = len(schemes) == 1 and CASES[name].timeout_s == SHORT_S and name != "hang-kept"
        is_answer = CASES[name].fault["kind"] in ANSWERS
        is_short = {
            ("botocore", "http"): is_answer and len(schemes) == 2,
            ("botocore", "https"): False,
            ("direct", "http"): CASES[name].fault["kind"] in BREAKS or len(schemes) == 1,
            ("direct", "https"): True,
        }[transport, scheme]
        is_long = is_slow or not is_short
        marks = [pytest.mark.long] if is_long else []
        values = (name, transport, scheme)[: 1 + len(schemes)]  # one scheme needs no name
        found.append(pytest.param(*values, marks=marks, id="-".join(values)))
    return found


def target(server: FaultServer, scheme: str) -> str:
    return server.url if scheme == "http" else server.tls_url


@pytest.mark.parametrize(("name", "transport", "scheme"), combinations(("http", "https")))
def test_a_fault_that_passes(
    name: str, transport: str, scheme: str, server: FaultServer, new_output: NewOutput
) -> None:
    case = CASES[name]
    output = new_output(
        transport=transport, endpoint=target(server, scheme), http_request_timeout=case.timeout_s
    )
    server.plan(case.fault)
    started = time.monotonic()
    results = bring(output, numbered(range(N_RECORDS)))
    assert time.monotonic() - started < PATIENCE_S
    assert results == ([OK] if case.once is OK else [RETRY, OK])
    seen = server.seen()
    assert_exact(output, seen, range(N_RECORDS))
    assert seen.counts[case.fault["kind"]] >= 1


@pytest.mark.parametrize(("name", "transport"), combinations())
def test_a_fault_that_stays_until_the_host_comes_back(
    name: str, transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    case = CASES[name]
    output = new_output(transport=transport, http_request_timeout=case.timeout_s)
    server.plan(then=case.fault)
    started = time.monotonic()
    results = bring(output, numbered(range(N_RECORDS)), on_retry=server.heal)
    assert time.monotonic() - started < PATIENCE_S
    assert results[0] in case.always
    assert len(results) <= 2
    seen = server.seen()
    assert_exact(output, seen, range(N_RECORDS))


@pytest.mark.parametrize("transport", ["direct", pytest.param("botocore", marks=pytest.mark.long)])
def test_all_faults_in_a_row_on_one_output(
    transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    """What one answer leaves on a connection must not be read as part of the next answer."""
    output = new_output(transport=transport, http_request_timeout=SHORT_S)
    cases = [case for case in CASES.values() if case.timeout_s != SHORT_S]
    server.plan(*(case.fault for case in cases for _ in range(2)))
    sent = range(40 * N_RECORDS)
    for first in range(0, len(sent), N_RECORDS):
        bring(output, numbered(sent[first : first + N_RECORDS]))
    seen = server.seen()
    assert_exact(output, seen, sent)
