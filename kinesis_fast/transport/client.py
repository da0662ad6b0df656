"""The client for Kinesis: region, endpoint, profile, roles, time-outs.

It is the client that boto3 hands out, made by botocore itself: boto3's own parts (resources, S3
transfers) are of no use here and would cost memory on every host.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from json import JSONDecodeError
from typing import Any, Final

import botocore
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import ConfigParseError, ProfileNotFound
from botocore.httpsession import get_cert_path

from kinesis_fast import logs
from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import ConfigError
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.direct import response
from kinesis_fast.transport.direct.endpoint import OddRequestError, check_signature, why_not
from kinesis_fast.transport.direct.sigv4 import Keys
from kinesis_fast.transport.direct.transport import DirectTransport, Source
from kinesis_fast.transport.errors import NO_CREDENTIALS
from kinesis_fast.version import VERSION

EKS_ROLE_VARIABLE = "EKS_POD_EXECUTION_ROLE"
# What botocore reads from its data files, by where they are; several MiB that all outputs share.
_MODELS: dict[str | None, Any] = {}
ROLE_SESSION_NAME = "kinesis-fast"
# Threads that may send at once without opening a connection per request; a free slot costs nothing.
POOL_CONNECTIONS = 64
# For a client that is made to see what botocore would do; nothing is sent with them.
PROBE_KEYS: Final = Keys("PROBE", "none", "none")


def open_transport(
    config: OutputConfig, log: logs.Log = logs.LOGGER
) -> DirectTransport | BotocoreTransport:
    """Make the transport that a configuration asks for.

    Args:
        config: region, stream, endpoint, profile, role, time-out and transport are read.
        log: hears why requests are left to botocore.

    Raises:
        ConfigError: the profile does not exist, or botocore refuses its files, region or endpoint,
            or `transport` is direct and something asks for botocore.
    """
    if config.transport != "botocore":
        reason = _why_not_direct(config)
        if reason is None:
            return DirectTransport(partial(_open_source, config), config.stream)
        if config.transport == "direct":
            raise ConfigError(
                f"option transport is 'direct', but {reason}; allowed is auto or botocore here"
            )
        log.info("requests are sent by botocore: %s", reason)
    return BotocoreTransport(partial(make_client, config), config.stream)


def _why_not_direct(config: OutputConfig) -> str | None:
    """Return what asks for botocore, None if nothing does; made-up credentials find it out."""
    if response.MISSING is not None:
        return response.MISSING
    try:
        with _refusals_explained(config):
            client = _create_client(open_session(config), config, PROBE_KEYS)
        with closing(client):
            reason = why_not(client)
            if reason is None:
                check_signature(client, config.stream, PROBE_KEYS)
            return reason
    except OddRequestError as error:
        return str(error)
    except NO_CREDENTIALS:
        # No client, or no endpoint: each request will say so, as those of botocore would.
        return None


def _open_source(config: OutputConfig) -> Source:
    """Make what a DirectTransport asks; raises what `make_client` and `find_route` do."""
    session = open_session(config)
    with _refusals_explained(config):
        client = _create_client(session, config)
        reason = why_not(client)
        if reason is not None:
            raise OddRequestError(reason)
        return Source(client, session.get_credentials(), _ca_bundle(session))


def _ca_bundle(session: botocore.session.Session) -> str:
    """The file that botocore trusts; it knows a way to trust everybody, which is not taken."""
    configured = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(configured or get_cert_path(True))


def make_client(config: OutputConfig) -> Any:
    """Make a client for Kinesis without SDK retries and without parameter validation.

    Args:
        config: as for `open_transport`.

    Raises:
        ConfigError: as for `open_transport`.
        BotoCoreError, OSError, JSONDecodeError: the source of the credentials fails.
    """
    with _refusals_explained(config):
        return _create_client(open_session(config), config)


def _create_client(
    session: botocore.session.Session, config: OutputConfig, keys: Keys | None = None
) -> Any:
    """Make a client with the session's credentials, or with others."""
    return session.create_client(
        "kinesis",
        region_name=config.region,
        endpoint_url=config.endpoint,
        config=_client_config(config),
        aws_access_key_id=keys.access_key if keys else None,
        aws_secret_access_key=keys.secret_key if keys else None,
        aws_session_token=keys.token if keys else None,
    )


@contextmanager
def _refusals_explained(config: OutputConfig) -> Iterator[None]:
    """Make a ConfigError of what botocore has against a configuration."""
    try:
        yield
    except ProfileNotFound as error:
        known = ", ".join(botocore.session.Session().available_profiles) or "none"
        source = "option profile" if config.profile else "environment variable AWS_PROFILE"
        raise ConfigError(f"{source}: {error}; known profiles: {known}") from error
    except JSONDecodeError:
        raise
    except (ConfigParseError, ValueError) as error:
        raise ConfigError(f"the client for Kinesis cannot be made: {error}") from error


def _client_config(config: OutputConfig) -> Config:
    timeout_s = config.http_request_timeout or None
    return Config(
        connect_timeout=timeout_s,
        read_timeout=timeout_s,
        max_pool_connections=POOL_CONNECTIONS,
        parameter_validation=False,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # A fixed text: botocore would put its own together anew, twice for each request.
        user_agent=f"kinesis-fast/{VERSION} Botocore/{botocore.__version__}",
    )


def open_session(config: OutputConfig) -> botocore.session.Session:
    """Return the session of the default chain, or of the last in a chain of roles from there."""
    session = _new_session(config)
    eks_role = os.environ.get(EKS_ROLE_VARIABLE)
    if eks_role:
        session = _assuming(session, config, {"RoleArn": eks_role})
    if config.role_arn:
        external = {"ExternalId": config.external_id} if config.external_id else {}
        session = _assuming(session, config, {"RoleArn": config.role_arn, **external})
    return session


def _new_session(config: OutputConfig) -> botocore.session.Session:
    session = botocore.session.Session(profile=config.profile)
    path = session.get_config_variable("data_path")
    models = _MODELS.setdefault(path, session.get_component("data_loader"))
    session.register_component("data_loader", models)
    return session


def _assuming(
    source: botocore.session.Session, config: OutputConfig, role: dict[str, str]
) -> botocore.session.Session:
    session = _new_session(config)
    resolver = CredentialResolver([_RoleProvider(source, config, role)])
    session.register_component("credential_provider", resolver)
    return session


class _RoleProvider:
    """What botocore asks for credentials: those of a role, renewed before they expire."""

    METHOD = "assume-role-option"

    def __init__(
        self, source: botocore.session.Session, config: OutputConfig, role: dict[str, str]
    ) -> None:
        self._source = source
        self._config = config
        self._role = role

    def load(self) -> DeferredRefreshableCredentials | None:
        """Credentials that ask STS when they are first needed, None when the source has none."""
        credentials = self._source.get_credentials()
        if credentials is None:
            return None
        fetcher = AssumeRoleCredentialFetcher(
            self._create_client,
            credentials,
            self._role["RoleArn"],
            extra_args={**self._role, "RoleSessionName": ROLE_SESSION_NAME},
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)

    def _create_client(self, service: str, **credentials: str) -> Any:
        return self._source.create_client(
            service,
            region_name=self._config.region,
            endpoint_url=self._config.sts_endpoint,
            config=_client_config(self._config),
            **credentials,
        )
