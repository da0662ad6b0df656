"""Lasting conditions: full shards, bad certificates, wrong clocks, credentials, huge answers."""

import threading
import time
from pathlib import Path

import pytest
from chunks import chunk_of, output_config
from fault_flushes import (
    TRANSPORTS,
    NewOutput,
    assert_exact,
    bring,
)
from fault_server import FaultServer
from outputs import assert_balanced, numbered

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.context import Timing

OK, RETRY = FlushResult.OK, FlushResult.RETRY
CORRECTS_CLOCK = tuple(name for name in TRANSPORTS if name != "botocore")
MIB = 1024 * 1024
ANSWER_BYTES = {"botocore": 16 * MIB, "direct": 1024 * MIB}  # botocore reads the whole body
GROWTH_BYTES = {"botocore": 200 * MIB, "direct": 40 * MIB}
HOUR_S = 3600

with_each_transport = pytest.mark.parametrize("transport", TRANSPORTS)
long_with_botocore = pytest.mark.parametrize(
    "transport", ["direct", pytest.param("botocore", marks=pytest.mark.long)]
)


def peak_bytes() -> int:
    """Return the peak of resident memory since `forget_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


# --- shards ---


def keyed(numbers: range, padding: int = 0) -> bytes:
    """Return a chunk whose records have one of 97 keys, and padding."""
    return chunk_of({"n": n, "key": f"key {n % 97}", "pad": "x" * padding} for n in numbers)


@long_with_botocore
@pytest.mark.parametrize("max_in_flight", [pytest.param("1", marks=pytest.mark.long), "4"])
@pytest.mark.parametrize(
    ("rates", "padding"),
    [
        ({"records_per_s": 1000, "bytes_per_s": 1e9}, 0),
        ({"records_per_s": 1e9, "bytes_per_s": 350_000}, 300),
    ],
)
def test_full_shards(
    rates: dict[str, float], padding: int, max_in_flight: str, transport: str, server: FaultServer
) -> None:
    server.rule(shards={"n_shards": 2, **rates})
    config = output_config(
        transport=transport, max_in_flight=max_in_flight, partition_key="key", endpoint=server.url
    )
    with KinesisOutput(config, timing=Timing(random=lambda: 0.5)) as output:
        bring(output, keyed(range(3000), padding))
    seen = server.seen()
    assert_exact(output, seen, range(3000))
    assert output.stats()["throttles"] > 0


@long_with_botocore
def test_a_chunk_larger_than_a_shard_takes_in_one_flush(
    transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    """Between two flushes the shard accepts only a part of the chunk, so each sends some of it."""
    output = new_output(transport=transport, partition_key="key")
    server.rule(shards={"n_shards": 1, "records_per_s": 300, "bytes_per_s": 1e9})
    results = bring(output, keyed(range(2500)), on_retry=lambda: time.sleep(0.1))
    assert RETRY in results
    seen = server.seen()
    assert_exact(output, seen, range(2500))


# --- certificates ---


@with_each_transport
@pytest.mark.parametrize("certificate", ["expired", "other_host", "stranger"])
def test_a_certificate_that_must_be_rejected(
    certificate: str, transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    server.certificate(certificate)
    output = new_output(transport=transport, endpoint=server.tls_url)
    assert bring(output, numbered(range(700)), on_retry=server.heal) == [RETRY, OK]
    seen = server.seen()
    assert_exact(output, seen, range(700))
    assert seen.counts["requests"] == 2


@with_each_transport
@pytest.mark.parametrize("port_of", ["plain", "tls"])
def test_the_wrong_kind_of_port(
    port_of: str, transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    endpoint = {
        "plain": server.url.replace("http:", "https:"),
        "tls": server.tls_url.replace("https:", "http:"),
    }[port_of]
    output = new_output(transport=transport, endpoint=endpoint, http_request_timeout="0.5")
    assert output.flush(numbered(range(10))) is RETRY
    assert_balanced(output.stats())
    assert output.stats()["returned"] == 10
    assert not server.seen().accepted


# --- clocks ---


@with_each_transport
@pytest.mark.parametrize("code", ["InvalidSignatureException", "RequestTimeTooSkewed"])
@pytest.mark.parametrize("skew_s", [-2 * HOUR_S, 2 * HOUR_S])
def test_a_wrong_clock_that_is_corrected(
    skew_s: float, code: str, transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    output = new_output(transport=transport)
    server.rule(skew_s=skew_s, skew_code=code)
    results = bring(output, numbered(range(700)), on_retry=server.heal)
    assert len(results) <= 2
    seen = server.seen()
    assert seen.counts[code] >= 1
    assert_exact(output, seen, range(700))
    assert output.flush(numbered(range(700, 900))) is OK


@pytest.mark.parametrize("transport", CORRECTS_CLOCK)
@pytest.mark.parametrize("code", ["InvalidSignatureException", "RequestTimeTooSkewed"])
@pytest.mark.parametrize("skew_s", [-2 * HOUR_S, 2 * HOUR_S, 400 * 24 * HOUR_S])
def test_a_clock_that_stays_wrong(
    skew_s: float, code: str, transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    """The service says what time it is, and accepts a request signed with that time."""
    output = new_output(transport=transport)
    server.rule(skew_s=skew_s, skew_code=code)
    assert len(bring(output, numbered(range(1200)))) <= 2
    assert bring(output, numbered(range(1200, 2000))) == [OK]
    seen = server.seen()
    assert_exact(output, seen, range(2000))


# --- credentials ---


@pytest.fixture(params=[3600.0, 5.0])
def lifetime_s(
    request: pytest.FixtureRequest, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> float:
    """Credentials come from the server and claim to be valid for this many seconds."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.credentials_url)
    server.rule(lifetime_s=request.param)
    return float(request.param)


@long_with_botocore
@pytest.mark.parametrize("max_in_flight", ["1", "4"])
def test_credentials_that_expire_early(
    max_in_flight: str,
    transport: str,
    lifetime_s: float,
    server: FaultServer,
    new_output: NewOutput,
) -> None:
    output = new_output(transport=transport, max_in_flight=max_in_flight)
    n_retries = 0
    for round_ in range(8):
        numbers = range(1200 * round_, 1200 * round_ + 1200)
        if round_ % 2:
            server.expire_keys()
        results = bring(output, numbered(numbers))
        assert len(results) <= 2
        n_retries += len(results) - 1
    seen = server.seen()
    assert_exact(output, seen, range(9600))
    assert not n_retries or seen.counts["ExpiredTokenException"]
    assert seen.counts["keys"] >= 4


@long_with_botocore
def test_no_request_is_signed_with_parts_of_two_keys(
    transport: str, lifetime_s: float, server: FaultServer, new_output: NewOutput
) -> None:
    output = new_output(transport=transport)
    end = threading.Event()

    def send(first: int) -> None:
        for start in range(first, first + 4000, 400):
            bring(output, numbered(range(start, start + 400)))

    threads = [threading.Thread(target=send, args=(4000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    n_before = 0
    while any(thread.is_alive() for thread in threads):
        n_requests = output.stats()["requests"]
        if n_requests >= n_before + 8:  # on a slow machine no request may get through otherwise
            server.expire_keys()
            n_before = n_requests
        end.wait(0.1)
    seen = server.seen()
    assert seen.counts["InvalidSignatureException"] == 0
    assert seen.counts["UnrecognizedClientException"] == 0
    assert_exact(output, seen, range(16_000))


# --- endless answers ---


@with_each_transport
@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_huge_answer(
    scheme: str, coded: bool, transport: str, server: FaultServer, new_output: NewOutput
) -> None:
    endpoint = server.url if scheme == "http" else server.tls_url
    output = new_output(transport=transport, endpoint=endpoint)
    assert output.flush(numbered(range(1))) is OK
    server.plan({"kind": "endless", "n_bytes": ANSWER_BYTES[transport], "coded": coded})
    forget_peak()
    before = peak_bytes()
    assert bring(output, numbered(range(1, 1200))) == [OK]
    assert peak_bytes() - before < GROWTH_BYTES[transport]
    seen = server.seen()
    assert_exact(output, seen, range(1200))


@with_each_transport
def test_endless_headers(transport: str, server: FaultServer, new_output: NewOutput) -> None:
    output = new_output(transport=transport)
    server.plan({"kind": "endless_head"})
    forget_peak()
    before = peak_bytes()
    assert bring(output, numbered(range(1200))) == [OK]
    assert peak_bytes() - before < 40 * MIB
    seen = server.seen()
    assert_exact(output, seen, range(1200))
