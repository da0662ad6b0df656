"""Opens connections to one host: names, time-outs, TLS."""

import codecs
import functools
import socket
import ssl
import time
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kinesis_fast.errors import TransportError
from kinesis_fast.limits import KIB
from kinesis_fast.transport.direct.channel import Channel, PlainChannel
from kinesis_fast.transport.direct.connection import Connection
from kinesis_fast.transport.direct.sigv4 import DEFAULT_PORTS
from kinesis_fast.transport.direct.tls import TlsChannel
from kinesis_fast.transport.errors import explain_socket

TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; Python 3.11 has no name for it
# What the kernel takes beyond what the network does: so the waits for it tell how the network is.
MAX_UNSENT_BYTES: Final = 512 * KIB
# Python 3.13 sets these two by default, botocore does not: what one trusts the other does as well.
NOT_BOTOCORES: Final = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN

# getaddrinfo() imports it at its first call; a fork in the middle of that would leave the child
# waiting for the import for ever.
codecs.lookup("idna")


class Address(NamedTuple):
    """The other side, and whom to trust there."""

    scheme: str
    host: str
    port: int
    ca_bundle: str  # path of a file with the certificates to trust; for https


class Connector:
    """Opens connections to one address; may be used by several threads at once.

    Attributes:
        address: the other side.
        text: the same for errors, without secrets.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.text = f"{address.scheme}://{host}:{address.port}"
        self._session: tuple[ssl.SSLContext, ssl.SSLSession] | None = None

    def open(self, timeout_s: float | None) -> Connection:
        """Connect.

        Args:
            timeout_s: seconds that all of it may take but for the look-up of the name, which the
                system's resolver bounds; None for no bound.

        Raises:
            TransportError: nobody answers in time, or it is somebody who is not to be trusted.
        """
        try:
            return Connection(self._connected(timeout_s), self.text)
        except OSError as error:
            raise explain_socket(error, self.text) from error

    def _connected(self, timeout_s: float | None) -> Channel:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        sock = self._dialled(deadline_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
            if self.address.scheme != "https":
                return PlainChannel(sock)
            return self._secured(sock, deadline_s)
        except BaseException:
            sock.close()
            raise

    def _dialled(self, deadline_s: float | None) -> socket.socket:
        """Try the addresses of the host in turn, each with its share of the time that is left."""
        found = socket.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        for index, (family, kind, protocol, _, where) in enumerate(found):
            n_left = len(found) - index
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_share(deadline_s, n_left))
                sock.connect(where)
            except OSError:
                sock.close()
                if n_left == 1:
                    raise
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise OSError(f"the host {self.address.host} has no address")

    def remember(self, connection: Connection) -> None:
        """Keep the TLS session of a connection that has had an answer, for the next handshake."""
        self._session = connection.tls_session() or self._session

    def _secured(self, sock: socket.socket, deadline_s: float | None) -> TlsChannel:
        context = _context(self.address.ca_bundle)
        known_to, session = self._session or (None, None)
        return TlsChannel(
            sock,
            context,
            self.address.host,
            session if known_to is context else None,
            deadline_s,
        )


def _context(ca_bundle: str) -> ssl.SSLContext:
    try:
        return _context_of(ca_bundle, Path(ca_bundle).stat().st_mtime_ns)
    except OSError as error:
        raise TransportError(
            f"the CA bundle {ca_bundle} is of no use: {error}; check AWS_CA_BUNDLE and ca_bundle"
        ) from error


# Shared by all outputs: a context holds more than a hundred parsed certificates.
@functools.lru_cache(maxsize=4)
def _context_of(ca_bundle: str, _changed_ns: int) -> ssl.SSLContext:
    is_directory = Path(ca_bundle).is_dir()
    context = ssl.create_default_context(
        cafile=None if is_directory else ca_bundle, capath=ca_bundle if is_directory else None
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~NOT_BOTOCORES
    context.set_alpn_protocols(["http/1.1"])
    return context


def address_of(url: str, ca_bundle: str) -> Address:
    """Return whom a URL, http or https, stands for."""
    parts = urlsplit(url)
    return Address(
        parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], ca_bundle
    )


def _share(deadline_s: float | None, n: int) -> float | None:
    """Return an n-th of the time that is left, which is never nothing: 0 would not wait at all."""
    return None if deadline_s is None else max(0.001, (deadline_s - time.monotonic()) / n)
