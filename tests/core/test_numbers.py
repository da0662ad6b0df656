"""Integers and floats as JSON text."""

from __future__ import annotations

import math
import runpy
import struct
from pathlib import Path
from random import Random

import pytest
import wire
from chunks import chunk_of, output_config, pack
from encoded import drain
from oracle_text import go_float

PER_RECORD = 10_000  # numbers; a number has at most 24 characters and a comma: 250 KB


def texts_of(numbers: list[bytes]) -> list[str]:
    """Return the text of each finished number."""
    chunk = b"".join(
        wire.array(
            [b"\x01", wire.mapping([(b"\x01", wire.array(numbers[i : i + PER_RECORD], wire.W32))])]
        )
        for i in range(0, len(numbers), PER_RECORD)
    )
    entries = drain(chunk, output_config()).entries
    for entry in entries:
        assert entry.data.startswith(b'{"1":[') and entry.data.endswith(b"]}")
    return ",".join(entry.data[6:-2].decode() for entry in entries).split(",")


def assert_floats(values: list[float]) -> None:
    found = texts_of([wire.float64(value) for value in values])
    for value, text in zip(values, found, strict=True):
        assert text == go_float(value), value.hex()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (100.0, "100"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (1e-6, "0.000001"),
        (1.234e-6, "0.000001234"),
        (9.99999999e-7, "9.99999999e-07"),
        (1e-7, "1e-07"),
        (-1.5e-9, "-1.5e-09"),
        (1e-10, "1e-10"),
        (1e-100, "1e-100"),
        (5e-324, "5e-324"),
        (2.2250738585072014e-308, "2.2250738585072014e-308"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (1e20, "100000000000000000000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (1.5e21, "1.5e+21"),
        (-1e22, "-1e+22"),
        (9007199254740991.0, "9007199254740991"),
        (9007199254740992.0, "9007199254740992"),
        (9007199254740993.0, "9007199254740992"),
        (123456789.125, "123456789.125"),
        (1 / 3, "0.3333333333333333"),
        (2.0**63, "9223372036854776000"),
        (2251799813685248.5, "2251799813685248.5"),
    ],
)
def test_floats_have_the_layout_of_go(value: float, text: str) -> None:
    assert go_float(value) == text
    assert texts_of([wire.float64(value)]) == [text]


def test_powers_of_ten_and_two_and_their_neighbours() -> None:
    values = [10.0**i for i in range(-323, 309)] + [2.0**i for i in range(-1074, 1024)]
    bits = [int.from_bytes(struct.pack(">d", value), "big") for value in values]
    near = [
        wire.float64_bits(max(pattern + step, 0))[1:] for pattern in bits for step in (-1, 0, 1)
    ]
    finite = [struct.unpack(">d", raw)[0] for raw in near]

    assert_floats(finite)
    assert_floats([-value for value in finite])


def test_decimal_numbers_as_in_logs() -> None:
    rng = Random(7)
    values = [round(rng.uniform(-1e6, 1e6), rng.randrange(9)) for _ in range(20_000)]

    assert_floats(values)


def random_doubles(rng: Random, n_values: int) -> list[float]:
    raw = rng.randbytes(8 * n_values)
    return [
        value
        for value in struct.unpack(f">{n_values}d", raw)
        if value - value == 0  # finite
    ]


@pytest.mark.heavy
def test_random_doubles() -> None:
    values = random_doubles(Random(42), 200_000)

    found = texts_of([wire.float64(value) for value in values])

    assert len(values) > 199_000
    assert [float(text) for text in found] == values
    assert [len(text) for text in found] == [len(go_float(value)) for value in values]
    assert found[::20] == [go_float(value) for value in values[::20]]


def test_the_table_of_powers_of_ten_is_as_generated() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    generated = runpy.run_path(str(root / "tools" / "make_powers_of_ten.py"))["header"]()

    assert (root / "src_pyx" / "kernels" / "powers_of_ten.hpp").read_text() == generated


def decimals(rng: Random, n_values: int) -> list[float]:
    """Return decimal numbers of all lengths, and the doubles next to them."""
    values = []
    for _ in range(n_values):
        value = rng.randrange(10 ** rng.randrange(1, 19)) / 10 ** rng.randrange(25)
        values += [value, math.nextafter(value, rng.choice((0.0, math.inf)))]
    return values


def test_decimals_of_all_lengths_and_their_neighbours() -> None:
    assert_floats(decimals(Random(5), 20_000))


def test_around_the_limits_of_the_fast_path_for_short_decimals() -> None:
    """The fast path takes 1e-6 <= value < 1e7 with at most eight decimals, but not integers."""
    values = [1e-8, 1.5e-8, 9.9e-7, 1e-6, 1.00000001, 9999999.99999999, 9999999.5, 1e7, 10000000.5]
    values += [0.1 + 0.2, 0.12345678, 0.123456789, 1234567.12345678, 0.00000101, 2**-8, 2**-9]
    for value in list(values):
        values += [math.nextafter(value, 0.0), math.nextafter(value, math.inf)]

    assert_floats(values)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_millions_of_doubles(seed: int) -> None:
    assert_floats(random_doubles(Random(seed), 250_000))
    assert_floats(decimals(Random(seed), 75_000))


@pytest.mark.long
def test_every_exponent_with_fractions_at_their_limits() -> None:
    fractions = [*range(8), *((1 << 52) - 1 - i for i in range(8)), *(1 << i for i in range(52))]
    patterns = [biased << 52 | fraction for biased in range(0x7FF) for fraction in fractions]

    assert_floats([struct.unpack(">d", pattern.to_bytes(8, "big"))[0] for pattern in patterns])


def test_single_precision_is_widened() -> None:
    rng = Random(8)
    patterns = [0x3DCCCCCD, 0x00000001, 0x7F7FFFFF, 0x80000000, 0x33D6BF95]
    patterns += [rng.getrandbits(32) for _ in range(20_000)]
    patterns = [pattern for pattern in patterns if pattern >> 23 & 0xFF != 0xFF]
    widened = [struct.unpack(">f", p.to_bytes(4, "big"))[0] for p in patterns]

    found = texts_of([wire.float32_bits(pattern) for pattern in patterns])

    assert found == [go_float(value) for value in widened]
    assert found[0] == "0.10000000149011612"


@pytest.mark.parametrize(
    "form",
    [
        wire.float64(float("nan")),
        wire.float64(float("inf")),
        wire.float64(float("-inf")),
        wire.float64_bits(0xFFF8_0000_0000_0001),
        wire.float64_bits(0x7FF0_0000_0000_0001),
        wire.float32_bits(0x7FC00000),
        wire.float32_bits(0x7F800000),
        wire.float32_bits(0xFF800000),
    ],
)
def test_what_is_not_finite_becomes_null_and_is_counted(form: bytes) -> None:
    body = wire.mapping([(b"\x01", form), (b"\x02", wire.array([form, b"\x01"]))])

    drained = drain(wire.array([b"\x01", body]), output_config())

    assert drained.entries[0].data == b'{"1":null,"2":[null,1]}'
    assert drained.tally == {"records": 1, "nan_values": 2}


def test_only_values_that_are_written_are_counted() -> None:
    nan = float("nan")
    chunk = chunk_of([{"a": nan, "b": [nan]}, {"log": nan, "b": nan}])

    assert drain(chunk, output_config({"data_keys": "a"})).tally["nan_values"] == 1
    assert drain(chunk, output_config({"log_key": "log"})).tally["nan_values"] == 1
    assert drain(chunk, output_config({"time_key": "b"})).tally["nan_values"] == 2
    assert drain(chunk, output_config({"partition_key": "a"})).tally["nan_values"] == 4


def test_integers_in_every_form() -> None:
    forms = [(value, form) for value in wire.INTEGERS for form in wire.integer_forms(value)]

    assert len(forms) > 150
    assert texts_of([form for _, form in forms]) == [str(value) for value, _ in forms]


def test_random_integers_of_all_lengths() -> None:
    rng = Random(9)
    values = [rng.getrandbits(rng.randrange(1, 65)) for _ in range(20_000)]
    values += [-rng.getrandbits(rng.randrange(1, 64)) for _ in range(20_000)]

    assert texts_of([pack(value) for value in values]) == [str(value) for value in values]
