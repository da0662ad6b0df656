"""`kinesis-fast spool ls` and `export`, which change nothing."""

import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from kinesis_fast.cli.common import Exit, UsageError, complain, counted, megabytes
from kinesis_fast.cli.spool.items import DAMAGED, SENDABLE, UNREADABLE, Item, Task
from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.errors import ConfigError
from kinesis_fast.logs import printable
from kinesis_fast.storage.dead_letters import iso_time

MAX_TAG, MAX_STREAM, MAX_REMARK = 30, 40, 200  # characters in the table
HEAD: Final = f"{'time':20} {'bytes':>12} {'records':>9} {'settled':>9}  {'state':13}  what"


def list_items(task: Task) -> int:
    """List items; the exit code says whether one of them is damaged."""
    sums: Counter[str] = Counter()
    is_damaged = False
    for item in filter(task.selection.holds, task.source.items()):
        if not task.arguments.json and not sums["items"]:
            print(HEAD)
        print(json_line(item) if task.arguments.json else table_line(item))
        is_damaged |= item.state in {DAMAGED, UNREADABLE}
        sums.update(items=1, n_bytes=item.n_bytes, records=item.n_records, settled=item.n_settled)
    if not task.arguments.json:
        print(
            f"{counted(sums['items'], task.source.noun)}, {megabytes(sums['n_bytes'])}, "
            f"{counted(sums['records'], 'record')}, {sums['settled']:,} settled"
        )
    return Exit.FAILED if is_damaged else Exit.OK


def table_line(item: Item) -> str:
    """Return an item for a person to read, control characters escaped."""
    when = "" if item.time_ns is None else iso_time(item.time_ns)[:19] + "Z"
    what = [printable(item.tag, MAX_TAG), printable(item.stream, MAX_STREAM)]
    if item.remark:
        what.append(f"({printable(item.remark, MAX_REMARK)})")
    if item.state in {DAMAGED, UNREADABLE}:
        what.append(printable(item.path, MAX_REMARK))
    return (
        f"{when:20} {item.n_bytes:>12,} {item.n_records:>9,} {item.n_settled:>9,}  "
        f"{item.state:13}  {' '.join(filter(None, what))}"
    )


def json_line(item: Item) -> str:
    """Return an item as one line of JSON."""
    fields: dict[str, object] = {
        "state": item.state,
        "path": item.path,
        "time": None if item.time_ns is None else iso_time(item.time_ns),
        "tag": item.tag,
        "region": item.region,
        "stream": item.stream,
        "bytes": item.n_bytes,
        "records": item.n_records,
        "settled": item.n_settled,
        "remark": item.remark,
    }
    if item.options:
        fields["options"] = item.options
    return json.dumps(fields)


def export_items(task: Task) -> int:
    """Copy items and say how many."""
    arguments = task.arguments
    as_bytes = lines_of if arguments.format == "jsonl" else events_of
    n_copied = n_left_out = 0
    with _new_file(arguments.output) as file:
        for item in filter(task.selection.holds, task.source.items()):
            content = as_bytes(item, unsettled=arguments.unsettled)
            if content is None:
                n_left_out += 1
                complain(f"left out: {item.path}: {item.state} {item.remark}".rstrip())
                continue
            n_copied += 1
            file.write(content)
        file.flush()
    print(
        f"{counted(n_copied, task.source.noun)} copied"
        + (f", {counted(n_left_out, task.source.noun)} left out" if n_left_out else ""),
        file=sys.stderr,
    )
    return Exit.FAILED if n_left_out else Exit.OK


def events_of(item: Item, *, unsettled: bool) -> bytes | None:
    """Return the events of an item, None when they are incomplete."""
    if item.state not in SENDABLE:
        return None
    return item.unsettled if unsettled else item.payload


def lines_of(item: Item, *, unsettled: bool) -> bytes | None:
    """Return the records of an item, one a line, None when they are incomplete."""
    if item.line:
        return None if item.state == DAMAGED else item.line
    events = events_of(item, unsettled=unsettled)
    if events is None:
        return None
    try:
        config = OutputConfig.from_options({**item.options, "append_newline": "true"})
    except ConfigError as error:  # spooled by a later version
        complain(f"{item.path}: {error}")
        return None
    return b"".join(record.data for record in RecordEncoder(config.as_consumed()).records(events))


@contextmanager
def _new_file(name: str) -> Iterator[BinaryIO]:
    """Open stdout for "-", or create a file that only its owner can read."""
    if name == "-":
        yield sys.stdout.buffer
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise UsageError(f"cannot create {name}: {error.strerror}") from error
    with os.fdopen(fd, "wb") as file:
        yield file
