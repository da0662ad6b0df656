"""The environment of a process that talks to a sink on loopback and to no other host."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

import counting_sink
from counting_sink import Certificate

from kinesis_fast.local.kinesis import LocalKinesis


def environment(tls: Certificate | None) -> Mapping[str, str]:
    """This environment without the AWS account, the proxy and SEND_FAILURE_TIMEOUT.

    tls: the certificate to trust, None for plain HTTP.
    """
    environ = LocalKinesis.environment()
    environ.pop("SEND_FAILURE_TIMEOUT", None)
    return environ | ({"AWS_CA_BUNDLE": str(tls.certificate)} if tls else {})


@contextlib.contextmanager
def applied() -> Iterator[list[Certificate | None]]:
    """Use environment() for this process within the `with` block.

    Yields what sinks can serve: None for plain HTTP and, where HTTPS is possible, a certificate.
    """
    with tempfile.TemporaryDirectory() as directory:
        certificates: list[Certificate | None] = [None]
        if counting_sink.tls_obstacle() is None:
            certificates.append(counting_sink.make_certificate(Path(directory)))
        with mock.patch.dict(os.environ, environment(certificates[-1]), clear=True):
            yield certificates
