"""Which directory of a spool an output uses, and which chunks it takes from the other ones.

An output takes the first directory `<stream>.<n>` that no process has locked and that holds no
chunk with other options. If there is none, it makes a new one. Then it moves the chunks that were
spooled with its own options out of all other unlocked directories into its own. So neither a
restart, nor a new order of the outputs, nor a change of options leaves a chunk behind a lock that
has nothing to do with it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from kinesis_fast.errors import StorageError
from kinesis_fast.logs import Log
from kinesis_fast.storage.directory import Directory, shown
from kinesis_fast.storage.spool.identity import Identity, differences, stream_name
from kinesis_fast.storage.spool.scan import (
    DAMAGED,
    PROGRESS,
    Found,
    each_chunk,
    each_directory,
    set_aside,
    tidy,
)

ROOT_LOCK_S: Final = 30.0  # how long a start waits while others look through the spool, seconds


@dataclass
class _Candidate:
    """A directory that this output has locked.

    Attributes:
        stream: its name without the number.
        directory: open.
        matching: names of the chunks with the same options.
        n_others: how many other chunks there are.
        n_other_bytes: bytes of those.
        reasons: why those are not sent.
        differing: the options in which those differ.
    """

    stream: str
    directory: Directory
    matching: list[str] = field(default_factory=list)
    n_others: int = 0
    n_other_bytes: int = 0
    reasons: set[str] = field(default_factory=set)
    differing: set[str] = field(default_factory=set)

    def add(self, found: Found, identity: Identity) -> None:
        """Take in a chunk. Of a great many, no more is kept than the name."""
        differing = differences(found.header.options, identity) if found.header else []
        if found.header and not differing:
            self.matching.append(found.name)
            return
        self.n_others += 1
        self.n_other_bytes += found.n_bytes
        self.differing.update(differing)
        if found.problem:
            self.reasons.add(shown(found.problem))


def claim(
    root: Directory,
    identity: Identity,
    log: Log,
    lock_s: float | None = None,
    keep_on: Callable[[], bool] = lambda: True,
) -> Directory:
    """Return the directory for an output, locked, with all chunks of the same options in it.

    Args:
        root: the spool_dir, open.
        identity: the options of the output, see `identity`.
        log: where a line about chunks with other options goes.
        lock_s: seconds to wait while others look through the spool, ROOT_LOCK_S by default.
        keep_on: called while it waits; the wait ends when it returns False.
    """
    stream = stream_name(identity["stream"])
    with root.locked(ROOT_LOCK_S if lock_s is None else lock_s, keep_on), ExitStack() as stack:
        candidates = list(_candidates(root, identity, log, stack))
        own = next((c for c in candidates if c.stream == stream and not c.n_others), None)
        directory = own.directory if own else _new_directory(root, stream)
        try:
            root.sync()
            tidy(directory, own.matching if own else [])
            for candidate in candidates:
                if candidate is not own:
                    _move(candidate, directory, log)
        except BaseException:
            directory.close()
            raise
        _log_others([c for c in candidates if c.stream == stream], log)
        for candidate in candidates:
            if candidate is not own:
                candidate.directory.close()
        stack.pop_all()
        return directory


def _candidates(
    root: Directory, identity: Identity, log: Log, stack: ExitStack
) -> Iterator[_Candidate]:
    """Yield the directories that no other process has locked; after an error the stack closes them.

    Damaged chunks in them are set aside.
    """
    for stream, directory in each_directory(root, log):
        stack.callback(directory.close)
        if not directory.lock():
            directory.close()
            continue
        candidate = _Candidate(stream, directory)
        for found in each_chunk(directory):
            if not found.is_damaged:
                candidate.add(found, identity)
            elif not found.name.endswith(DAMAGED):
                set_aside(directory, found.name, found.problem, log)
        yield candidate


def _new_directory(root: Directory, stream: str) -> Directory:
    """Make the directory of a stream with the lowest free number, and lock it."""
    taken = set(root.names())
    number = next(n for n in range(len(taken) + 1) if f"{stream}.{n}" not in taken)
    directory = root.child(f"{stream}.{number}", create=True)
    if not directory.lock():  # an output would have had to lock root first
        directory.close()
        raise StorageError(
            f"{shown(directory.path)} is locked by a process that is not an output; find out which"
        )
    return directory


def _move(candidate: _Candidate, to: Directory, log: Log) -> None:
    """Move the matching chunks; log an error if some cannot be moved."""
    source = candidate.directory
    if not candidate.matching:
        return
    try:
        for name in candidate.matching:
            source.rename(name, name, to)
            if source.size(name + PROGRESS) is not None:
                source.rename(name + PROGRESS, name + PROGRESS, to)
        to.sync()
        source.sync()
    except StorageError as error:
        log.error("some spooled chunks cannot be moved before the next start: %s", error)


def _log_others(candidates: list[_Candidate], log: Log) -> None:
    n_others = sum(candidate.n_others for candidate in candidates)
    if not n_others:
        return
    names = sorted({name for candidate in candidates for name in candidate.differing})
    reasons = [f"they were spooled with different options ({', '.join(names)})"] if names else []
    reasons += sorted({reason for candidate in candidates for reason in candidate.reasons})
    log.warning(
        "spooled chunks that this output does not send: %d (%d bytes); %s; they stay in the spool: "
        "`kinesis-fast spool ls --spool %s`",
        n_others,
        sum(candidate.n_other_bytes for candidate in candidates),
        "; ".join(reasons),
        shown(candidates[0].directory.path.rpartition("/")[0]),
    )
