"""Credentials that botocore renews, without asking for new ones more often than needed.

botocore asks for new credentials at every request once the ones it has live for less than 15
minutes, and it fails 10 minutes before their end. Sources exist whose credentials never live
longer than that.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from botocore.credentials import Credentials

from kinesis_fast.transport import secrets

LOOK_UP_S: Final = 60.0  # seconds between two look-ups while the credentials are valid
CHECK_S: Final = 1.0  # seconds between two looks at the end of credentials that live for long
LEAST_LIFE_S: Final = 10.0  # seconds of validity that a request needs


def expiry_of(credentials: Any) -> float | None:
    """Return when credentials of botocore's expire, seconds since 1970.

    It asks for no new ones.

    Returns:
        None: they do not expire, they were not looked up yet, or this botocore does not tell.
    """
    expiry = getattr(credentials, "_expiry_time", None)
    return expiry.timestamp() if isinstance(expiry, datetime) else None


class ThriftyCredentials:
    """Stands before botocore's credentials, wherever botocore takes credentials.

    Several threads may call it at once. The secrets that it sees are masked from then on.

    Args:
        inner: botocore's credentials.
        clock: seconds that only grow, as time.monotonic().
    """

    def __init__(self, inner: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._clock = clock
        # What the look-up that made them has found; without it the first request looks up again.
        self._frozen = getattr(inner, "_frozen_credentials", None)
        self._kept_until_s = 0.0
        self._next_look_up_s = clock() + LOOK_UP_S
        self._learn()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def access_key(self) -> Any:
        return self.get_frozen_credentials().access_key

    @property
    def secret_key(self) -> Any:
        return self.get_frozen_credentials().secret_key

    @property
    def token(self) -> Any:
        return self.get_frozen_credentials().token

    @property
    def account_id(self) -> Any:
        return getattr(self.get_frozen_credentials(), "account_id", None)

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self, name)

    def get_frozen_credentials(self) -> Any:
        """Return the keys to sign with; looks them up only if that is due."""
        now_s = self._clock()
        if now_s < self._kept_until_s:
            return self._frozen
        needs_look_up = getattr(self._inner, "refresh_needed", None)
        if needs_look_up is None or not needs_look_up():
            self._adopt()
            self._kept_until_s = now_s + CHECK_S
            return self._frozen
        is_valid = self._frozen is not None and not needs_look_up(LEAST_LIFE_S)
        if is_valid and now_s < self._next_look_up_s:
            return self._frozen
        self._next_look_up_s = now_s + LOOK_UP_S
        try:
            self._adopt()
        except Exception:
            if not is_valid:
                raise
        return self._frozen

    def _adopt(self) -> None:
        frozen = self._inner.get_frozen_credentials()
        if frozen is not self._frozen:
            self._frozen = frozen
            self._learn()

    def _learn(self) -> None:
        if self._frozen is not None:
            secrets.learn_renewed(self._frozen.secret_key, self._frozen.token)


class LateCredentials:
    """Made-up keys until real credentials take their place; also the resolver that has them.

    So a client can be made before credentials are looked up.

    Args:
        keys: access key, secret key and token.
    """

    def __init__(self, *keys: str | None) -> None:
        self._current: Any = Credentials(*keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current, name)

    def become(self, credentials: Any) -> None:
        """Take other credentials from now on."""
        self._current = credentials

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self, name)

    def load_credentials(self) -> "LateCredentials":
        return self


class ThriftyResolver:
    """A resolver of botocore's whose credentials are thrifty.

    Args:
        resolver: botocore's.
    """

    def __init__(self, resolver: Any) -> None:
        self._resolver = resolver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolver, name)

    def load_credentials(self) -> ThriftyCredentials | None:
        """Return the credentials of the first source that has some."""
        credentials = self._resolver.load_credentials()
        return None if credentials is None else ThriftyCredentials(credentials)
