"""The ways to pack records that a plan compares: partition key, compression, aggregation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.errors import ConfigError

# A plan sends nothing, so it needs neither; a configuration does.
ANY_TARGET: Final = {"region": "us-east-1", "stream": "plan"}
COMPRESSIONS: Final = ("none", "gzip", "zstd")
AGGREGATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "none": {},
    "KPL": {"aggregation": "true"},
    "lines": {"simple_aggregation": "true"},
}
COMPARED: Final = frozenset({"partition_key", "compression", "aggregation", "simple_aggregation"})


@dataclass(frozen=True)
class Way:
    """Options that decide what records become.

    Attributes:
        key: the option partition_key, empty for random keys.
        compression: the option of that name.
        aggregation: a key of AGGREGATIONS.
        others: all other options, the same in each way.
    """

    key: str
    compression: str
    aggregation: str
    others: Mapping[str, str]

    @property
    def changes(self) -> dict[str, str]:
        """The options that are not the default, of those that are compared."""
        key = {"partition_key": self.key} if self.key else {}
        compression = {"compression": self.compression} if self.compression != "none" else {}
        return {**key, **AGGREGATIONS[self.aggregation], **compression}

    @property
    def is_plain(self) -> bool:
        """Whether a consumer gets each record as it is."""
        return self.compression == "none" and self.aggregation == "none"

    def config(self) -> OutputConfig:
        """Return the configuration; raises ConfigError if this system has no such compression."""
        return OutputConfig.from_options({**ANY_TARGET, **self.others, **self.changes})

    def for_consumers(self) -> str:
        """Return what a consumer has to do with an entry, in words."""
        inflate = "" if self.compression == "none" else f"inflate {self.compression}"
        apart = {"KPL": "take KPL aggregates apart (the KCL does)", "lines": "split lines"}
        steps = [inflate, apart.get(self.aggregation, "")]
        if self.aggregation == "KPL":
            steps.reverse()  # the records in an aggregate are compressed, not the aggregate
        return ", then ".join(filter(None, steps)) or "nothing"

    def __str__(self) -> str:
        key = self.key or "random key"
        packed = {"none": "", "KPL": "aggregation", "lines": "simple_aggregation"}
        compressed = "" if self.compression == "none" else self.compression
        return ", ".join(filter(None, [key, packed[self.aggregation], compressed]))


def ways(options: Mapping[str, str], keys: Sequence[str]) -> Iterator[Way]:
    """Yield each way that this system offers: with random keys and with each of `keys`.

    Args:
        options: of the output, strings; those of COMPARED are left out.
        keys: values of partition_key.

    Raises:
        ConfigError: the other options are wrong.
    """
    others = {name: value for name, value in options.items() if name not in COMPARED}
    RecordEncoder(Way("", "none", "none", others).config())
    for key in ("", *keys):
        for aggregation in AGGREGATIONS:
            for compression in COMPRESSIONS:
                way = Way(key, compression, aggregation, others)
                if _is_possible(way):
                    yield way


def _is_possible(way: Way) -> bool:
    if way.compression != "zstd":
        way.config()
        return True
    try:
        RecordEncoder(way.config())
    except ConfigError:  # zstd needs a package of its own
        return False
    return True
