"""The drawing of panels, from answers as Prometheus gives them."""

import math
import re
from xml.etree import ElementTree

import pytest
from monitoring import DASHBOARD, dashboard_panels
from panels import Panel, Series, draw, query_of, round_up, series_of, shown
from prometheus_server import RULES

from kinesis_fast.metrics import families

ANSWER = [
    {"metric": {"stream": "a&b"}, "values": [[0, "1"], [10, "2"], [20, "NaN"], [50, "3"]]},
    {"metric": {"stream": "other"}, "values": []},
]


def test_lines_have_gaps_where_values_are_missing() -> None:
    first, second = series_of(ANSWER, "{{stream}} x", 10.0)
    assert first == ("a&b x", [[(0, 1.0), (10, 2.0)], [(50, 3.0)]])
    assert second == ("other x", [])


def test_variables_are_replaced() -> None:
    query = query_of('rate(x{stream=~"$stream"}[$__rate_interval])', "9s")
    assert query == 'rate(x{stream=~".*"}[9s])'


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.3, 0.4), (1, 1), (1.5, 2), (3, 4), (9, 10), (250, 400)]
)
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    assert math.isclose(round_up(value), top)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "percentunit", "25 %"),
        (0.25, "s", "250 ms"),
        (5000, "s", "5000 s"),
        (5000, "bytes", "5 kB"),
        (20, "bytes", "20 B"),
        (1.5e6, "Bps", "1.5 MB/s"),
        (3, "short", "3"),
        (2e9, "short", "2 G"),
    ],
)
def test_values_have_short_units(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_a_drawing_is_valid_and_inside_its_panel() -> None:
    panels = [Panel("A < B", "s", series_of(ANSWER, "{{stream}}", 10.0))] * 4
    text = draw([*panels, Panel("empty", "s", [Series("none", [])])], 0.0, 50.0)
    root = ElementTree.fromstring(text)
    assert (root.get("width"), root.get("height")) == ("1140", "420")
    lines = [one.get("points", "") for one in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 8
    for point in " ".join(lines).split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 380
        assert 0 <= y <= 210


def test_alerts_and_dashboard_use_metrics_that_exist() -> None:
    """Without a Prometheus as well, a name that is changed in one place only is noticed."""
    names = {families.PREFIX + one.name for one in families.MEASURED + families.SPOOLED}
    names |= {f"{families.PREFIX}{one.name}_total" for one in families.COUNTED}
    more = [
        *("records_total", "skipped_records_total", "remarks_total", "records_pending"),
        *("request_errors_total", "entry_errors_total", "request_duration_seconds_bucket"),
        *("request_size_bytes_sum", "request_size_bytes_count", "output_info", "build_info"),
        *("dead_letters_total", "dead_letters_lost_total"),
    ]
    names |= {families.PREFIX + name for name in more}
    used = set(re.findall(r"kinesis_fast_\w+", RULES.read_text() + DASHBOARD.read_text()))
    assert used <= names
    assert len(used) > 15
    assert len(dashboard_panels()) == 12
