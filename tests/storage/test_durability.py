"""put() leaves a whole chunk on the disk or nothing: order of calls, errors, kill -9."""

import errno
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_os import FaultyOs, install
from loopback_settings import program_environment
from spools import files_of, n_bytes_on_disk, open_spool

from kinesis_fast.errors import StorageError

PAYLOAD = b"payload" * 100
ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS]
PUT = ["open", "write", "write", "fsync file", "close", "rename", "fsync directory"]
REPLACE = ["open", "write", "close", "rename"]
HERE = Path(__file__).parent


def test_the_order_of_the_calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(root)
    recording = FaultyOs()
    install(monkeypatch, recording)
    chunk = spool.put(PAYLOAD, "tag")
    assert recording.calls == PUT
    recording.calls.clear()
    chunk.save_progress(b"\1")
    assert recording.calls == REPLACE
    recording.calls.clear()
    chunk.remove()
    assert recording.calls == ["unlink", "unlink"]
    spool.close()


def test_a_file_has_no_chunk_name_before_it_is_whole(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(root)
    names: list[str] = []

    def look(_index: int, name: str) -> bool:
        if name in {"write", "fsync", "rename"} and "rename" not in faulty.calls[:-1]:
            names.extend(files_of(spool))
        return False

    faulty = FaultyOs(look)
    install(monkeypatch, faulty)
    chunk = spool.put(PAYLOAD, "tag")
    chunk.remove()
    assert set(names) == {Path(chunk.path).name + ".tmp"}
    assert len(names) == 4
    spool.close()


def test_new_directories_are_synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = FaultyOs()
    install(monkeypatch, recording)
    open_spool(root).close()
    made = [name for name in recording.calls if name in {"mkdir", "fsync directory"}]
    assert made == ["mkdir", "fsync directory"] * 2
    recording.calls.clear()
    open_spool(root).close()  # an earlier process may have ended before its sync
    assert recording.calls.count("fsync directory") == 2


def is_traceable() -> bool:
    """Return whether strace can trace a child here."""
    strace = shutil.which("strace")
    return (
        bool(strace)
        and subprocess.run(
            [str(strace), "-o", "/dev/null", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(not is_traceable(), reason="needs strace and the permission to trace")
def test_what_the_kernel_sees(root: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from spools import open_spool\n"
        "from pathlib import Path\n"
        "spool = open_spool(Path(sys.argv[1]))\n"
        "os.write(1, b'begin')\n"
        "spool.put(b'x' * 3_000_000, 'tag')\n"
        "os.write(1, b'returned')\n"
    )
    trace = tmp_path / "trace"
    watched = "openat,write,fsync,fdatasync,rename,renameat,renameat2,close"
    subprocess.run(
        ["strace", "-f", "-o", str(trace), "-e", f"trace={watched}", "-e", "signal=none",
         sys.executable, "-P", "-c", program, str(root)],
        check=True,
        capture_output=True,
        env=program_environment(),
    )  # fmt: skip
    lines = [re.sub(r"^\d+ +", "", line) for line in trace.read_text().splitlines()]
    begin = next(i for i, line in enumerate(lines) if 'write(1, "begin"' in line)
    end = next(i for i, line in enumerate(lines) if 'write(1, "returned"' in line)
    put = [line for line in lines[begin + 1 : end] if not line.startswith(("openat(AT_FDCWD",))]
    match = re.fullmatch(r'openat\((\d+), "(\S+\.chunk)\.tmp", (\S+), 0600\) += (\d+)', put[0])
    assert match, put
    directory, name, flags, file = match.groups()
    assert {"O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC"} <= set(flags.split("|"))
    written = [re.fullmatch(rf"write\({file}, .* = (\d+)", line) for line in put]
    n_written = sum(int(m[1]) for m in written if m)
    assert n_written == sum(path.stat().st_size for path in root.glob("*/*.chunk")) > 3_000_000
    rest = [line for line, m in zip(put, written, strict=True) if not m][1:]
    assert [re.sub(" += 0$", "", line) for line in rest] == [
        f"fsync({file})",
        f"close({file})",
        rest[2].rpartition(" = 0")[0].rstrip(),
        f"fsync({directory})",
    ]
    assert rest[2].startswith("rename")
    assert f'({directory}, "{name}.tmp", {directory}, "{name}"' in rest[2]


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("failing", range(len(PUT)))
def test_an_error_at_any_step_leaves_nothing(
    root: Path, failing: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(root)
    spool.put(b"kept", "tag")
    before = (files_of(spool), spool.n_bytes)
    with monkeypatch.context() as patch:
        faulty = FaultyOs(lambda index, _name: index == failing, number)
        install(patch, faulty)
        with pytest.raises(StorageError) as caught:
            spool.put(PAYLOAD, "tag")
        assert faulty.calls[: failing + 1] == PUT[: failing + 1]
    assert f"cannot write {spool.path}/" in str(caught.value)
    assert f"({errno.errorcode[number]}); " in str(caught.value)
    assert (files_of(spool), spool.n_bytes) == before
    spool.put(PAYLOAD, "tag")
    spool.close()
    spool = open_spool(root)
    assert sorted(chunk.read().payload for chunk in spool.pending()) == sorted([b"kept", PAYLOAD])
    spool.close()


@pytest.mark.parametrize("failing", range(len(PUT)))
def test_even_when_the_clean_up_fails(
    root: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(root)
    with monkeypatch.context() as patch:
        install(patch, FaultyOs(lambda index, _name: index >= failing, errno.EIO))
        with pytest.raises(StorageError):
            spool.put(PAYLOAD, "tag")
    # If only the last sync failed, the chunk that is left is whole: at worst it arrives twice.
    is_whole = failing == len(PUT) - 1
    spool.close()
    spool = open_spool(root)
    assert [chunk.read().payload for chunk in spool.pending()] == [PAYLOAD] * is_whole
    assert len(files_of(spool)) == is_whole
    assert spool.n_bytes == n_bytes_on_disk(spool)
    spool.close()


@pytest.mark.parametrize("failing", range(len(REPLACE)))
def test_an_error_while_saving_progress_keeps_the_old_one(
    root: Path, failing: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool(root)
    chunk = spool.put(PAYLOAD, "tag")
    assert chunk.save_progress(b"\1")
    before = (files_of(spool), spool.n_bytes)
    with monkeypatch.context() as patch:
        install(patch, FaultyOs(lambda index, _name: index == failing, errno.ENOSPC))
        assert not chunk.save_progress(b"\3\3")
    assert "(ENOSPC); free space on that file system; after a restart" in caplog.text
    assert (files_of(spool), spool.n_bytes) == before
    spool.close()
    spool = open_spool(root)
    assert [chunk.read().settled for chunk in spool.pending()] == [b"\1"]
    spool.close()


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_while_removing_can_be_tried_again(
    root: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(root)
    chunk = spool.put(PAYLOAD, "tag")
    chunk.save_progress(b"\1")
    with monkeypatch.context() as patch:
        install(patch, FaultyOs(lambda index, _name: index == failing, errno.EIO))
        assert not chunk.remove()
    # The chunk goes first: without its progress it would be sent again as a whole.
    name = Path(chunk.path).name
    assert files_of(spool) == [name, name + ".progress"][failing:]
    assert spool.n_bytes == n_bytes_on_disk(spool) > 0
    assert chunk.remove()
    assert (spool.n_bytes, files_of(spool)) == (0, [])
    spool.close()


@pytest.mark.parametrize("failing", range(12))
def test_an_error_at_any_step_of_the_start(
    root: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        faulty = FaultyOs(lambda index, _name: index == failing, errno.EIO)
        install(patch, faulty)
        try:
            open_spool(root).close()
        except (StorageError, OSError) as error:
            assert isinstance(error, StorageError) or "told to fail" in str(error)
    spool = open_spool(root)
    assert spool.path.endswith("logs.0")
    spool.close()


def test_short_writes_are_continued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(root)
    with monkeypatch.context() as patch:
        install(patch, FaultyOs(max_write=13))
        spool.put(PAYLOAD, "tag")
    spool.close()
    spool = open_spool(root)
    assert [chunk.read().payload for chunk in spool.pending()] == [PAYLOAD]
    spool.close()


def test_a_file_size_limit_in_the_middle_of_a_write(root: Path) -> None:
    spool = open_spool(root)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(StorageError, match=r"File too large \(EFBIG\)"):
            spool.put(b"x" * 2_000_000, "tag")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_of(spool) == []
    spool.put(b"x" * 2_000_000, "tag")
    spool.close()


def kill_rounds(root: Path, n_rounds: int) -> str:
    """Kill a process that uses a spool, n_rounds times. Returns the output of the program."""
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_rounds.py"), str(root), str(n_rounds)],
        capture_output=True,
        text=True,
        env=program_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_kill_9_at_any_moment(root: Path) -> None:
    assert kill_rounds(root, 20).startswith("20 rounds, ")


@pytest.mark.long
def test_kill_9_at_many_moments(root: Path) -> None:
    assert kill_rounds(root, 200).startswith("200 rounds, ")
