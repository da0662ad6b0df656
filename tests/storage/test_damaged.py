"""Files in a spool that are damaged, of another program, or gone."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spools import as_of_version, files_of, only_file, open_spool

from kinesis_fast.errors import DamagedChunk
from kinesis_fast.storage.spool.chunk_file import encode_progress, parse_progress


def flip(path: Path, position: int) -> None:
    """Flip a bit of one byte of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@settings(deadline=None)
@given(bits=st.binary(max_size=40), digest=st.binary(min_size=32, max_size=32), data=st.data())
def test_any_damage_to_progress_is_no_progress(
    bits: bytes, digest: bytes, data: st.DataObject
) -> None:
    file = encode_progress(digest, bits)
    assert parse_progress(digest, file) == bits
    assert parse_progress(bytes(32), file) == (b"" if digest != bytes(32) else bits)
    for cut in range(len(file)):
        assert parse_progress(digest, file[:cut]) == b""
    position = data.draw(st.integers(0, len(file) - 1))
    damaged = bytearray(file)
    damaged[position] ^= data.draw(st.integers(1, 255))
    assert parse_progress(digest, bytes(damaged)) == b""


def test_progress_of_another_chunk_is_ignored(root: Path) -> None:
    spool = open_spool(root)
    one, two = spool.put(b"one", "1"), spool.put(b"two", "2")
    one.save_progress(b"\1")
    Path(one.path + ".progress").rename(two.path + ".progress")
    Path(one.path + ".progress").mkdir()
    spool.close()
    spool = open_spool(root)
    contents = [chunk.read() for chunk in spool.pending()]
    assert [content.settled for content in contents] == [b"", b""]
    assert [content.payload for content in contents] == [b"one", b"two"]
    spool.close()


def header_bytes(path: Path) -> int:
    """Return the length of the header of a file."""
    return path.read_bytes().index(b"payload")


@pytest.mark.slow
def test_every_byte_of_a_header_counts(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_spool(root)
    spool.put(b"payload", "tag")
    path = only_file(spool)
    spool.close()
    whole = path.read_bytes()
    for position in range(header_bytes(path)):
        flip(path, position)
        caplog.clear()
        spool = open_spool(root)
        assert spool.pending() == []
        (name,) = files_of(spool)
        assert name == path.name + ".damaged"
        assert f"it is renamed to {name}" in caplog.text
        assert spool.n_bytes == len(whole)
        spool.close()
        path.with_name(name).unlink()
        path.write_bytes(whole)


def test_a_later_version_is_left_alone(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_spool(root)
    spool.put(b"payload", "tag")
    path = only_file(spool)
    spool.close()
    as_of_version(path, 257)
    spool = open_spool(root)
    assert spool.path.endswith("logs.1")
    assert "its format version is 257, only 1 can be read" in caplog.text
    assert path.exists()
    spool.close()


@pytest.mark.parametrize("n_cut", [1, 7, 8, 100, 10_000])
def test_a_file_that_was_cut_is_set_aside_once(
    root: Path, n_cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(root)
    spool.put(b"payload", "tag")
    path = only_file(spool)
    spool.close()
    os.truncate(path, max(path.stat().st_size - n_cut, 0))
    spool = open_spool(root)
    assert spool.pending() == []
    assert spool.path == str(path.parent)
    assert len(caplog.records) == 1
    spool.close()
    caplog.clear()
    spool = open_spool(root)
    assert (spool.pending(), caplog.records) == ([], [])
    assert files_of(spool) == [path.name + ".damaged"]
    spool.close()


def test_damage_to_the_payload_is_found_when_it_is_read(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(root)
    spool.put(b"payload", "tag")
    path = only_file(spool)
    spool.close()
    flip(path, -3)
    spool = open_spool(root)
    (chunk,) = spool.pending()
    with pytest.raises(DamagedChunk, match="the checksum of its payload is wrong"):
        chunk.read()
    assert "it is renamed to" in caplog.text
    assert spool.pending() == []
    assert files_of(spool) == [path.name + ".damaged"]
    assert chunk.remove()
    assert files_of(spool) == [path.name + ".damaged"]
    spool.close()


def test_a_chunk_that_was_removed_from_outside(root: Path) -> None:
    spool = open_spool(root)
    chunk = spool.put(b"payload", "tag")
    Path(chunk.path).unlink()
    with pytest.raises(DamagedChunk, match="is missing: it was removed from outside"):
        chunk.read()
    spool.close()


def test_files_with_other_names_are_not_touched(root: Path, tmp_path: Path) -> None:
    spool = open_spool(root)
    chunk = spool.put(b"payload", "tag")
    name = Path(chunk.path).name
    directory = Path(spool.path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (directory / "readme").write_text("mine")
    (directory / "x.tmp").write_text("mine")
    (directory / name.replace("-", "-0")).write_text("mine")
    (directory / ("0" + name[1:].replace(".chunk", ".chunk.tmp"))).symlink_to(secret)
    spool.close()
    spool = open_spool(root)
    assert [chunk.read().payload for chunk in spool.pending()] == [b"payload"]
    assert files_of(spool) == sorted(["readme", "x.tmp", name, name.replace("-", "-0")])
    assert secret.read_bytes() == b"secret"
    spool.close()


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_only_regular_files_are_read_as_chunks(
    root: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(root)
    chunk = spool.put(b"payload", "tag")
    path = Path(chunk.path)
    spool.close()
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    spool = open_spool(root)
    assert spool.pending() == []
    assert "cannot read" in caplog.text
    assert os.path.lexists(path)
    spool.close()
