"""Random schedules of flushes, faults, retries and restarts, checked against a model."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from chunks import event, output_config, pack
from fake_transport import INTERNAL, THROTTLED, FakeTime, entries_answer
from outputs import assert_balanced

from kinesis_fast import FlushResult, KinesisOutput, TransportError
from kinesis_fast.transport import NotSentError, Response

OK, RETRY = FlushResult.OK, FlushResult.RETRY
POISON_EVERY: Final = 211  # the service always refuses one number in so many
PATIENCE_S: Final = 60.0
Codes = Sequence[str | None]


def is_poison(number: int) -> bool:
    """Whether the service refuses the record with this number."""
    return number % POISON_EVERY == POISON_EVERY - 1


def key_of(number: int) -> str:
    """Return the partition key of the record with this number."""
    return f"key {number % 13}"


class Service:
    """A service in memory for all outputs; several threads may call every method.

    Attributes:
        fault_rate: probability of a fault for each request.
        arrived: how often it accepted each number.
        doubtful: how often without a response that acknowledges it.
        wrong: violations of the protocol by the client.
    """

    def __init__(self, chance: Random) -> None:
        self.fault_rate = 0.0
        self.arrived: Counter[int] = Counter()
        self.doubtful: Counter[int] = Counter()
        self.wrong: list[str] = []
        self._chance = chance
        self._lock = threading.Lock()

    def draw(self, n_records: int) -> tuple[str, Codes]:
        """Return what happens to the next request: a fault, and codes for its entries."""
        with self._lock:
            if self._chance.random() >= self.fault_rate:
                return "accept", [None] * n_records
            fault = self._chance.choice(FAULTS)
            share = self._chance.choice((0.01, 0.5, 0.99))
            refused = (THROTTLED, INTERNAL) if fault == "partial" else (None,)
            codes = [
                self._chance.choice(refused) if self._chance.random() < share else None
                for _ in range(n_records)
            ]
            return fault, codes

    def take(self, numbers: Sequence[int], codes: Codes, doubtful: bool) -> None:
        """Accept the entries without a code."""
        taken = [number for number, code in zip(numbers, codes, strict=True) if code is None]
        with self._lock:
            self.arrived.update(taken)
            if doubtful:
                self.doubtful.update(taken)


FAULTS: Final = (
    *("partial", "partial", "partial", "lost", "reset", "unsent", "bug", "slow"),
    *("503", "throttled", "denied", "garbage", "garbage-kept", "short-kept", "long-kept"),
)


def refusal(status: int, code: str, message: str = "because") -> Response:
    """Return an error for a whole request."""
    return Response(status, {}, json.dumps({"__type": code, "message": message}).encode())


class SlotTransport:
    """The transport of one output.

    Args:
        service: accepts the entries.
        has_keys: whether the output reads the partition key from the record.

    Attributes:
        acknowledged: entries whose acceptance was reported in a response.
        n_refused: records that were refused when they were alone.
    """

    def __init__(self, service: Service, has_keys: bool) -> None:
        self.acknowledged = 0
        self.n_refused = 0
        self._service = service
        self._has_keys = has_keys
        self._lock = threading.Lock()

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Send a request, unless a random fault prevents it."""
        numbers = self._numbers(bytes(body), n_records)
        fault, codes = self._service.draw(n_records)
        if fault == "slow":
            time.sleep(0.001)
        if fault in RESPONSES:
            return RESPONSES[fault]
        if fault in RAISED:
            raise RAISED[fault]("nothing was sent")
        if any(map(is_poison, numbers)):
            with self._lock:
                self.n_refused += n_records == 1
            return refusal(400, "ValidationException", "1 validation error at 'records'")
        unclear = fault == "lost" or fault.endswith("-kept")
        self._service.take(numbers, codes, unclear)
        return self._unclear(fault, n_records) if unclear else self._response(codes)

    def _response(self, codes: Codes) -> Response:
        with self._lock:
            self.acknowledged += sum(code is None for code in codes)
        return entries_answer(codes)

    def _unclear(self, fault: str, n_records: int) -> Response:
        if fault == "lost":
            raise TransportError("reset after the request")
        if fault == "garbage-kept":
            return Response(200, {}, b"<html/>")
        return entries_answer([None] * (n_records + (1 if fault == "long-kept" else -1)))

    def _numbers(self, body: bytes, n_records: int) -> list[int]:
        entries: list[dict[str, Any]] = json.loads(body)["Records"]
        numbers = [int(json.loads(b64decode(entry["Data"]))["n"]) for entry in entries]
        if len(entries) != n_records:
            self._service.wrong.append(f"{len(entries)} entries instead of {n_records}")
        for number, entry in zip(numbers, entries, strict=True):
            if self._has_keys and entry["PartitionKey"] != key_of(number):
                self._service.wrong.append(f"{number} with the key {entry['PartitionKey']}")
        return numbers


RESPONSES: Final[Mapping[str, Response]] = {
    "503": refusal(503, "ServiceUnavailable"),
    "throttled": refusal(400, THROTTLED),
    "denied": refusal(400, "AccessDeniedException"),
    "garbage": Response(200, {}, b'{"Records":['),
}
RAISED: Final[Mapping[str, type[Exception]]] = {
    "reset": TransportError,
    "unsent": NotSentError,
    "bug": KeyError,
}


@dataclass(eq=False)
class Chunk:
    """A chunk of the host: its events, their numbers, and how many records have no number."""

    data: bytes
    numbers: range
    n_skipped: int
    tag: str
    owner: Slot
    restarted: bool = False  # its output has no memory of earlier flushes

    @property
    def n_records(self) -> int:
        """Records as the stats count them."""
        return len(self.numbers) + self.n_skipped


@dataclass(eq=False)
class Slot:
    """An output of the host, and what its stats must show."""

    options: dict[str, str]
    output: KinesisOutput
    transport: SlotTransport
    n_in: int = 0
    returned: list[Chunk] = field(default_factory=list)  # to be flushed again

    @property
    def is_background(self) -> bool:
        """Whether a flush returns before its delivery."""
        return self.options["experimental_concurrency"] != "0"


class World:
    """A host with some outputs.

    Args:
        seed: determines everything but the order of threads.
    """

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._lock = threading.Lock()
        self._next = 0
        self._service = Service(Random(seed + 1))
        self._brought: Counter[int] = Counter()
        self._again: Counter[int] = Counter()  # flushed again to a restarted output
        self._of_background: set[int] = set()
        # Records that background deliveries gave up, or that were pending at close().
        self._n_lost = 0
        self._n_undeliverable = 0  # records in their chunks that can never arrive
        self._slots = [self._open(self._options()) for _ in range(self._chance.randrange(1, 4))]

    def run(self, n_steps: int) -> None:
        """Take random steps, with a check after each; then flush the rest without faults."""
        steps: list[Callable[[], None]] = [
            *[self._flush_new] * 3,
            *[self._flush_returned] * 2,
            self._flush_together,
            self._flush_equal_chunks,
            *[self._change_fault_rate] * 2,
            self._restart_one,
        ]
        for _ in range(n_steps):
            self._chance.choice(steps)()
            self._check()
        self._service.fault_rate = 0.0
        self._flush_all_returned()
        for slot in self._slots:
            self._end(slot)
        self._compare()

    # --- steps ---

    def _flush_new(self) -> None:
        self._flush(self._new_chunk(self._chance.choice(self._slots)))

    def _flush_returned(self) -> None:
        with_returned = [slot for slot in self._slots if slot.returned]
        if with_returned:
            self._flush(self._take_returned(self._chance.choice(with_returned)))

    def _flush_together(self) -> None:
        """Flush several chunks at once, new ones and returned ones."""
        slot = self._chance.choice(self._slots)
        chunks = [self._new_chunk(slot) for _ in range(3)]
        chunks += [self._take_returned(slot) for _ in range(min(2, len(slot.returned)))]
        self._flush_at_once(chunks)

    def _flush_equal_chunks(self) -> None:
        """Flush two equal chunks at once."""
        first = self._new_chunk(self._chance.choice(self._slots))
        second = Chunk(first.data, first.numbers, first.n_skipped, first.tag, first.owner)
        self._book(second)
        self._flush_at_once([first, second])

    def _change_fault_rate(self) -> None:
        self._service.fault_rate = self._chance.choice((0.0, 0.02, 0.1, 0.5, 1.0))

    def _restart_one(self) -> None:
        index = self._chance.randrange(len(self._slots))
        old = self._slots[index]
        self._end(old)
        self._slots[index] = new = self._open(old.options)
        new.returned = old.returned
        for chunk in new.returned:
            chunk.owner, chunk.restarted = new, True

    # --- parts of steps ---

    def _options(self) -> dict[str, str]:
        return {
            "max_in_flight": self._chance.choice(("1", "4")),
            "experimental_concurrency": self._chance.choice(("0", "0", "2")),
            "partition_key": self._chance.choice(("", "key")),
        }

    def _open(self, options: dict[str, str]) -> Slot:
        transport = SlotTransport(self._service, bool(options["partition_key"]))
        timing = FakeTime(chance=0.0).timing()
        return Slot(
            options, KinesisOutput(output_config(options), transport, timing=timing), transport
        )

    def _new_chunk(self, slot: Slot) -> Chunk:
        """Return a chunk of random size and content."""
        return self._chunk_of(slot, self._chance.choice((0, 1, 7, 30, 30, 600, 1700)))

    def _good_chunk(self, slot: Slot) -> Chunk:
        """Return a chunk with a record that the service does not refuse."""
        self._next += is_poison(self._next)
        return self._chunk_of(slot, 1)

    def _chunk_of(self, slot: Slot, size: int) -> Chunk:
        numbers = range(self._next, self._next + size)
        self._next += size
        events = [event({"n": number, "key": key_of(number)}) for number in numbers]
        n_skipped = self._chance.choice((0, 0, 1, 3))
        for _ in range(n_skipped):
            events.insert(self._chance.randrange(len(events) + 1), event(7))
        if self._chance.random() < 0.2:
            events.append(pack([[0, {}], {}])[:-1])
            n_skipped += 1
        tag = self._chance.choice(("app", "sys", ""))
        chunk = Chunk(b"".join(events), numbers, n_skipped, tag, slot)
        self._book(chunk)
        return chunk

    def _book(self, chunk: Chunk) -> None:
        self._brought.update(chunk.numbers)
        if chunk.owner.is_background:
            self._of_background.update(chunk.numbers)
            self._n_undeliverable += chunk.n_skipped + sum(map(is_poison, chunk.numbers))

    def _take_returned(self, slot: Slot) -> Chunk:
        chunk = slot.returned.pop(self._chance.randrange(len(slot.returned)))
        if not slot.is_background and chunk.restarted:
            self._again.update(chunk.numbers)
        chunk.restarted = False
        return chunk

    def _flush(self, chunk: Chunk) -> None:
        slot = chunk.owner
        result = slot.output.flush(chunk.data, chunk.tag)
        assert result in (OK, RETRY)
        with self._lock:
            slot.n_in += chunk.n_records
            if result is RETRY:
                slot.returned.append(chunk)

    def _flush_at_once(self, chunks: list[Chunk]) -> None:
        failures: list[BaseException] = []

        def flush(chunk: Chunk) -> None:
            try:
                self._flush(chunk)
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=flush, args=(chunk,)) for chunk in chunks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a flush does not return"
        assert not failures, failures

    def _flush_all_returned(self) -> None:
        """Flush until all chunks are settled; a record alone is refused for good beside others."""
        deadline = time.monotonic() + PATIENCE_S
        while with_returned := [slot for slot in self._slots if slot.returned]:
            assert time.monotonic() < deadline, "chunks are returned again and again"
            for slot in with_returned:
                self._flush(self._take_returned(slot))
                if slot.is_background:
                    time.sleep(0.0005)
                else:
                    self._flush(self._good_chunk(slot))

    def _end(self, slot: Slot) -> None:
        slot.output.close(PATIENCE_S)
        self._check_slot(slot)
        if slot.is_background:
            stats = slot.output.stats()
            self._n_lost += stats["dead"] + stats["pending"]

    # --- what must hold ---

    def _check(self) -> None:
        assert not self._service.wrong, self._service.wrong[:3]
        for slot in self._slots:
            self._check_slot(slot)

    def _check_slot(self, slot: Slot) -> None:
        stats = slot.output.stats()
        assert_balanced(stats)
        assert stats["in"] + stats["resumed"] == slot.n_in, (slot.n_in, stats)
        if not slot.is_background:
            assert stats["pending"] == 0
            assert stats["delivered"] == slot.transport.acknowledged
            assert stats["dead"] <= slot.transport.n_refused  # a refusal alone kills nothing

    def _compare(self) -> None:
        arrived, doubtful = self._service.arrived, self._service.doubtful
        good = Counter({n: times for n, times in self._brought.items() if not is_poison(n)})
        missing = good - arrived
        assert missing.keys() <= self._of_background, f"lost: {sorted(missing)[:9]}"
        n_unclear = doubtful.total() + self._n_undeliverable
        assert missing.total() <= self._n_lost <= missing.total() + n_unclear
        too_many = arrived - (good + doubtful + self._again)
        assert not too_many, f"arrived too often: {sorted(too_many.items())[:9]}"
