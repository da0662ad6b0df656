"""Starts an output and flushes once, as the plugin does; instructions.py runs it under callgrind.

start_driver.py URL
"""

import gc
import importlib
import os
import sys

gc.disable()  # the plugin collects nothing at its start either
TIME, BODY = b"\xd7\x00" + bytes(8), b"\x81\xa1n\x01"
EVENT = b"\x92\x92" + TIME + b"\x80" + BODY  # [[time, {}], {"n": 1}]


def main() -> None:
    """Import, start, flush, and leave without an end."""
    entry = importlib.import_module("kinesis_fast.host.entry")
    handle = entry.init({"region": "us-east-1", "stream": "logs", "endpoint": sys.argv[1]})
    os._exit(0 if handle and entry.flush(handle, memoryview(EVENT), "tag") == 1 else 1)


if __name__ == "__main__":
    main()
