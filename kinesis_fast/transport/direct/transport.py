"""Sends finished bodies over its own connections; botocore gives the endpoint and credentials."""

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
from kinesis_fast.transport import JSON_TYPE, NotSentError, ResentResponse, Response
from kinesis_fast.transport.credentials import expiry_of
from kinesis_fast.transport.direct.connection import Connection, NoResponseError
from kinesis_fast.transport.direct.connector import Connector
from kinesis_fast.transport.direct.endpoint import NeedsBotocoreError, find_endpoint
from kinesis_fast.transport.direct.pool import Pool
from kinesis_fast.transport.direct.sigv4 import Keys, Signer
from kinesis_fast.transport.errors import (
    CLIENT_ERROR,
    MAX_LOOKED_AT,
    check_proxy,
    explain,
    explain_socket,
    is_outdated,
    is_source_outdated,
)
from kinesis_fast.transport.secrets import without_secrets

MAX_DATE: Final = 100  # characters of a header
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


class _SigningContext(NamedTuple):
    """What every request needs; valid until the credentials are replaced."""

    credentials: Any
    account_id: str | None  # of the credentials; it may be a part of the endpoint
    signer: Signer
    pool: Pool


class DirectTransport:
    """Sends bodies to one stream; see `kinesis_fast.transport.Transport`.

    Each request in flight has a connection. Connections are kept, and the one used last serves
    the next request. A forked child opens its own.

    Args:
        open_source: asks botocore. Called when first needed, and again after the credentials
            were missing or outdated.
        stream: name or ARN of the stream; botocore chooses the endpoint by it.
    """

    takes_cbor = True
    _pool: Pool | None
    _context: _SigningContext | None

    def __init__(self, open_source: Callable[[], Source], stream: str) -> None:
        self._open_source = open_source
        self._stream = stream
        self._skew_s = 0.0  # how far the service's clock is ahead of ours
        self._is_closed = False
        self._start_anew()

    def send(
        self,
        body: memoryview,
        n_records: int,
        timeout_s: float | None,
        content_type: str = JSON_TYPE,
    ) -> Response:
        """Post one body; see `kinesis_fast.transport.CborTransport` and, for the bounds, limits.py.

        If a kept connection turns out to be closed before a byte of response, the request is sent
        once more at once. It may have arrived before: delivery is at least once.
        """
        if self._pid != os.getpid():
            self._start_anew()
        digest = sha256(body).hexdigest()
        response, n_sent = self._post(body, digest, timeout_s, content_type)
        if response.status >= CLIENT_ERROR:
            check_proxy(response)
            if self._adopt_clock(response):
                response, n_sent = self._post(body, digest, timeout_s, content_type, n_sent)
            if is_outdated(response):
                self._context = None
        response = without_secrets(response)
        if n_sent > 1:
            response = ResentResponse(*response)
            response.times = n_sent
        return response

    @property
    def credentials_expire_at(self) -> float | None:
        """When the credentials expire, seconds since 1970; None if never, or not known yet."""
        context = self._context
        return None if context is None else expiry_of(context.credentials)

    def close(self) -> None:
        """Close the idle connections now, and those in use or opened later after their response."""
        self._is_closed = True
        if self._pool is not None and self._pid == os.getpid():
            self._pool.close()

    def reconnect(self) -> None:
        """Send no further request over the connections of now; see `kinesis_fast.transport`."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.renew()

    def _start_anew(self) -> None:
        """Begin without connections; those of a parent process are left alone."""
        self._pid = os.getpid()
        self._pool = None
        self._context = None
        self._context_lock = threading.Lock()

    def _post(
        self,
        body: memoryview,
        digest: str,
        timeout_s: float | None,
        content_type: str,
        n_sent: int = 0,
    ) -> tuple[Response, int]:
        """Send it. Returns how often it has gone out now; n_sent is how often it had before."""
        try:
            context, keys = self._context_and_keys()
            at_s = time.time() + self._skew_s
            head = context.signer.head(keys, at_s, digest, len(body), content_type)
        except TransportError as error:
            error.n_sent += n_sent
            raise
        pool = context.pool
        try:
            kept = pool.acquire()
            if kept is not None:
                n_sent += 1
                try:
                    return _exchange(pool, kept, head, body, timeout_s), n_sent
                except NoResponseError:  # it was closed at this very moment
                    pass
            fresh = pool.connector.open(timeout_s)
            n_sent += 1
            return _exchange(pool, fresh, head, body, timeout_s), n_sent
        except TransportError as error:
            error.n_sent = max(1, n_sent)
            raise
        except OSError as error:
            explained = explain_socket(error, pool.connector.address)
            explained.n_sent = max(1, n_sent)
            raise explained from error

    def _context_and_keys(self) -> tuple[_SigningContext, Keys]:
        try:
            context = self._context or self._find_context()
            frozen = context.credentials.get_frozen_credentials()
            if getattr(frozen, "account_id", None) != context.account_id:
                context = self._find_context(outdated=context)
                frozen = context.credentials.get_frozen_credentials()
        except TransportError:
            raise
        except NeedsBotocoreError as error:
            raise NotSentError(f"{error}; set the option transport to botocore") from error
        except Exception as error:
            if is_source_outdated(error):
                self._context = None
            raise explain(error) from error
        return context, Keys(frozen.access_key, frozen.secret_key, frozen.token)

    def _find_context(self, outdated: _SigningContext | None = None) -> _SigningContext:
        """Ask botocore, unless another thread has just done so."""
        with self._context_lock:
            if self._context is not None and self._context is not outdated:
                return self._context
            source = self._open_source()
            if source.credentials is None:
                raise NoCredentialsError
            endpoint = find_endpoint(source.client, self._stream)
            source.client.close()
            self._context = _SigningContext(
                source.credentials,
                # An old botocore does not know the account of credentials.
                getattr(source.credentials.get_frozen_credentials(), "account_id", None),
                endpoint.signer,
                self._pool_for(endpoint.url, source.ca_bundle),
            )
            return self._context

    def _pool_for(self, url: str, ca_bundle: str) -> Pool:
        """Return the current pool, or a new one if the target has changed."""
        if self._pool is None or self._pool.connector.target != (url, ca_bundle):
            if self._pool is not None:
                self._pool.close()
            self._pool = Pool(Connector(url, ca_bundle))
        if self._is_closed:  # perhaps while botocore was asked
            self._pool.close()
        return self._pool

    def _adopt_clock(self, response: Response) -> bool:
        """Adopt the service's time if a response says that ours is wrong. Returns whether so."""
        if not any(code in response.body[:MAX_LOOKED_AT] for code in SKEWED):
            return False
        try:
            date = response.headers["date"][:MAX_DATE]
            theirs_s = parsedate_to_datetime(date).timestamp()
        except (KeyError, ValueError, OverflowError):
            return False
        skew_s = theirs_s - time.time()
        if abs(skew_s - self._skew_s) <= MAX_CLOCK_SKEW_S:
            return False
        self._skew_s = skew_s
        return True


def _exchange(
    pool: Pool, connection: Connection, head: bytes, body: memoryview, timeout_s: float | None
) -> Response:
    generation = pool.generation
    try:
        response = connection.exchange(head, body, timeout_s)
    except BaseException:
        connection.close()
        raise
    pool.release(connection, generation)
    return response
