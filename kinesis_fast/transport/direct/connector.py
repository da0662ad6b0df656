"""Opens connections to one host: name look-up, time-outs, TLS."""

import codecs
import functools
import socket
import ssl
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kinesis_fast.errors import TransportError
from kinesis_fast.limits import KIB
from kinesis_fast.transport.direct.channel import socket_timeout
from kinesis_fast.transport.direct.connection import Connection
from kinesis_fast.transport.direct.plain import PlainChannel
from kinesis_fast.transport.direct.sigv4 import DEFAULT_PORTS, host_header
from kinesis_fast.transport.direct.tls import TlsChannel
from kinesis_fast.transport.secrets import presentable

TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; Python 3.11 has no name for it
# What the kernel buffers beyond what is on the network: so the waits show the network's state.
MAX_UNSENT_BYTES: Final = 512 * KIB
SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES),
)
# Python 3.13 sets these by default, botocore does not. Both transports have to trust the same.
STRICTER_THAN_BOTOCORE: Final = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN

# getaddrinfo() imports it at its first call. A fork in the middle of that import would leave the
# child waiting for the import lock for ever.
codecs.lookup("idna")


class Connector:
    """Opens connections to the host of a URL. Several threads may use it at once.

    Args:
        url: http or https; the path plays no part.
        ca_bundle: path of the certificates to trust, a file or a directory; for https.

    Attributes:
        target: url and ca_bundle.
        address: the peer for errors, without user-info.
    """

    def __init__(self, url: str, ca_bundle: str) -> None:
        self.target = (url, ca_bundle)
        parts = urlsplit(url)
        self.address = f"{parts.scheme}://{host_header(url)}"
        self._host = parts.hostname or ""
        self._port = parts.port or DEFAULT_PORTS[parts.scheme]
        self._ca_bundle = ca_bundle if parts.scheme == "https" else None
        self._session: tuple[ssl.SSLContext, ssl.SSLSession] | None = None

    def open(self, timeout_s: float | None) -> Connection:
        """Connect.

        Args:
            timeout_s: seconds for all of it but the name look-up, which the system's resolver
                bounds; None for no bound.

        Raises:
            OSError: no connection in time, or the peer's certificate is rejected.
            TransportError: the CA bundle cannot be used.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        sock = self._connect(deadline_s)
        try:
            for option in SOCKET_OPTIONS:
                sock.setsockopt(*option)
            if self._ca_bundle is None:
                return Connection(PlainChannel(sock), self.address)
            context = _context(self._ca_bundle)
            known_to, session = self._session or (None, None)
            session = session if known_to is context else None
            channel = TlsChannel(sock, context, self._host, session, deadline_s)
            return Connection(channel, self.address)
        except BaseException:
            sock.close()
            raise

    def remember(self, connection: Connection) -> None:
        """Keep the TLS session of a connection that has had a response, for later handshakes."""
        self._session = connection.tls_session() or self._session

    def _connect(self, deadline_s: float | None) -> socket.socket:
        """Try the addresses of the host in turn, each with its share of the time that is left."""
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for index, (family, kind, protocol, _, address) in enumerate(found):
            n_left = len(found) - index
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(socket_timeout(deadline_s, n_left))
                sock.connect(address)
                return sock
            except BaseException as error:
                sock.close()
                if n_left == 1 or not isinstance(error, OSError):
                    raise
        raise OSError(f"the host {self._host} has no address")


def _context(ca_bundle: str) -> ssl.SSLContext:
    try:
        return _context_of(ca_bundle, Path(ca_bundle).stat().st_mtime_ns)
    except OSError as error:
        raise TransportError(
            f"the CA bundle {ca_bundle} cannot be used: {presentable(error)}; check AWS_CA_BUNDLE "
            "and ca_bundle"
        ) from error


# Shared by all outputs: a context holds more than a hundred parsed certificates.
@functools.lru_cache(maxsize=4)
def _context_of(ca_bundle: str, _changed_ns: int) -> ssl.SSLContext:
    is_directory = Path(ca_bundle).is_dir()
    context = ssl.create_default_context(
        cafile=None if is_directory else ca_bundle, capath=ca_bundle if is_directory else None
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= ~STRICTER_THAN_BOTOCORE
    context.set_alpn_protocols(["http/1.1"])
    return context
