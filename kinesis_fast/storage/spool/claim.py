"""Which directory an instance takes at its start, and which chunks it finds.

An instance takes the first directory `<stream>.<n>` that no process has locked and that holds no
chunk of other options, and makes a new one when there is none. Chunks of its own options in any
other directory that is not locked are moved into it. So neither a restart, nor one in another
order, nor a change of options leaves a chunk behind a lock that has nothing to do with it.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from kinesis_fast.errors import StorageError
from kinesis_fast.logs import Log, printable
from kinesis_fast.storage.directory import MAX_PATH, Directory
from kinesis_fast.storage.spool.identity import Identity, differences, stream_name
from kinesis_fast.storage.spool.scan import (
    PROGRESS,
    Found,
    each_directory,
    look_through,
    set_aside,
    tidy,
)

ROOT_LOCK_S: Final = 30.0  # seconds to wait while others look through the same spool


@dataclass
class _Candidate:
    """A directory whose lock is ours, and the chunks in it."""

    stream: str
    directory: Directory
    ours: list[Found] = field(default_factory=list)
    others: list[Found] = field(default_factory=list)


def claim(root: Directory, identity: Identity, log: Log) -> Directory:
    """Return the directory of this instance, locked, with all chunks of its options in it.

    Args:
        root: the spool_dir, open.
        identity: today's options, see `identity`.
        log: where a line about chunks of other options goes.
    """
    stream = stream_name(identity["stream"])
    with root.locked(ROOT_LOCK_S), ExitStack() as stack:
        candidates = list(_candidates(root, identity, log, stack))
        own = next((c for c in candidates if c.stream == stream and not c.others), None)
        directory = own.directory if own else _new_directory(root, stream)
        try:
            root.sync()
            tidy(directory, own.ours if own else [])
            for candidate in candidates:
                if candidate is not own:
                    _move(candidate, directory, log)
        except BaseException:
            directory.close()
            raise
        _tell_of_others([c for c in candidates if c.stream == stream], identity, log)
        for candidate in candidates:
            if candidate is not own:
                candidate.directory.close()
        stack.pop_all()
        return directory


def _candidates(
    root: Directory, identity: Identity, log: Log, stack: ExitStack
) -> Iterator[_Candidate]:
    """Yield what no other process has locked; the stack closes it in case of an error."""
    for stream, directory in each_directory(root, log):
        stack.callback(directory.close)
        if not directory.lock():
            directory.close()
            continue
        candidate = _Candidate(stream, directory)
        for found in look_through(directory):
            if found.is_damaged:
                if not found.name.endswith(".damaged"):
                    set_aside(directory, found.name, found.problem, log)
            elif found.header and not differences(found.header.options, identity):
                candidate.ours.append(found)
            else:
                candidate.others.append(found)
        yield candidate


def _new_directory(root: Directory, stream: str) -> Directory:
    """Make the first directory of a stream that is not there, and lock it."""
    taken = set(root.names())
    number = next(n for n in range(len(taken) + 1) if f"{stream}.{n}" not in taken)
    directory = root.child(f"{stream}.{number}", create=True)
    if not directory.lock():  # root is locked, so this is no instance
        directory.close()
        raise StorageError(
            f"{printable(directory.path, MAX_PATH)} is locked by a process that is no output; "
            "see which one"
        )
    return directory


def _move(candidate: _Candidate, to: Directory, log: Log) -> None:
    """Move the chunks of our options; a line tells of those that cannot be moved."""
    source = candidate.directory
    if not candidate.ours:
        return
    try:
        for found in candidate.ours:
            source.rename(found.name, found.name, to)
            if source.size(found.name + PROGRESS) is not None:
                source.rename(found.name + PROGRESS, found.name + PROGRESS, to)
        to.sync()
        source.sync()
    except StorageError as error:
        log.error("some spooled chunks stay where they are until the next start: %s", error)


def _tell_of_others(candidates: list[_Candidate], identity: Identity, log: Log) -> None:
    others = [(c.directory.path, found) for c in candidates for found in c.others]
    if not others:
        return
    names = {
        name
        for _, found in others
        if found.header
        for name in differences(found.header.options, identity)
    }
    problems = sorted({found.problem for _, found in others if found.problem})
    why = [f"of other options ({', '.join(sorted(names))})"] if names else []
    log.warning(
        "%d spooled chunks with %d bytes are kept and not sent here, being %s; unless another "
        "output takes them: `kinesis-fast spool ls --spool %s`",
        len(others),
        sum(found.n_bytes for _, found in others),
        " or ".join(why + [printable(text, MAX_PATH) for text in problems]),
        printable(others[0][0].rpartition("/")[0], MAX_PATH),
    )
