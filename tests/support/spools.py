"""Spools for the tests, and what they hold."""

from __future__ import annotations

import hashlib
import struct
import time
from pathlib import Path

from chunks import output_config

from kinesis_fast import OutputConfig
from kinesis_fast.storage.spool import Spool


def spool_config(root: Path, **options: str) -> OutputConfig:
    """Return a configuration with a spool."""
    return output_config({"spool_dir": str(root), "experimental_concurrency": "1", **options})


def open_spool(root: Path, **options: str) -> Spool:
    """Open the spool of an output."""
    return Spool.open(spool_config(root, **options))


def files_of(spool: Spool) -> list[str]:
    """Return the names in the directory of an output."""
    return sorted(path.name for path in Path(spool.path).iterdir())


def only_file(spool: Spool) -> Path:
    """Return the file of the only chunk."""
    (path,) = Path(spool.path).glob("*.chunk")
    return path


def n_bytes_on_disk(spool: Spool) -> int:
    """Return the size of all files in the directory of an output."""
    return sum(path.stat().st_size for path in Path(spool.path).iterdir())


def as_of_version(path: Path, version: int) -> None:
    """Change the format version of a chunk's file, and the checksum of its header."""
    file = bytearray(path.read_bytes())
    (n_fields,) = struct.unpack_from(">I", file, 12)
    end = 56 + n_fields
    struct.pack_into(">I", file, 8, version)
    file[end : end + 32] = hashlib.sha256(file[:end]).digest()
    path.write_bytes(file)


def wait_until_empty(root: Path, patience_s: float) -> None:
    """Wait until all chunks below a spool_dir are delivered."""
    deadline = time.monotonic() + patience_s
    while any(root.glob("*/*.chunk")):
        assert time.monotonic() < deadline, "the spool does not empty"
        time.sleep(0.01)


def all_files(root: Path) -> list[Path]:
    """Return all files below a spool_dir."""
    return [path for path in root.glob("*/*") if path.is_file()]
