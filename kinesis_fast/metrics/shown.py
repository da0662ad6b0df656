"""What an output shows of itself, and which outputs of this process show something."""

import threading
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from kinesis_fast.config import OutputConfig
from kinesis_fast.delivery.context import DeliveryContext
from kinesis_fast.delivery.protocols import Mode
from kinesis_fast.metrics.meter import Meter
from kinesis_fast.stats import Stats
from kinesis_fast.storage.dead_letters import DeadLetters
from kinesis_fast.storage.spool import Spool
from kinesis_fast.transport import Transport

GAUGE: Final = "pending"  # the one counter of an account that falls by itself


class Parts(NamedTuple):
    """What is read of an output.

    Attributes:
        context: what its deliveries share.
        transport: its own or a given one, not measured.
        mode: how it delivers.
    """

    context: DeliveryContext
    transport: Transport
    mode: Mode

    @property
    def spool(self) -> Spool | None:
        """Where its chunks are; None without spool_dir."""
        storage = getattr(self.mode, "storage", None)
        return storage if isinstance(storage, Spool) else None

    @property
    def dead_letters(self) -> DeadLetters | None:
        """Where its dead letters go; None without dead_letter_dir."""
        letters = self.context.dead_letters
        return letters if isinstance(letters, DeadLetters) else None


class ShownOutput:
    """An output as the metrics see it; any thread may call any method.

    Args:
        config: of the output.
        parts: what is read.
        meter: what is measured of its requests.
        number: the number of the output in its log lines, None if it has none.
    """

    def __init__(
        self, config: OutputConfig, parts: Parts, meter: Meter, number: int | None
    ) -> None:
        self.config = config
        self.parts = parts
        self.meter = meter
        self.wanted_number = number
        self.number = -1  # until it is registered
        self._lock = threading.Lock()
        self._highest: dict[str, int] = {}

    @property
    def labels(self) -> list[str]:
        """The values of the labels that each of its metrics has: output and stream."""
        return [str(self.number), self.config.stream]

    def stats(self) -> Stats:
        """Return its counters, none of them lower than at an earlier call.

        A request that turns out not to have gone out is taken back. For Prometheus a counter that
        falls has begun anew at 0.
        """
        with self._lock:  # or a thread could go on with older counters than another one
            stats = self.parts.context.stats.snapshot()
            for name, value in stats.items():
                if name != GAUGE:
                    stats[name] = self._highest[name] = max(value, self._highest.get(name, 0))
        return stats

    @property
    def credentials_expire_at(self) -> float | None:
        """When its credentials expire, seconds since 1970; None if never, or not known yet."""
        value: Any = getattr(self.parts.transport, "credentials_expire_at", None)
        return value if isinstance(value, float) else None


class Registry:
    """The outputs that show something; it keeps none of them alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outputs: WeakValueDictionary[int, ShownOutput] = WeakValueDictionary()

    def add(self, output: ShownOutput) -> None:
        """Show an output, under the number of its log lines if no other one has it."""
        with self._lock:
            taken = set(self._outputs)
            number = output.wanted_number
            if number is None or number in taken:
                number = next(n for n in range(len(taken) + 1) if n not in taken)
            output.number = number
            self._outputs[number] = output

    def remove(self, output: ShownOutput) -> None:
        """Show it no more."""
        with self._lock:
            if self._outputs.get(output.number) is output:
                del self._outputs[output.number]

    def __iter__(self) -> Iterator[ShownOutput]:
        """Yield the outputs by their numbers."""
        with self._lock:
            outputs = sorted(self._outputs.items())
        return iter([output for _, output in outputs])
