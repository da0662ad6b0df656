"""Log lines name an event by its own chunk, though chunks of a spool share a delivery."""

from pathlib import Path

import pytest
from chunks import output_config
from fake_transport import FakeTime, FakeTransport, refuse_if
from outputs import eventually, new_output, numbered, numbers

from kinesis_fast.storage.spool import Spool


def test_an_event_of_a_chunk_that_shares_a_delivery(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
    spool = Spool.open(output_config({"max_in_flight": "1", **options}))
    paths = [spool.put(numbered(range(first, first + 3)), "app").path for first in (0, 3, 6)]
    spool.close()
    transport = FakeTransport(then=refuse_if(lambda data: numbers([data]) == [4]))
    output = new_output(transport, FakeTime(), **options)
    eventually(lambda: output.stats()["dead"] == 1)
    output.close()
    assert transport.sizes[0] == 9
    (line,) = [line for line in caplog.messages if "is lost" in line]
    assert line.startswith(f"event 1 of chunk 'app' in {paths[1]} (15 bytes) was refused")
