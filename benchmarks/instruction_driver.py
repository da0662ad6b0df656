"""Encodes chunks, each in a process of its own; benchmarks/instructions.py runs it under callgrind.

    instruction_driver.py JOBS.json

JOBS.json is a list of [path of a chunk, options, number of passes]. For each of them a line with
the id of the process that did it goes to stdout.
"""

import gc
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def main() -> None:
    """Fork a child for every job, so that all start from the same state."""
    gc.disable()  # a collection that falls into one run and not into another would count
    _leave_out_the_rest()
    jobs = json.loads(Path(sys.argv[1]).read_text())
    prepared = [(_pass(Path(path), options), n_passes) for path, options, n_passes in jobs]
    for run, n_passes in prepared:
        pid = os.fork()
        if pid == 0:
            for _ in range(n_passes):
                run()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            sys.exit(f"a job ended with status {os.waitstatus_to_exitcode(status)}")
        print(pid, flush=True)


def _leave_out_the_rest() -> None:
    """Make `kinesis_fast` importable without its __init__, which imports botocore."""
    spec = importlib.util.find_spec("kinesis_fast")
    assert spec is not None
    package = ModuleType("kinesis_fast")
    package.__path__ = list(spec.submodule_search_locations or [])
    sys.modules["kinesis_fast"] = package


def _pass(path: Path, options: dict[str, str]) -> Callable[[], None]:
    encoder = importlib.import_module("kinesis_fast.encoder")
    config = importlib.import_module("kinesis_fast.config").OutputConfig.from_options(options)
    requests = encoder.RecordEncoder(config).requests
    chunk = path.read_bytes()

    def run() -> None:
        for request in requests(chunk):
            request.release()

    return run


if __name__ == "__main__":
    main()
