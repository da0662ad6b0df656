"""A Prometheus of its own on this machine, for tests and pictures: scrapes, rules and queries."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

READY_S: Final = 60.0
RULES: Final = Path(__file__).resolve().parents[1] / "docs" / "monitoring" / "alerts.yml"


def missing_programs() -> str:
    """Return why Prometheus cannot be run here; empty if it can."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if not missing:
        return ""
    return f"{' and '.join(missing)} missing (Debian: apt-get install prometheus)"


class Prometheus:
    """A running Prometheus that scrapes endpoints every second.

    Args:
        directory: for its configuration and data, which is empty.
        targets: addresses of endpoints, such as 127.0.0.1:9402.
    """

    def __init__(self, directory: Path, targets: Iterable[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._address = f"127.0.0.1:{server.getsockname()[1]}"
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "kf", "static_configs": [{"targets": [*targets]}]}],
        }
        path = directory / "prometheus.yml"
        path.write_text(json.dumps(configuration))  # JSON is YAML
        self._log_path = directory / "prometheus.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={path}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={self._address}",
                ],
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(READY_S)

    def api(self, name: str, **parameters: object) -> Any:
        """Return the data of an answer of the HTTP API, such as that of `targets`.

        Raises:
            ValueError: the answer is an error; the text says which.
        """
        query = urllib.parse.urlencode(parameters)
        url = f"http://{self._address}/api/v1/{name}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=READY_S) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from None

    def query_range(self, query: str, start: float, end: float, step: float) -> list[Any]:
        """Return the series of a query: each with `metric`, its labels, and `values`."""
        data = self.api("query_range", query=query, start=start, end=end, step=step)
        series: list[Any] = data["result"]
        return series

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=1):
                    return
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self._log_path.read_text(errors="replace")
                    raise RuntimeError(f"Prometheus does not start: {log}") from error
                time.sleep(0.05)
