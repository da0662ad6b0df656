"""What the tests of `kinesis-fast spool` leave for it, and what it says and sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chunks import chunk_of, output_config
from spools import open_spool

from kinesis_fast.cli import main
from kinesis_fast.storage.dead_letters import DeadLetters


def leave(root: Path, /, *payloads: bytes, **options: str) -> list[Path]:
    """Spool chunks as an output would; returns their files."""
    return leave_settled(root, b"", *payloads, **options)


def leave_settled(root: Path, progress: bytes, /, *payloads: bytes, **options: str) -> list[Path]:
    """Spool chunks with settled events, as an output would; returns their files."""
    spool = open_spool(root, **options)
    chunks = [spool.put(payload, f"tag.{number}") for number, payload in enumerate(payloads)]
    if progress:
        for chunk in chunks:
            chunk.save_progress(progress)
    spool.close()
    return [Path(chunk.path) for chunk in chunks]


def write_letters(root: Path, *letters: tuple[str, bytes], **options: str) -> None:
    """Write dead letters: reason and event."""
    dead = DeadLetters.open(output_config({"dead_letter_dir": str(root), **options}))
    for reason, payload in letters:
        assert dead.add(reason, "app.log", payload, 1_700_000_000_000_000_000, "detail")


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Return what ls --json says."""
    capsys.readouterr()
    main(["spool", "ls", "--json", *arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def flip(path: Path, position: int) -> None:
    """Change a byte of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def numbered(*numbers: int) -> bytes:
    """Return a chunk with an event for each number."""
    return chunk_of({"n": number} for number in numbers)
