"""Which output uses which directory: restarts, several outputs, other options, forks, users."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loopback_settings import program_environment
from spools import open_spool, spool_config
from started import Started

from kinesis_fast.errors import StorageError
from kinesis_fast.storage.directory import Directory
from kinesis_fast.storage.spool import Spool
from kinesis_fast.storage.spool.identity import differences, identity_of


def name_of(spool: Spool) -> str:
    """Return the name of the directory that an output claimed."""
    return Path(spool.path).name


def tags(spool: Spool) -> list[str]:
    """Return the tags of the chunks that a spool found at its start."""
    return [chunk.read().tag for chunk in spool.pending()]


def leave(root: Path, tag: str, **options: str) -> None:
    """Let an output spool a chunk and end."""
    spool = open_spool(root, **options)
    spool.put(tag.encode(), tag).save_progress(b"\1")
    spool.close()


def test_each_output_of_a_stream_claims_its_own_directory(root: Path) -> None:
    spools = [open_spool(root) for _ in range(3)]
    assert [name_of(spool) for spool in spools] == ["logs.0", "logs.1", "logs.2"]
    for number, spool in enumerate(spools):
        spool.put(b"x", str(number))
    spools[1].close()
    again = open_spool(root)
    assert (name_of(again), tags(again)) == ("logs.1", ["1"])
    for spool in (*spools, again):
        spool.close()


def test_fewer_outputs_find_all_chunks(root: Path) -> None:
    spools = [open_spool(root) for _ in range(3)]
    for number, spool in enumerate(spools):
        spool.put(f"payload {number}".encode(), str(number)).save_progress(bytes([number + 1]))
    for spool in spools:
        spool.close()
    only = open_spool(root)
    assert name_of(only) == "logs.0"
    contents = [chunk.read() for chunk in only.pending()]
    assert [content.tag for content in contents] == ["0", "1", "2"]
    assert [content.payload for content in contents] == [
        b"payload 0",
        b"payload 1",
        b"payload 2",
    ]
    assert [content.settled for content in contents] == [b"\1", b"\2", b"\3"]
    assert list(root.glob("logs.[12]/*")) == []
    only.close()


def test_an_arn_and_another_region(root: Path) -> None:
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/logs"
    leave(root, "name")
    leave(root, "region", region="eu-west-1")
    leave(root, "arn", stream=arn)
    assert sorted(path.name for path in root.iterdir()) == ["logs.0", "logs.1", "logs.2"]
    for tag, options in (
        ("arn", {"stream": arn}),
        ("region", {"region": "eu-west-1"}),
        ("name", {}),
    ):
        spool = open_spool(root, **options)
        assert tags(spool) == [tag]
        spool.close()


def test_chunks_with_other_options_stay_and_are_logged_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave(root, "before", log_key="log")
    caplog.clear()
    spool = open_spool(root, append_newline="true")
    assert (name_of(spool), tags(spool)) == ("logs.1", [])
    (line,) = caplog.messages
    assert line.startswith("spooled chunks that this output does not send: 1 (")
    assert "they were spooled with different options (append_newline, log_key); they stay" in line
    assert line.endswith(f"`kinesis-fast spool ls --spool {root}`")
    spool.put(b"x", "now")
    spool.close()
    caplog.clear()
    back = open_spool(root, log_key="log")
    assert (name_of(back), tags(back)) == ("logs.0", ["before"])
    back.close()


def test_outputs_with_different_options_may_start_in_another_order(root: Path) -> None:
    one, two = open_spool(root), open_spool(root, log_key="log")
    one.put(b"x", "one")
    two.put(b"x", "two")
    one.close()
    two.close()
    two, one = open_spool(root, log_key="log"), open_spool(root)
    assert (tags(one), tags(two)) == (["one"], ["two"])
    assert (name_of(one), name_of(two)) == ("logs.0", "logs.1")
    one.close()
    two.close()


def test_chunks_are_moved_out_of_other_and_mixed_directories(root: Path) -> None:
    leave(root, "mine")
    leave(root, "theirs", log_key="log")
    mixed = root / "elsewhere.7"
    (root / "logs.0").rename(mixed)
    for path in (root / "logs.1").iterdir():
        path.rename(mixed / path.name)
    spool = open_spool(root)
    assert name_of(spool) == "logs.1"
    (content,) = (chunk.read() for chunk in spool.pending())
    assert (content.tag, content.settled) == ("mine", b"\1")
    assert len(list(mixed.iterdir())) == 2
    spool.close()


def test_a_locked_directory_is_left_alone(root: Path) -> None:
    leave(root, "x")
    other = Directory.open(str(root / "logs.0"), create=False)
    assert other.lock()
    spool = open_spool(root)
    assert (name_of(spool), tags(spool)) == ("logs.1", [])
    other.close()
    spool.close()


def test_another_process_has_the_lock_until_it_ends(root: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom spools import open_spool\n"
        "spool = open_spool(Path(sys.argv[1]))\nspool.put(b'x', 'theirs')\n"
        "print(spool.path, flush=True)\nsys.stdin.read()\n"
    )
    with Started[bytes](
        [sys.executable, "-P", "-c", program, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=program_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(b"logs.0\n")
        spool = open_spool(root)
        assert (name_of(spool), tags(spool)) == ("logs.1", [])
        process.kill()
    spool.close()
    spool = open_spool(root)
    assert (name_of(spool), tags(spool)) == ("logs.0", ["theirs"])
    spool.close()


IN_CHILD = """
import os, sys
from pathlib import Path
from spools import open_spool
from kinesis_fast.errors import StorageError

root = Path(sys.argv[1])
spool = open_spool(root)
chunk = spool.put(b"x", "parent")
reading, writing = os.pipe()
is_ready, be_ready = os.pipe()
child = os.fork()
if child == 0:
    os.close(writing)
    for call in (lambda: spool.put(b"x", "child"), chunk.read):
        try:
            call()
            os._exit(1)
        except StorageError as error:
            if "is closed in this process" not in str(error):
                os._exit(2)
    if chunk.remove() or chunk.save_progress(b"x"):
        os._exit(3)
    spool.close()
    own = open_spool(root)
    if not own.path.endswith("logs.1") or own.pending():
        os._exit(4)
    own.put(b"x", "child")
    own.close()
    os.close(be_ready)
    os.read(reading, 1)  # live on, until the parent has ended
    os._exit(0)
os.close(be_ready)
os.read(is_ready, 1)  # until the child closes its end
"""


def run_forking(root: Path, program: str) -> None:
    """Run a program after IN_CHILD; it has no threads, of which Python 3.12 would warn."""
    command = [sys.executable, "-P", "-c", IN_CHILD + program, str(root)]
    subprocess.run(command, env=program_environment(), check=True)


def test_a_forked_child_claims_its_own_directory(root: Path) -> None:
    run_forking(
        root,
        "os.close(writing)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert chunk.read().payload == b'x'\n"
        "second = open_spool(root)\n"  # the parent still has its lock
        "assert second.path.endswith('logs.1')\n"
        "assert [chunk.read().tag for chunk in second.pending()] == ['child']\n",
    )


def test_a_child_that_outlives_the_spool_holds_no_lock(root: Path) -> None:
    run_forking(
        root,
        "spool.close()\n"
        "again = open_spool(root)\n"
        "assert again.path.endswith('logs.0')\n"
        "assert 'parent' in [chunk.read().tag for chunk in again.pending()]\n"
        "assert os.waitpid(child, os.WNOHANG) == (0, 0)\n"
        "os.close(writing)\n"
        "assert os.waitpid(child, 0)[1] == 0\n",
    )


def test_close_releases_a_lock_shared_by_a_copy_of_the_descriptor(root: Path) -> None:
    """A process that is being started holds such a copy for a moment."""
    directory = Directory.open(str(root), create=True)
    assert directory.lock()
    copy = os.dup(directory.fd)
    directory.close()
    other = Directory.open(str(root), create=False)
    assert other.lock()
    other.close()
    os.close(copy)


def test_many_starts_at_once(root: Path) -> None:
    leave(root, "a")
    leave(root, "b", log_key="log")
    with ThreadPoolExecutor(8) as pool:
        spools = list(pool.map(lambda key: open_spool(root, log_key=key), ["", "log"] * 4))
    assert len({spool.path for spool in spools}) == 8
    assert sorted(tag for spool in spools for tag in tags(spool)) == ["a", "b"]
    for spool in spools:
        spool.close()


def test_a_root_that_stays_locked_raises(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_spool(root).close()
    monkeypatch.setattr("kinesis_fast.storage.spool.claim.ROOT_LOCK_S", 0.05)
    other = Directory.open(str(root), create=False)
    assert other.lock()
    with pytest.raises(StorageError, match=r"locked by another process for 0\.05 seconds"):
        open_spool(root)
    other.close()
    open_spool(root).close()


def test_other_users_must_not_write_to_the_directory(root: Path) -> None:
    root.mkdir(mode=0o700)
    root.chmod(0o770)
    with pytest.raises(
        StorageError, match=r"other users can write to .* \(mode 0770\); set its mode"
    ):
        open_spool(root)
    root.chmod(0o755)
    open_spool(root).close()


def test_the_directory_of_another_user(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir(mode=0o700)
    owner = root.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    text = f"belongs to user {owner}, but this process runs as {owner + 1}"
    with pytest.raises(StorageError, match=text):
        open_spool(root)


@pytest.mark.parametrize("user", [0, 4711])
def test_root_must_not_use_the_directory_of_another_user(
    root: Path, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that runs as root would write where another user can change what it finds."""
    root.mkdir(mode=0o700)
    owner = root.stat().st_uid
    stat_of = os.fstat

    def of_another(fd: int) -> os.stat_result:
        fields = list(stat_of(fd))
        fields[stat.ST_UID] = user + 1
        return os.stat_result(fields)

    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("kinesis_fast.storage.directory.os.fstat", of_another)
    text = f"belongs to user {user + 1}, but this process runs as {user}; run it as that user"
    with pytest.raises(StorageError, match=text):
        open_spool(root)
    assert root.stat().st_uid == owner
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("end", ["/.", "/", "/./", "//.//"])
def test_a_link_stays_a_link_whatever_the_path_ends_with(
    root: Path, tmp_path: Path, end: str
) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "real")
    for create in (True, False):
        with pytest.raises(StorageError, match="not a symbolic link"):
            Directory.open(f"{root}{end}", create=create)
    with pytest.raises(StorageError, match=r"ends with '\.\.'; give the real path"):
        Directory.open(f"{root}/..{end}", create=False)
    root.unlink()
    Directory.open(f"{root}{end}", create=True).close()


def test_the_directory_must_be_a_directory(root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "real")
    with pytest.raises(StorageError, match="not a symbolic link"):
        open_spool(root)
    root.unlink()
    root.write_text("x")
    with pytest.raises(StorageError, match="it must be a directory"):
        open_spool(root)
    with pytest.raises(StorageError, match=r"\(ENOENT\); create its parent directory"):
        open_spool(tmp_path / "no" / "spool")


def test_an_output_directory_that_is_a_symbolic_link_is_skipped(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_spool(root).close()
    (root / "logs.0").rename(tmp_path / "real")
    (root / "logs.0").symlink_to(tmp_path / "real")
    spool = open_spool(root)
    assert name_of(spool) == "logs.1"
    assert "skipped one directory of the spool: cannot open" in caplog.text
    spool.close()


OTHER_VALUES = {
    "region": "eu-west-1",
    "stream": "other",
    "endpoint": "http://localhost:1",
    "profile": "other",
    "role_arn": "arn:aws:iam::123456789012:role/other",
    "partition_key": "host",
    "data_keys": "a",
    "log_key": "log",
    "replace_dots": "_",
    "append_newline": "true",
    "time_key": "time",
    "time_key_format": "%s",
    "time_zone": "utc",
    "max_record_size": "2048",
    "compression": "gzip",
    "aggregation": "true",
    "simple_aggregation": "true",
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_each_identifying_option_makes_a_difference(root: Path, name: str) -> None:
    one = identity_of(spool_config(root))
    other = identity_of(spool_config(root, **{name: OTHER_VALUES[name]}))
    assert differences(one, other) == differences(other, one) == [name]


def test_all_identifying_options_are_tried(root: Path) -> None:
    assert set(identity_of(spool_config(root))) == {*OTHER_VALUES}
    same = {"http_request_timeout": "1", "transport": "direct", "max_in_flight": "1"}
    assert identity_of(spool_config(root)) == identity_of(spool_config(root, **same))


def test_an_option_unknown_to_an_older_version_counts_as_default(root: Path) -> None:
    today = identity_of(spool_config(root))
    older = {name: text for name, text in today.items() if name != "append_newline"}
    assert differences(older, today) == []
    assert differences(older, today | {"append_newline": "true"}) == ["append_newline"]
    assert differences(today | {"from_the_future": "x"}, today) == ["from_the_future"]
