"""Which certificates the transports trust, and which hosts a proxy of the environment is not for.

Both follow botocore where it is strict, and the Go plugin where a template or a host of it would
otherwise not work.
"""

import contextlib
import os
import tempfile
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

PEM_MARK: Final = b"-----BEGIN "
# The files of the system's store, as distributions name them. Go's crypto/x509 has the same list.
SYSTEM_STORES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, NixOS
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat 6, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Red Hat
    "/etc/ssl/cert.pem",
)


def ca_bundle(session: Any) -> str:
    """Return the path of a file with the certificates to trust.

    AWS_CA_BUNDLE comes first, then ca_bundle of the profile, REQUESTS_CA_BUNDLE, what SSL_CERT_FILE
    and SSL_CERT_DIR name, and the system's store; where there is none, botocore's default, which is
    certifi's file or its own. A variable that is empty is not set: botocore would trust any peer.

    Args:
        session: botocore's.
    """
    environ = os.environ
    configured = (
        environ.get("AWS_CA_BUNDLE")
        or session.get_config_variable("ca_bundle")
        or session.get_scoped_config().get("ca_bundle")
        or environ.get("REQUESTS_CA_BUNDLE")
    )
    if configured:
        return _one_file((str(configured),))
    named = (environ.get("SSL_CERT_FILE"), *environ.get("SSL_CERT_DIR", "").split(os.pathsep))
    found = tuple(path for path in named if path and Path(path).exists())
    return _one_file(found) if found else _system_store() or str(get_cert_path(True))


def is_in_no_proxy(url: str) -> bool:
    """Tell whether NO_PROXY has a network with the host of a URL; botocore knows names only."""
    try:
        address = ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
        with contextlib.suppress(ValueError):
            if "/" in entry and address in ip_network(entry.strip(), strict=False):
                return True
    return False


def _system_store() -> str | None:
    """Return the first file of the system's store that has certificates, None if there is none."""
    for path in SYSTEM_STORES:
        with contextlib.suppress(OSError):
            if PEM_MARK in Path(path).read_bytes():
                return path
    return None


def _one_file(paths: tuple[str, ...]) -> str:
    """Return a file with all certificates of files and directories; a lone file is that file."""
    if len(paths) == 1 and not Path(paths[0]).is_dir():
        return paths[0]
    file = _merged(paths, tuple(Path(path).stat().st_mtime_ns for path in paths))
    return paths[0] if file is None else f"/proc/self/fd/{file}"


# The file has no name; it lives as long as the process, because contexts read it again.
@cache
def _merged(paths: tuple[str, ...], _changed_ns: tuple[int, ...]) -> int | None:
    files: dict[Path, None] = {}  # a directory for OpenSSL has a link to each file, too
    for path in map(Path, paths):
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        files.update(dict.fromkeys(entry.resolve() for entry in found))
    certificates = []
    for path in files:
        with contextlib.suppress(OSError):
            if path.is_file():  # to open a named pipe would wait for a writer
                certificates.append(path.read_bytes())
    certificates = [content for content in certificates if PEM_MARK in content]
    if not certificates:
        return None
    with tempfile.TemporaryFile(prefix="kinesis-fast-") as merged:
        merged.write(b"\n".join(certificates))
        merged.flush()
        return os.dup(merged.fileno())
