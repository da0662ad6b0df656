"""What is measured of each request."""

import threading
from collections.abc import Callable

import pytest
from fake_transport import FakeTransport, accept, error, fail, fail_all, raise_it, raw
from hypothesis import given
from hypothesis import strategies as st
from outputs import Gate, new_output, numbered
from scraping import samples_of_outputs, value, values

from kinesis_fast import FlushResult, NotSentError, TransportError
from kinesis_fast.metrics.meter import DURATIONS_S, MAX_CODES, OTHER, SIZES, Histogram, Meter

PORT = "1"  # nothing may listen there; the outputs of these tests are read without an endpoint


@pytest.fixture(autouse=True)
def no_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let outputs measure, and listen nowhere."""
    monkeypatch.setattr("kinesis_fast.metrics.services.Listening.begin", lambda _: None)


@given(st.lists(st.floats(0, 100, allow_nan=False), max_size=50))
def test_each_observation_is_in_the_first_bucket_that_holds_it(observed: list[float]) -> None:
    histogram = Histogram(DURATIONS_S)
    for number in observed:
        histogram.observe(number)
    bounds, counts, total = histogram.now()
    ends = (*bounds, float("inf"))
    assert sum(counts) == len(observed)
    assert total == pytest.approx(sum(observed))
    for index, end in enumerate(ends):
        assert sum(counts[: index + 1]) == sum(number <= end for number in observed)


@pytest.mark.parametrize("bounds", [DURATIONS_S, SIZES])
def test_the_bounds_rise(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def test_duration_and_size_of_a_request() -> None:
    now = [100.0]
    meter = Meter(lambda: now[0])
    started = meter.begin()
    assert (meter.n_in_flight, meter.oldest_in_flight_s) == (1, 0.0)
    now[0] += 0.3
    assert meter.oldest_in_flight_s == pytest.approx(0.3)
    meter.end(started, 5000)
    assert (meter.n_in_flight, meter.oldest_in_flight_s) == (0, 0.0)
    assert meter.durations.counts[DURATIONS_S.index(0.5)] == 1
    assert meter.sizes.counts[SIZES.index(16384)] == 1
    assert meter.sizes.total == 5000


def test_requests_of_an_output_are_measured() -> None:
    transport = FakeTransport(fail(0), raise_it(TransportError("no response")), accept)
    with new_output(transport, metrics_listen=PORT) as output:
        assert output.flush(numbered(range(600))) is FlushResult.OK
        samples = samples_of_outputs(output)
        n_requests = output.stats()["requests"]
    assert n_requests == len(transport.requests) == 4
    for name in ("request_duration_seconds", "request_size_bytes"):
        assert value(samples, f"{name}_count") == n_requests
        assert values(samples, f"{name}_bucket", "le")["+Inf"] == n_requests
    assert value(samples, "request_size_bytes_sum") > 600 * 20


def test_requests_in_flight() -> None:
    gate = Gate()
    transport = FakeTransport(then=gate)
    options = {"metrics_listen": PORT, "experimental_concurrency": "2"}
    with new_output(transport, **options) as output:
        for number in range(2):
            assert output.flush(numbered([number])) is FlushResult.OK
        gate.wait_for_arrivals(2)
        samples = samples_of_outputs(output)
        gate.open()
    assert value(samples, "requests_in_flight") == 2
    assert value(samples, "oldest_request_seconds") > 0
    assert value(samples, "records_pending") == 2


@pytest.mark.parametrize(
    ("step", "name", "codes"),
    [
        (fail(1, 2), "entry_errors_total", {"ProvisionedThroughputExceededException": 2}),
        (fail_all("InternalFailure"), "entry_errors_total", {"InternalFailure": 3}),
        (
            error(400, "LimitExceededException"),
            "request_errors_total",
            {"LimitExceededException": 1},
        ),
        (error(502, ""), "request_errors_total", {"HTTP-502": 1}),
        (raise_it(TransportError("no")), "request_errors_total", {"TransportError": 1}),
        (raise_it(NotSentError("no")), "request_errors_total", {"NotSentError": 1}),
        (raise_it(ValueError("no")), "request_errors_total", {"ValueError": 1}),
        (error(400, 'x"y\n'), "request_errors_total", {OTHER: 1}),
        (error(400, "a" * 65), "request_errors_total", {OTHER: 1}),
    ],
)
def test_errors_by_code(step: Callable[..., object], name: str, codes: dict[str, int]) -> None:
    with new_output(FakeTransport(step), metrics_listen=PORT) as output:  # type: ignore[arg-type]
        output.flush(numbered(range(3)))
        samples = samples_of_outputs(output)
    others = {"entry_errors_total", "request_errors_total"} - {name}
    assert values(samples, name, "code") == codes
    assert values(samples, others.pop(), "code") == {}


def test_a_response_that_is_not_about_the_request_has_a_code() -> None:
    with new_output(FakeTransport(raw(b"hello")), metrics_listen=PORT) as output:
        output.flush(numbered([1]))
        samples = samples_of_outputs(output)
    assert values(samples, "request_errors_total", "code") == {"UnknownResponse": 1}


def test_the_number_of_codes_is_bounded() -> None:
    meter = Meter()
    for number in range(MAX_CODES + 5):
        meter.count_errors({f"Code{number}": 2}, of_entries=True)
    meter.count_errors({"Code0": 1}, of_entries=True)
    assert len(meter.entry_errors) == MAX_CODES + 1
    assert meter.entry_errors[OTHER] == 10
    assert meter.entry_errors["Code0"] == 3
    assert meter.request_errors == {}


def test_no_observation_of_several_threads_is_lost() -> None:
    n_threads, n_each = 4, 2000
    meter = Meter()

    def observe() -> None:
        for _ in range(n_each):
            meter.end(meter.begin(), 1)

    threads = [threading.Thread(target=observe) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(meter.durations.counts) == sum(meter.sizes.counts) == n_threads * n_each
    assert meter.sizes.total == n_threads * n_each
    assert meter.n_in_flight == 0


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for number in (1.0, 2.0, 2.5):
        histogram.observe(number)
    assert histogram.now().counts == (1, 1, 1)
