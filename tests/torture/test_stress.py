"""Many callers of one output, and a fault in one of a hundred requests: the stats are exact."""

import pytest
from fault_flushes import TRANSPORTS, NewOutput
from fault_load import TIMEOUT_S, Load, mixed
from fault_server import FaultServer

N_CALLERS = 16


def stress(output: Load, server: FaultServer, seconds: float) -> None:
    server.plan(then=mixed(0.01))
    round_ = output.run(seconds)
    assert round_.n_records > 0
    assert round_.counts["requests"] > round_.counts["accept"] > 0


@pytest.mark.parametrize("max_in_flight", [pytest.param("1", marks=pytest.mark.long), "4"])
def test_sixteen_callers(max_in_flight: str, server: FaultServer, new_output: NewOutput) -> None:
    output = new_output(max_in_flight=max_in_flight, http_request_timeout=TIMEOUT_S)
    stress(Load(output, server, N_CALLERS), server, 1.5)


@pytest.mark.long
@pytest.mark.parametrize("partition_key", ["", "n"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_sixteen_callers_for_two_minutes(
    transport: str, partition_key: str, server: FaultServer, new_output: NewOutput
) -> None:
    output = new_output(
        transport=transport, partition_key=partition_key, http_request_timeout=TIMEOUT_S
    )
    stress(Load(output, server, N_CALLERS), server, 120)
