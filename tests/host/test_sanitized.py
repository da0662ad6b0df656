"""The plugin's library, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from arrivals import assert_holds, golden_chunk
from chunks import chunk_of, load_chunk
from host_fixtures import NewHost
from local_stream import LocalStream
from plugin_host import PluginHost, compile_c, has_compiler
from pythons import copy_package
from slow_service import SlowService

LIBRARY_SOURCES = Path(__file__).resolve().parents[2] / "src_pyx" / "host"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover", "-fno-omit-frame-pointer")
SHARED = ("-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,nodelete", "-Wl,-z,now")
PATIENCE_S = 60.0


def runtime() -> Path | None:
    """Return the path of the compiler's AddressSanitizer runtime, which must be preloaded."""
    command = ["cc", "-print-file-name=libasan.so"]
    path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return path if path.is_absolute() else None


@pytest.fixture
def host(new_host: NewHost, tmp_path: Path) -> PluginHost:
    """A host that loads the instrumented library from a copy of the package."""
    libasan = runtime() if has_compiler() else None
    if libasan is None:
        pytest.skip("no C compiler with libasan on PATH")
    library = copy_package(tmp_path / "sanitized") / "host" / "out_kinesis.so"
    library.unlink()
    compile_c(library, sorted(LIBRARY_SOURCES.glob("*.c")), (*SANITIZE, *SHARED))
    host = new_host(
        library,
        LD_PRELOAD=str(libasan),
        ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0",
        UBSAN_OPTIONS="print_stacktrace=1",
    )
    assert b"__asan_report_load" in library.read_bytes()
    assert libasan.resolve().name in host.maps()
    return host


@pytest.mark.slow
def test_outputs_from_init_to_exit(host: PluginHost, stream: LocalStream) -> None:
    chunk, expected = golden_chunk("k8s_1", "plain")
    assert host.init("no python", {**stream.target, "python": "/no/such/python"}) == 0
    assert host.init("no library", {**stream.target, "python": "/bin/true"}) == 0
    python = {"python": sys.executable}
    assert host.init("a", {**stream.target, **python}) == 1
    assert host.init("wrong", {**stream.target, "append_newline": "x" * 5000}) == 0
    assert host.init("b", {**stream.target, "experimental_concurrency": "2"}) == 1
    for thread in range(4):
        host.start(thread, "a", chunk)
    assert host.flush("b", chunk).ok == 1
    assert host.flush("a", load_chunk("hm_trunc")[:1]).ok == 1
    assert [host.join(thread).ok for thread in range(4)] == [1] * 4
    host.load()
    host.register()
    assert [host.exit("a"), host.exit("b")] == [1, 1]
    host.stop_engine()
    host.unload()
    host.start_engine()
    with SlowService() as service:
        assert host.init("c", service.target) == 1
        host.start(1, "c", chunk_of([{"n": 1}]))
        assert service.arrived.wait(PATIENCE_S)
        host.send("exit", "c")
        service.release()
        assert host.reply() == "1"
        assert host.join(1).ok == 1
    assert host.quit() == 0
    assert len(host.log("error")) == 3
    assert_holds(stream, expected * 5)
