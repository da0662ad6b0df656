"""Draw the dashboard: run outputs and a real Prometheus, and draw what the panels ask for.

python tools/monitoring.py --seconds 180 docs/monitoring/dashboard.svg
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import panels
from monitored_load import load
from prometheus_server import Prometheus, missing_programs

DASHBOARD: Final = Path(__file__).resolve().parents[1] / "docs" / "monitoring" / "dashboard.json"
N_POINTS: Final = 90  # of a line


def dashboard_panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def answers(
    prometheus: Prometheus, panel: dict[str, Any], start: float, end: float, interval: str
) -> panels.Panel:
    """Return a panel with what Prometheus answers to its queries."""
    step_s = max(1.0, (end - start) / N_POINTS)
    series = [
        one
        for target in panel["targets"]
        for one in panels.series_of(
            prometheus.query_range(panels.query_of(target["expr"], interval), start, end, step_s),
            target["legendFormat"],
            step_s,
        )
    ]
    return panels.Panel(panel["title"], panel["fieldConfig"]["defaults"]["unit"], series)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seconds", type=float, default=180.0)
    parsed = parser.parse_args(arguments)
    reason = missing_programs()
    if reason:
        print(f"monitoring: {reason}", file=sys.stderr)
        return 1
    os.environ["FLB_LOG_LEVEL"] = "off"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as name, load(Path(name), port, parsed.seconds):
        directory = Path(name)
        with Prometheus(directory, [f"127.0.0.1:{port}"]) as prometheus:
            start = time.time()
            time.sleep(parsed.seconds)
            end = time.time()
            drawn = [answers(prometheus, panel, start, end, "10s") for panel in dashboard_panels()]
    parsed.picture.write_text(panels.draw(drawn, start, end))
    return 0


if __name__ == "__main__":
    sys.exit(main())
