"""Dead letters, for `kinesis-fast spool`.

So that letters can be replayed or purged while outputs write new ones, the files are first moved
into the subdirectory `replay`. Letters that are not removed stay there; outputs do not touch it.
"""

import base64
import binascii
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from kinesis_fast.cli.spool.chunks import opened
from kinesis_fast.cli.spool.items import CUT, DAMAGED, DEAD, OTHER_STREAM, Item, Visit
from kinesis_fast.errors import StorageError
from kinesis_fast.storage.dead_letters import FILE, LOCK_S, NS, older_files
from kinesis_fast.storage.directory import Directory
from kinesis_fast.storage.spool.identity import Identity

REPLAY: Final = "replay"
# When the file was moved, its number among those moved together, how often it was rewritten.
_MOVED: Final = re.compile(r"([0-9]{20})-([0-9]{4})-([0-9]{1,9})\.jsonl", re.ASCII)


class LetterSource:
    """The letters in a dead_letter_dir.

    Args:
        path: the dead_letter_dir.
        today: the options that name the stream to compare with; None to compare nothing.
    """

    noun = "letter"
    is_one_record = True
    is_in_use = False

    def __init__(self, path: str, today: Identity | None) -> None:
        self._path = path
        self._today = today

    def items(self) -> Iterator[Item]:
        """Yield all letters, oldest first."""
        with closing(opened(self._path)) as root:
            if REPLAY in root.names():
                with closing(root.child(REPLAY)) as moved:
                    for name in moved_files(moved):
                        yield from self._items_of(moved, name)
            with root.locked(LOCK_S):
                contents = [(name, root.read(name)) for name in written_files(root)]
            for name, content in contents:
                yield from self._parsed(f"{root.path}/{name}", content.data if content else b"")

    def sift(self, visit: Visit) -> None:
        """Call visit with every letter; remove it if visit returns True."""
        with (
            closing(opened(self._path)) as root,
            closing(root.child(REPLAY, create=True)) as moved,
        ):
            if not moved.lock():
                raise StorageError(
                    f"{moved.path} is in use by another `kinesis-fast spool` command"
                )
            with root.locked(LOCK_S):
                now = time.time_ns()
                for number, name in enumerate(written_files(root)):
                    root.rename(name, f"{now:020d}-{number:04d}-0.jsonl", moved)
            for name in moved_files(moved):
                self._sift_file(moved, name, visit)

    def _sift_file(self, directory: Directory, name: str, visit: Visit) -> None:
        letters = list(self._items_of(directory, name))
        gone: set[int] = set()
        try:
            for number, letter in enumerate(letters):
                if visit(letter):
                    gone.add(number)
        finally:
            kept = [letter.line for number, letter in enumerate(letters) if number not in gone]
            if kept and gone:
                directory.write_durably(_next_name(name), (b"".join(kept),))
            if gone or not kept:
                directory.remove(name)

    def _items_of(self, directory: Directory, name: str) -> Iterator[Item]:
        content = directory.read(name)
        yield from self._parsed(f"{directory.path}/{name}", content.data if content else b"")

    def _parsed(self, path: str, content: bytes) -> Iterator[Item]:
        for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
            if line:
                yield self._item(f"{path}:{number}", line + b"\n")

    def _item(self, path: str, line: bytes) -> Item:
        try:
            letter: dict[str, Any] = json.loads(line)
            event = base64.b64decode(letter["event"], validate=True)
            target = (letter["region"], letter["stream"])
            state = CUT if letter.get("cut") else DEAD
            today = self._today
            if state == DEAD and today and target != (today["region"], today["stream"]):
                state = OTHER_STREAM
            return Item(
                state=state,
                path=path,
                n_bytes=int(letter["n_bytes"]),
                time_ns=_nanoseconds(letter["time"]),
                tag=str(letter["tag"]),
                region=str(letter["region"]),
                stream=str(letter["stream"]),
                n_records=1,
                remark=": ".join(filter(None, (str(letter["reason"]), str(letter["detail"])))),
                payload=event,
                line=line,
            )
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
            return Item(DAMAGED, path, len(line), remark="not a dead letter", line=line)


def _nanoseconds(text: str) -> int:
    """Return the nanoseconds since 1970 for a time in the format of iso_time()."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS + int(fraction)


def written_files(root: Directory) -> list[str]:
    """Return the names of the files that outputs write, oldest first."""
    current = [FILE] if root.size(FILE) is not None else []
    return [name for _, name in reversed(older_files(root))] + current


def moved_files(directory: Directory) -> list[str]:
    """Return the names of the files in `replay`, oldest first."""
    return [name for name in directory.names() if _MOVED.fullmatch(name)]


def _next_name(name: str) -> str:
    match = _MOVED.fullmatch(name)
    assert match, name
    return f"{match[1]}-{match[2]}-{int(match[3]) + 1}.jsonl"
