"""Partition keys that suggest themselves: texts that many records have, of many values."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgpack

MAX_SEEN: Final = 3000  # records that are looked at
MAX_DEPTH: Final = 3  # levels of maps
MAX_KEY_CHARACTERS: Final = 256  # longer ones are cut by the service's limit
MIN_SHARE: Final = 0.9  # of the records have it
MIN_VALUES: Final = 4
MAX_DISTINCT: Final = 0.5  # of the records; more is an id of each record, as good as random
N_SUGGESTED: Final = 2


def suggested_keys(chunks: Sequence[bytes]) -> list[str]:
    """Return values of the option partition_key, the most even first; few, maybe none.

    Args:
        chunks: events of Fluent Bit in msgpack.
    """
    values: dict[str, Counter[str]] = {}
    n_records = 0
    for record in _records(chunks):
        n_records += 1
        for path, text in _texts(record, (), MAX_DEPTH):
            values.setdefault(path, Counter())[text] += 1
    fitting: dict[tuple[int, ...], str] = {}  # one of those that divide the records alike
    for path, counter in values.items():
        if (
            counter.total() >= MIN_SHARE * n_records
            and MIN_VALUES <= len(counter) <= MAX_DISTINCT * n_records
        ):
            fitting.setdefault(tuple(sorted(counter.values(), reverse=True)), path)
    return [fitting[sizes] for sizes in sorted(fitting)[:N_SUGGESTED]]


def _records(chunks: Sequence[bytes]) -> Iterator[Mapping[Any, Any]]:
    n_seen = 0
    for chunk in chunks:
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, unicode_errors="replace")
        unpacker.feed(chunk)
        try:
            for event in unpacker:
                if isinstance(event, list) and event and isinstance(event[-1], dict):
                    yield event[-1]
                    n_seen += 1
                if n_seen == MAX_SEEN:
                    return
        except (msgpack.UnpackException, ValueError):
            continue  # the encoder counts what cannot be read


def _texts(
    record: Mapping[Any, Any], path: tuple[str, ...], depth: int
) -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        if not isinstance(name, str) or "->" in name or name != name.strip():
            continue
        here = (*path, name)
        if isinstance(value, str) and 0 < len(value) <= MAX_KEY_CHARACTERS:
            yield "->".join(here), value
        elif isinstance(value, dict) and depth > 1:
            yield from _texts(value, here, depth - 1)
