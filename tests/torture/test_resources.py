"""The measure of soak.py: it sees what is never given back, and not what an allocator keeps."""

from __future__ import annotations

import threading

import pytest
from exact_memory import LIBC
from resources import ALLOWED_GROWTH, Resources, growth, malloc_bytes, resources

KIB = 1024
STEADY = Resources(
    malloc_bytes=13_000_000, python_blocks=350_000, python_objects=75_000, descriptors=20, threads=5
)

needs_glibc = pytest.mark.skipif(not hasattr(LIBC, "mallinfo2"), reason="needs glibc 2.33")


@needs_glibc
@pytest.mark.parametrize("block_bytes", [KIB, 1024 * KIB])
def test_malloc_bytes_are_those_in_use_in_every_arena(block_bytes: int) -> None:
    taken: list[int] = []
    n_blocks = 4096 * KIB // block_bytes

    def take() -> None:  # on a thread of its own, so from an arena of its own
        taken.extend(LIBC.malloc(block_bytes) for _ in range(n_blocks))

    thread = threading.Thread(target=take)
    before = malloc_bytes()
    thread.start()
    thread.join()
    during = malloc_bytes()
    for address in taken:
        LIBC.free(address)
    after = malloc_bytes()
    assert during - before == pytest.approx(4096 * KIB, rel=0.1)
    assert abs(after - before) < 200 * KIB


@needs_glibc
def test_python_blocks_and_objects() -> None:
    before = resources()
    kept = [[number] for number in range(10_000, 20_000)]
    grown = resources()
    assert grown.python_objects - before.python_objects == pytest.approx(len(kept), rel=0.1)
    assert grown.python_blocks - before.python_blocks >= 2 * len(kept)


@pytest.mark.parametrize("name", Resources._fields)
def test_what_grows_with_every_sample_is_a_leak(name: str) -> None:
    step = getattr(ALLOWED_GROWTH, name) / 10
    samples = [
        STEADY._replace(**{name: getattr(STEADY, name) + int(step * n) + 1}) for n in range(40)
    ]
    (wrong,) = growth(samples)
    assert wrong.startswith(f"{name} grew from ")


@pytest.mark.parametrize("name", Resources._fields)
def test_what_is_there_at_times_is_no_leak(name: str) -> None:
    more = STEADY._replace(**{name: 2 * getattr(STEADY, name)})
    assert growth([*[more] * 10, STEADY, *[more] * 8, STEADY, *[more] * 9, STEADY]) == []


def test_what_grows_at_the_start_is_no_leak() -> None:
    assert growth([Resources(0, 0, 0, 0, 0), *[STEADY] * 2]) == []


def test_too_few_samples() -> None:
    assert growth([STEADY] * 2) == ["too few rounds to tell"]
