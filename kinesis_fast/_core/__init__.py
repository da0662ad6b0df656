"""The compiled part of kinesis_fast: encodes msgpack chunks into request bodies without the GIL.

If a compiled module is missing or does not load, importing this package raises an ImportError that
says how to repair the installation. There is no slower replacement in Python.
"""

import importlib
import platform
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_MODULES = (
    "kernels",
    "events",
    "json_text",
    "times",
    "partition_key",
    "shape",
    "kpl",
    "batch",
    "aggregate",
    "buckets",
    "aggregator",
    "request",
    "codec",
    "plan",
    "record_reader",
    "read_ahead",
    "record_compressor",
    "request_stream",
    "encoder",
    "answer",
    "booking",
    "cbor_answer",
)
# Compiled modules of other rooms, by their place in the package; those rooms load them.
_ELSEWHERE = (
    "condition",
    "delivery/leader_followers",
    "delivery/request_queue",
    "transport/direct/connection",
    "transport/direct/plain",
    "transport/direct/pool",
    "transport/direct/response_reader",
    "transport/direct/tls",
)
_REINSTALL = "pip install --force-reinstall --no-cache-dir kinesis-fast"


def _is_built(module: str, directory: Path) -> bool:
    return any((directory / f"{module}{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def _missing(directory: Path) -> tuple[list[str], Path]:
    """Return the modules without a file, and the directory that their paths start from."""
    here = [name for name in _MODULES if not _is_built(name, directory)]
    package = directory.parent
    elsewhere = [name for name in _ELSEWHERE if not _is_built(name, package)]
    if elsewhere:
        return [*(f"{directory.name}/{name}" for name in here), *elsewhere], package
    return here, directory


def _how_to_mend(directory: Path, nothing_built: bool) -> str:
    source_tree = directory.parent.parent
    if not (source_tree / "src_pyx").is_dir():
        return f"Reinstall the package: {_REINSTALL}"
    if nothing_built:
        return (
            f"{source_tree} is a source tree without compiled modules, and it hides an installed "
            f"kinesis-fast while it is on sys.path. Start Python in another directory or as "
            f"`python -P`. To install this source tree: pip install {source_tree}"
        )
    return f"Build it again: pip install --force-reinstall --no-deps {source_tree}"


def _explain(module: str, cause: Exception) -> ImportError:
    directory = Path(__file__).parent
    missing, place = _missing(directory)
    if missing:
        problem = f"{', '.join(missing)} missing in {place}"
    else:
        problem = f"{module} in {directory} does not load ({cause})"
    return ImportError(
        f"kinesis_fast: compiled module {problem}. "
        f"This is {platform.python_implementation()} {platform.python_version()} "
        f"on {sysconfig.get_platform()}, which loads *{', *'.join(EXTENSION_SUFFIXES)}. "
        f"{_how_to_mend(directory, nothing_built=len(missing) == len(_MODULES + _ELSEWHERE))}",
        name=f"{__name__}.{module}",
        path=str(directory),
    )


def _load() -> None:
    for module in _MODULES:
        try:
            importlib.import_module(f"{__name__}.{module}")
        # Cython raises TypeError or ValueError if the modules come from different builds.
        except (ImportError, TypeError, ValueError) as cause:
            raise _explain(module, cause) from cause
    missing, _ = _missing(Path(__file__).parent)
    if missing:
        raise _explain(missing[0], ImportError("it is missing"))


_load()
