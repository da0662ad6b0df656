"""What a process needs to talk to a sink on loopback, and to nobody else."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from unittest import mock

from counting_sink import Certificate

FOREIGN_VARIABLES = ("AWS_", "EKS_POD_EXECUTION_ROLE", "SEND_FAILURE_TIMEOUT")
LOOPBACK_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


def environment(tls: Certificate | None) -> Mapping[str, str]:
    """This environment without the account, the proxy and the configuration of this machine.

    tls: the certificate to trust, None where there is none.
    """
    kept = {name: v for name, v in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)}
    trust = {"AWS_CA_BUNDLE": str(tls.certificate)} if tls else {}
    return kept | LOOPBACK_VARIABLES | trust


@contextlib.contextmanager
def applied(tls: Certificate | None) -> Iterator[None]:
    """Use environment() for this process as long as the `with` block runs."""
    with mock.patch.dict(os.environ, environment(tls), clear=True):
        yield
