"""Spooled chunks, for `kinesis-fast spool`."""

from collections.abc import Iterator
from contextlib import closing

from kinesis_fast.cli.common import UsageError, complain
from kinesis_fast.cli.spool.items import (
    DAMAGED,
    OTHER_OPTIONS,
    UNREADABLE,
    WAITING,
    Item,
    Visit,
    n_set,
)
from kinesis_fast.config import OutputConfig
from kinesis_fast.encoder import RecordEncoder
from kinesis_fast.errors import StorageError
from kinesis_fast.logs import LOGGER
from kinesis_fast.storage.directory import Directory, shown
from kinesis_fast.storage.spool.claim import ROOT_LOCK_S
from kinesis_fast.storage.spool.identity import Identity, differences
from kinesis_fast.storage.spool.scan import (
    PROGRESS,
    Found,
    each_directory,
    each_size,
    look_through,
    progress_of,
    read_payload,
)

# Counting needs an encoder; its options do not matter.
COUNTING = OutputConfig.from_options({"region": "us-east-1", "stream": "any"})


class ChunkSource:
    """The chunks below a spool_dir.

    Args:
        path: the spool_dir.
        today: the options to compare with; None to compare nothing.
    """

    noun = "chunk"
    is_one_record = False

    def __init__(self, path: str, today: Identity | None) -> None:
        self.is_in_use = False
        self._path = path
        self._today = today
        self._count = RecordEncoder(COUNTING).count

    def items(self) -> Iterator[Item]:
        """Yield all chunks, oldest first."""
        places: list[tuple[Directory, Found]] = []
        with closing(self._open_root()) as root:
            directories = [directory for _, directory in each_directory(root, LOGGER)]
            try:
                for directory in directories:
                    places += [(directory, found) for found in look_through(directory)]
                for directory, found in sorted(places, key=lambda place: place[1].name):
                    yield self._item(directory, found)
            finally:
                for directory in directories:
                    directory.close()

    def sift(self, visit: Visit) -> None:
        """Call visit with every chunk; remove it if visit returns True.

        Directories of running outputs are left out and named on stderr.
        """
        with closing(self._open_root()) as root:
            for _, directory in each_directory(root, LOGGER):
                with closing(directory):
                    with root.locked(ROOT_LOCK_S):
                        is_ours = directory.lock()
                    if is_ours:
                        self._sift_directory(directory, visit)
                    elif look_through(directory):
                        self.is_in_use = True
                        complain(
                            f"{directory.path} is in use by a running output, which delivers its "
                            "chunks; stop that output first to change them here"
                        )

    def _open_root(self) -> Directory:
        """Open the spool; StorageError for the directory of an output in it."""
        root = opened(self._path)
        if next(each_size(root), None) is None:
            return root
        root.close()
        raise StorageError(
            f"{shown(root.path)} belongs to one output and is not a spool; give the directory "
            "that it is in, which is the option spool_dir"
        )

    def _sift_directory(self, directory: Directory, visit: Visit) -> None:
        for found in look_through(directory):
            if visit(self._item(directory, found)):
                directory.remove(found.name)
                directory.remove(found.name + PROGRESS)

    def _item(self, directory: Directory, found: Found) -> Item:
        path = f"{directory.path}/{found.name}"
        header = found.header
        if header is None:
            state = DAMAGED if found.is_damaged else UNREADABLE
            return Item(state, path, found.n_bytes, remark=found.problem)
        state, remark, payload = WAITING, "", b""
        try:
            content = read_payload(directory, found.name, header)
            if content is None:
                state, remark = DAMAGED, "the checksum of its payload is wrong"
            else:
                payload = content
        except StorageError as error:
            state, remark = UNREADABLE, str(error)
        if state == WAITING and self._today is not None:
            differing = differences(header.options, self._today)
            if differing:
                state, remark = OTHER_OPTIONS, ", ".join(differing)
        settled = progress_of(directory, found.name, header)
        return Item(
            state=state,
            path=path,
            n_bytes=header.n_payload,
            time_ns=header.time_ns,
            tag=header.tag,
            region=header.options.get("region", ""),
            stream=header.options.get("stream", ""),
            n_records=self._count(payload),
            n_settled=n_set(settled),
            remark=remark,
            payload=payload,
            settled=settled,
            options=header.options,
        )


def opened(path: str) -> Directory:
    """Open an existing directory; raises UsageError when it cannot be used."""
    try:
        return Directory.open(path, create=False)
    except StorageError as error:
        raise UsageError(str(error)) from error
