"""Finished bodies over connections of our own: botocore says where to, and gives credentials."""

import os
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from botocore.exceptions import NoCredentialsError

from kinesis_fast.errors import TransportError
from kinesis_fast.limits import MAX_CLOCK_SKEW_S
from kinesis_fast.transport import NotSentError, Response
from kinesis_fast.transport.direct.connection import Connection, UnansweredError
from kinesis_fast.transport.direct.connector import Address, Connector, address_of
from kinesis_fast.transport.direct.endpoint import OddRequestError, find_route
from kinesis_fast.transport.direct.pool import Pool
from kinesis_fast.transport.direct.sigv4 import Keys, Signer
from kinesis_fast.transport.errors import CLIENT_ERROR, explain, explain_socket, is_outdated

SKEWED: Final = (
    b"RequestTimeTooSkewed",
    b"InvalidSignatureException",
    b"SignatureDoesNotMatch",
    b"RequestExpired",
)


class Source(NamedTuple):
    """What botocore knows about an output.

    Attributes:
        client: a client for Kinesis that has the credentials.
        credentials: botocore's object, which renews them by itself; None: there are none.
        ca_bundle: path of a file with the certificates to trust.
    """

    client: Any
    credentials: Any
    ca_bundle: str


class _Way(NamedTuple):
    """All that a request needs, until other credentials are needed."""

    credentials: Any
    account_id: str | None  # of the credentials; it may be a part of the endpoint
    signer: Signer
    pool: Pool


class DirectTransport:
    """Sends bodies to one stream; see `kinesis_fast.transport.Transport`.

    There is a connection for each request that is under way at a time. It is kept for the next
    one, which takes the one used last. In a forked child all starts anew.

    Args:
        open_source: asks botocore. Called when it is needed first, and again when the credentials
            were missing or outdated.
        stream: name or ARN of the stream; botocore chooses the endpoint by it.
    """

    _pool: Pool | None
    _way: _Way | None

    def __init__(self, open_source: Callable[[], Source], stream: str) -> None:
        self._open_source = open_source
        self._stream = stream
        self._skew_s = 0.0  # what the service's clock is ahead of ours
        self._start_anew()

    def send(self, body: memoryview, n_records: int, timeout_s: float | None) -> Response:
        """Post one body; see `kinesis_fast.transport.Transport` and, for the bounds, limits.py.

        When a kept connection turns out to be closed before a byte of the answer has come, the
        request is sent once more at once. It may have arrived: delivery is at least once.
        """
        if self._pid != os.getpid():
            self._start_anew()
        digest = sha256(body).hexdigest()
        response = self._post(body, digest, timeout_s)
        if response.status < CLIENT_ERROR:
            return response
        if self._sets_clock(response):
            response = self._post(body, digest, timeout_s)
        if is_outdated(response):
            self._way = None
        return response

    def close(self) -> None:
        """Close the connections that are kept; those in use are closed after their answer."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.close()

    def _start_anew(self) -> None:
        """Begin without connections; those of a parent process are not touched."""
        self._pid = os.getpid()
        self._pool = None
        self._way = None
        self._way_lock = threading.Lock()

    def _post(self, body: memoryview, digest: str, timeout_s: float | None) -> Response:
        way, keys = self._way_and_keys()
        head = way.signer.head(keys, time.time() + self._skew_s, digest, len(body))
        pool = way.pool
        try:
            kept = pool.take()
            if kept is not None:
                try:
                    return _exchange(pool, kept, head, body, timeout_s)
                except UnansweredError:
                    pass  # it was closed just when the request went out
            return _exchange(pool, pool.connector.open(timeout_s), head, body, timeout_s)
        except OSError as error:
            raise explain_socket(error, pool.connector.text) from error

    def _way_and_keys(self) -> tuple[_Way, Keys]:
        try:
            way = self._way or self._find_way()
            frozen = way.credentials.get_frozen_credentials()
            if _account_id(frozen) != way.account_id:
                way = self._find_way(way)
                frozen = way.credentials.get_frozen_credentials()
        except TransportError:
            raise
        except OddRequestError as error:
            raise NotSentError(f"{error}; set the option transport to botocore") from error
        except Exception as error:
            if isinstance(error, NoCredentialsError):
                self._way = None
            raise explain(error) from error
        return way, Keys(frozen.access_key, frozen.secret_key, frozen.token)

    def _find_way(self, outdated: _Way | None = None) -> _Way:
        """Ask botocore, unless another thread just has."""
        with self._way_lock:
            if self._way is not None and self._way is not outdated:
                return self._way
            source = self._open_source()
            if source.credentials is None:
                raise NoCredentialsError
            route = find_route(source.client, self._stream)
            source.client.close()
            self._way = _Way(
                source.credentials,
                _account_id(source.credentials.get_frozen_credentials()),
                route.signer,
                self._pool_for(address_of(route.url, source.ca_bundle)),
            )
            return self._way

    def _pool_for(self, address: Address) -> Pool:
        """Return the pool that there is, or a new one when the address has changed."""
        if self._pool is None or self._pool.connector.address != address:
            if self._pool is not None:
                self._pool.close()
            self._pool = Pool(Connector(address))
        return self._pool

    def _sets_clock(self, response: Response) -> bool:
        """Adopt the service's time when an answer says that ours is wrong. Returns whether so."""
        if not any(code in response.body for code in SKEWED):
            return False
        try:
            theirs_s = parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return False
        skew_s = theirs_s - time.time()
        if abs(skew_s - self._skew_s) <= MAX_CLOCK_SKEW_S:
            return False
        self._skew_s = skew_s
        return True


def _exchange(
    pool: Pool, connection: Connection, head: bytes, body: memoryview, timeout_s: float | None
) -> Response:
    try:
        response = connection.exchange(head, body, timeout_s)
    except BaseException:
        connection.close()
        raise
    pool.give_back(connection)
    return response


def _account_id(frozen: Any) -> str | None:
    """Of credentials; an old botocore does not know it."""
    account_id: str | None = getattr(frozen, "account_id", None)
    return account_id
