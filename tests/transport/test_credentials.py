"""How often botocore is asked for credentials."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from kinesis_fast.transport.credentials import (
    CHECK_S,
    LEAST_LIFE_S,
    LOOK_UP_S,
    ThriftyCredentials,
)


class Source:
    """Gives out KEY1, KEY2, ... that live for `life_s`, on the clock of the machine."""

    def __init__(self, life_s: float) -> None:
        self.life_s = life_s
        self.n_look_ups = 0
        self.fails = False
        self.now_s = 1000.0
        inner = RefreshableCredentials.create_from_metadata(self.look_up(), self.look_up, "test")
        self.credentials: Any = ThriftyCredentials(inner, lambda: self.now_s)

    def look_up(self) -> dict[str, str]:
        self.n_look_ups += 1
        if self.fails:
            raise OSError("the source does not respond")
        return {
            "access_key": f"KEY{self.n_look_ups}",
            "secret_key": "secret",
            "token": "token",
            "expiry_time": (datetime.now(UTC) + timedelta(seconds=self.life_s)).isoformat(),
            "account_id": "1",
        }

    def key(self) -> str:
        key: str = self.credentials.get_frozen_credentials().access_key
        return key


def test_one_look_up_a_minute_while_they_are_valid() -> None:
    source = Source(300)
    assert {source.key() for _ in range(20)} == {"KEY1"}
    source.now_s += LOOK_UP_S - 1
    assert source.key() == "KEY1"
    source.now_s += 1
    assert {source.key() for _ in range(20)} == {"KEY2"}
    assert source.n_look_ups == 2


def test_a_look_up_that_fails_waits_for_the_next_minute() -> None:
    source = Source(300)
    source.fails = True
    source.now_s += LOOK_UP_S
    assert {source.key() for _ in range(20)} == {"KEY1"}
    assert source.n_look_ups == 2
    source.fails = False
    source.now_s += LOOK_UP_S
    assert source.key() == "KEY3"


def test_credentials_at_their_end_are_replaced_at_once() -> None:
    source = Source(LEAST_LIFE_S - 1)
    assert [source.key(), source.key()] == ["KEY2", "KEY3"]
    source.fails = True
    with pytest.raises(OSError, match="does not respond"):
        source.key()


def test_no_property_looks_up() -> None:
    source = Source(300)
    credentials = source.credentials
    for _ in range(5):
        assert (credentials.access_key, credentials.secret_key) == ("KEY1", "secret")
        assert (credentials.token, credentials.account_id) == ("token", "1")
        assert credentials.get_deferred_property("account_id")() == "1"
    assert credentials.method == "test"
    assert source.n_look_ups == 1


def test_credentials_that_live_for_long() -> None:
    source = Source(3600)
    assert source.key() == "KEY1"
    source.credentials._inner._expiry_time = datetime.now(UTC)
    source.now_s += CHECK_S
    assert source.key() == "KEY2"
    assert source.n_look_ups == 2


def test_credentials_without_an_end() -> None:
    inner = Credentials("KEY", "secret")
    credentials = ThriftyCredentials(inner, lambda: 0.0)
    assert credentials.get_frozen_credentials().access_key == "KEY"
    assert credentials.token is None
