"""The service behind the faults: accepts entries, and counts how often each record arrived."""

from __future__ import annotations

import json
import random
import threading
from base64 import b64decode
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import kcl
from fault_server_rules import THROTTLED, Keys, Refusal, Shards, skew_refusal
from fault_server_wire import Head, Wire

Fault = dict[str, Any]  # "kind" and what that kind needs; see fault_server_faults
Ranges = list[tuple[int, int, int]]  # first, last + 1, how often: the numbers in ascending order

GOOD: Final[Fault] = {"kind": "accept"}
MAX_ENTRIES: Final = 500
MAX_BODY_BYTES: Final = 14 * 1024 * 1024  # 10 MiB in base64
SETTLING_S: Final = 1.0  # how long to wait for requests in progress


class Entry(NamedTuple):
    """An entry of a request: the numbers in it, its partition key, data and key in bytes."""

    numbers: list[int]
    partition_key: str
    n_bytes: int


class Rules(NamedTuple):
    """Rules for all requests.

    Attributes:
        shards: n_shards, records_per_s, bytes_per_s of `Shards`; empty: no limit.
        skew_s: how far the clock of the service is ahead, seconds.
        skew_code: error code for a request signed at another time.
        lifetime_s: how long credentials claim to be valid.
    """

    shards: Mapping[str, float] = {}
    skew_s: float = 0.0
    skew_code: str = "InvalidSignatureException"
    lifetime_s: float = 3600.0


class Service:
    """What all connections share; several threads may call every method at once."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._n_requests = 0
        self._keys = Keys()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the keys that were issued."""
        with self._lock:
            self._accepted: Counter[int] = Counter()
            self._doubtful: Counter[int] = Counter()
            self._answered: dict[Wire, list[int]] = {}  # with the last response of each connection
            self._counts: Counter[str] = Counter()
            self._violations: list[str] = []
            self._shards: Shards | None = None
            self._set_plan([], GOOD)
            self._set_rules(Rules())

    def plan(self, faults: Iterable[Fault], then: Fault) -> None:
        """Set the faults of the next requests, in order, and of all later ones."""
        with self._lock:
            self._set_plan(faults, then)

    def rule(self, changes: Mapping[str, Any]) -> None:
        """Set the named rules, and all others to their defaults."""
        with self._lock:
            self._set_rules(Rules(**changes))

    def expire_keys(self) -> None:
        """Expire all credentials that were issued so far."""
        with self._lock:
            self._keys.expire()

    def issue_key(self) -> bytes:
        """Return new credentials."""
        with self._lock:
            self._counts["keys"] += 1
            return json.dumps(self._keys.issue(self._rules.lifetime_s)).encode()

    def seen(self) -> dict[str, Any]:
        """Return what arrived, and forget the numbers: accepted and doubtful as Ranges, counts."""
        accepted, doubtful = self._take_numbers()
        return self._report(accepted=list(_ranges(accepted)), doubtful=list(_ranges(doubtful)))

    def compare(self, first: int, end: int) -> dict[str, Any]:
        """Return what is wrong if the numbers from first to end - 1 were sent, and forget them.

        `missing` and `too_many` are Ranges, `n_accepted` and `n_doubtful` count records.
        """
        accepted, doubtful = self._take_numbers()
        sent = Counter(range(first, end))
        return self._report(
            missing=list(_ranges(sent - accepted)),
            too_many=list(_ranges(accepted - (sent + doubtful))),
            n_accepted=accepted.total(),
            n_doubtful=doubtful.total(),
        )

    def begin(self, change: int) -> None:
        """Count a request that has begun (1) or ended (-1)."""
        with self._changed:
            self._n_requests += change
            self._changed.notify_all()

    def _take_numbers(self) -> tuple[Counter[int], Counter[int]]:
        with self._changed:
            # A client whose wait is over may know the end of a request before this server does.
            self._changed.wait_for(lambda: self._n_requests == 0, SETTLING_S)
            for wire in list(self._answered):
                if wire.left_unread():
                    self._settle(wire)
            taken = self._accepted, self._doubtful
            self._accepted, self._doubtful = Counter(), Counter()
            return taken

    def _report(self, **numbers: Any) -> dict[str, Any]:
        with self._lock:
            return {**numbers, "counts": dict(self._counts), "violations": list(self._violations)}

    def next_fault(self) -> Fault:
        """Return the fault for a new request."""
        with self._lock:
            fault = self._faults.popleft() if self._faults else self._then
            if fault["kind"] == "mix":
                lucky = self._chance.random() >= fault["chance"]
                fault = GOOD if lucky else self._chance.choice(fault["of"])
            self._counts[fault["kind"]] += 1
            self._counts["requests"] += 1
            return fault

    def count(self, what: str) -> None:
        """Count something that happened."""
        with self._lock:
            self._counts[what] += 1

    def violation(self, text: str) -> None:
        """Record a violation of the protocol by the client."""
        with self._lock:
            self._violations.append(text)

    def refusal(self, head: Head, body: bytes) -> Refusal | None:
        """Return why the rules refuse the whole request; None when they do not."""
        with self._lock:
            rules = self._rules
            refusal = skew_refusal(head, rules.skew_s, rules.skew_code)
            refusal = refusal or self._keys.refusal(head, body)
        if refusal is not None:
            self.count(refusal.code)
        return refusal

    @property
    def skew_s(self) -> float:
        """How far the clock of the service is ahead, seconds."""
        return self._rules.skew_s

    def take(
        self, entries: list[Entry], failing: Mapping[int, str], wire: Wire, doubtful: bool
    ) -> list[str | None]:
        """Accept the entries that neither the fault nor the shards refuse.

        Args:
            entries: those of a request.
            failing: error codes by index.
            wire: the connection they came on; if the client no longer waits for the response, they
                are doubtful as well.
            doubtful: the response will not reach the client.

        Returns:
            For each entry its error code, or None.
        """
        with self._lock:
            codes = [
                failing.get(index) or self._shard_code(entry) for index, entry in enumerate(entries)
            ]
            taken = [
                number
                for entry, code in zip(entries, codes, strict=True)
                if code is None
                for number in entry.numbers
            ]
            self._accepted.update(taken)
            self._answered[wire] = taken
            if doubtful or wire.is_gone():
                self._doubtful.update(self._answered.pop(wire))
            return codes

    def settle(self, wire: Wire) -> None:
        """Find out whether the last response was read, at the next request or at the end."""
        with self._lock:
            self._settle(wire)

    def _settle(self, wire: Wire) -> None:
        taken = self._answered.pop(wire, [])
        if wire.left_unread():
            self._doubtful.update(taken)

    def _shard_code(self, entry: Entry) -> str | None:
        if self._shards is None or self._shards.takes(entry.partition_key, entry.n_bytes):
            return None
        return THROTTLED

    def _set_plan(self, faults: Iterable[Fault], then: Fault) -> None:
        self._faults = deque(faults)
        self._then = then
        self._chance = random.Random(then.get("seed", 0))

    def _set_rules(self, rules: Rules) -> None:
        self._rules = rules
        self._shards = Shards(**rules.shards) if rules.shards else None  # type: ignore[arg-type]


def entries_of(body: bytes) -> list[Entry]:
    """Decode the entries of a request.

    Raises:
        ValueError, KeyError: the body is not what PutRecords takes.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"a body of {len(body)} bytes")
    entries = [_entry(fields) for fields in json.loads(body)["Records"]]
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise ValueError(f"{len(entries)} entries")
    return entries


def _entry(fields: dict[str, str]) -> Entry:
    data = b64decode(fields["Data"], validate=True)
    key = fields["PartitionKey"]
    if not 1 <= len(key) <= 256:
        raise ValueError(f"a partition key of {len(key)} characters")
    return Entry(_numbers_in(data), key, len(data) + len(key.encode()))


def _numbers_in(data: bytes) -> list[int]:
    """Return the numbers of the records of an entry, which may be an aggregate."""
    if data.startswith(kcl.MAGIC):
        kept = kcl.kept(kcl.Entry("", "", data), kcl.WHOLE_RANGE)
        records = [record.data for record in kept if record.is_aggregated]
        if not records:
            raise ValueError("the aggregate is not valid")
    else:
        records = data.splitlines()
    return [json.loads(record)["n"] for record in records]


def _ranges(numbers: Counter[int]) -> Iterator[tuple[int, int, int]]:
    first = last = times = None
    for number in sorted(numbers):
        if first is not None and number == last and numbers[number] == times:
            last += 1
            continue
        if first is not None and last is not None and times is not None:
            yield first, last, times
        first, last, times = number, number + 1, numbers[number]
    if first is not None and last is not None and times is not None:
        yield first, last, times
