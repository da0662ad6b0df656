"""Files with certificates, as they lie in a directory."""

import os
import threading
from pathlib import Path

from outputs import PATIENCE_S

from kinesis_fast.transport import trust


def test_a_named_pipe_among_the_certificates_is_passed_over(tmp_path: Path) -> None:
    """To open it would wait for a writer, for ever."""
    os.mkfifo(tmp_path / "a.pem")
    (tmp_path / "b.pem").write_bytes(trust.PEM_MARK + b"CERTIFICATE-----\n")
    found: list[str] = []
    reading = threading.Thread(
        target=lambda: found.append(trust._one_file((str(tmp_path),))), daemon=True
    )
    reading.start()
    reading.join(PATIENCE_S)
    assert found
    assert Path(found[0]).read_bytes().startswith(trust.PEM_MARK)
