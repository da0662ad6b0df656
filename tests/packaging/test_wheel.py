"""The content and the dependencies of the wheel."""

import io
import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from distributions import Built
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

import kinesis_fast

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
EXTENSION_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX") if FREE_THREADED else ".abi3.so"
HOST_LIBRARY = "kinesis_fast/host/out_kinesis.so"
C_LIBRARY = ("libc.", "libm.", "libpthread.", "libdl.", "ld-linux-", "ld-musl-")
ZLIB = "libz.so.1"


def is_metadata(name: str) -> bool:
    return name.partition("/")[0].endswith(".dist-info")


def read_metadata(built: Built, name: str) -> str:
    (member,) = (m for m in built.wheel.names if is_metadata(m) and m.endswith(f"/{name}"))
    with zipfile.ZipFile(built.wheel.path) as archive:
        return archive.read(member).decode()


@pytest.fixture(scope="module")
def metadata(built: Built) -> Message:
    return Parser().parsestr(read_metadata(built, "METADATA"))


@pytest.fixture(scope="module")
def shared_objects(built: Built) -> dict[str, ELFFile]:
    """The compiled modules of the wheel, by path in the package, without an ending."""
    with zipfile.ZipFile(built.wheel.path) as archive:
        found = {
            name.partition("/")[2].partition(".")[0]: ELFFile(io.BytesIO(archive.read(name)))
            for name in built.wheel.names
            if name.endswith(".so") and name != HOST_LIBRARY
        }
    assert set(found) == built.compiled_modules()
    return found


def test_the_tag_promises_all_pythons_from_3_11_on(built: Built) -> None:
    version = f"cp{sys.version_info.major}{sys.version_info.minor}t"
    tag = f"-{version}-{version}-" if FREE_THREADED else "-cp311-abi3-"
    assert tag in built.wheel.path.name


def test_the_wheel_holds_the_whole_package_and_the_compiled_modules(built: Built) -> None:
    package = {
        str(path.relative_to(built.source_tree))
        for path in (built.source_tree / "kinesis_fast").rglob("*")
        if path.is_file()
    }
    compiled = {f"kinesis_fast/{module}{EXTENSION_SUFFIX}" for module in built.compiled_modules()}
    assert {name for name in built.wheel.names if not is_metadata(name)} == (
        package | compiled | {HOST_LIBRARY}
    )
    assert {"kinesis_fast/py.typed", "kinesis_fast/_core/encoder.pyi"} <= package


def test_the_wheel_holds_no_sources_of_compiled_modules(built: Built) -> None:
    suffixes = {Path(name).suffix for name in built.wheel.names}
    assert suffixes.isdisjoint({".c", ".cpp", ".h", ".hpp", ".pyx", ".pxd", ".pxi"})


def test_metadata(built: Built, metadata: Message) -> None:
    assert metadata["Name"] == "kinesis-fast"
    assert metadata["Version"] == kinesis_fast.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("Provides-Extra") == ["local", "metrics", "zstd", "test"]
    assert "kinesis-fast = kinesis_fast.cli:main" in read_metadata(built, "entry_points.txt")
    assert "Apache License" in read_metadata(built, "LICENSE")


def test_nothing_of_the_build_is_required_at_run_time(metadata: Message) -> None:
    required = metadata.get_all("Requires-Dist", [])
    names = {line.split(">=")[0] for line in required if "extra ==" not in line}
    assert names == {"boto3", "httptools", "msgpack"}


@pytest.fixture(scope="module")
def host_library(built: Built) -> ELFFile:
    """The library that Fluent Bit opens."""
    with zipfile.ZipFile(built.wheel.path) as archive:
        return ELFFile(io.BytesIO(archive.read(HOST_LIBRARY)))


def dynamic_symbols(elf: ELFFile, *, defined: bool) -> set[str]:
    symbols = elf.get_section_by_name(".dynsym")
    assert isinstance(symbols, SymbolTableSection)
    return {
        symbol.name
        for symbol in symbols.iter_symbols()
        if symbol.name
        and (symbol["st_shndx"] != "SHN_UNDEF") == defined
        and symbol["st_info"]["bind"] != "STB_LOCAL"
    }


def test_the_library_for_fluent_bit_has_no_python_in_it(host_library: ELFFile) -> None:
    assert dynamic_symbols(host_library, defined=True) == {
        "FLBPluginRegister",
        "FLBPluginInit",
        "FLBPluginFlushCtx",
        "FLBPluginExitCtx",
    }
    used = dynamic_symbols(host_library, defined=False)
    assert {name for name in used if name.startswith(("Py", "_Py"))} == set()


def test_the_library_for_fluent_bit_stays_mapped(host_library: ELFFile) -> None:
    dynamic = host_library.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    (flags,) = dynamic.iter_tags("DT_FLAGS_1")
    no_delete = 0x8
    assert flags["d_val"] & no_delete


def test_only_the_c_library_is_linked_dynamically(
    shared_objects: dict[str, ELFFile], host_library: ELFFile
) -> None:
    for module, elf in {**shared_objects, "out_kinesis": host_library}.items():
        dynamic = elf.get_section_by_name(".dynamic")
        assert isinstance(dynamic, DynamicSection)
        needed = {vars(tag)["needed"] for tag in dynamic.iter_tags("DT_NEEDED")}
        assert needed, module
        others = {name for name in needed if not name.startswith(C_LIBRARY)}
        assert others == (
            {ZLIB} if module == "_core/codec" and not has_archive("libz.a") else set()
        ), module


def has_archive(name: str) -> bool:
    """Tell whether the compiler finds a static library, which is then preferred to the shared one.

    A host process may export another zlib, and calls into a shared one could reach that.
    """
    command = [shutil.which("cc") or "gcc", f"-print-file-name={name}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return Path(found.stdout.strip()).is_absolute()


def test_a_module_exports_its_initialiser_and_nothing_else(
    shared_objects: dict[str, ELFFile],
) -> None:
    for module, elf in shared_objects.items():
        assert dynamic_symbols(elf, defined=True) == {f"PyInit_{Path(module).name}"}


@pytest.mark.skipif(FREE_THREADED, reason="the free-threaded interpreter has no stable ABI")
def test_only_the_stable_abi_of_3_11_is_used(built: Built) -> None:
    command = [sys.executable, "-P", "-m", "abi3audit", "--report", str(built.wheel.path)]
    audit = subprocess.run(command, capture_output=True, text=True, check=False)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    (spec,) = json.loads(audit.stdout)["specs"].values()
    modules = [module for module in spec["wheel"] if module["name"] not in HOST_LIBRARY]
    names = sorted(module["name"].partition(".")[0] for module in modules)
    assert names == sorted(Path(module).name for module in built.compiled_modules())
    for module in modules:
        result = module["result"]
        assert result["baseline"] == "3.11", module
        assert result["is_abi3"], module
        assert result["is_abi3_baseline_compatible"], module
