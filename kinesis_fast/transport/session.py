"""The client for Kinesis: region, endpoint, profile, roles, time-outs.

It is the client that boto3 hands out, made by botocore itself: boto3's own parts (resources, S3
transfers) are of no use here and would cost memory on every host.
"""

import os
from functools import partial
from json import JSONDecodeError
from typing import Any

import botocore
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import ConfigParseError, ProfileNotFound

from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import ConfigError
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.version import VERSION

EKS_ROLE_VARIABLE = "EKS_POD_EXECUTION_ROLE"
# What botocore reads from its data files, by where they are; several MiB that all outputs share.
_MODELS: dict[str | None, Any] = {}
ROLE_SESSION_NAME = "kinesis-fast"
# Threads that may send at once without opening a connection per request; a free slot costs nothing.
POOL_CONNECTIONS = 64


def open_transport(config: OutputConfig) -> BotocoreTransport:
    """Make the transport that a configuration asks for.

    Args:
        config: region, stream, endpoint, profile, role and time-out are read.

    Raises:
        ConfigError: the profile does not exist, or botocore refuses its files, region or endpoint.
    """
    return BotocoreTransport(partial(make_client, config), config.stream)


def make_client(config: OutputConfig) -> Any:
    """Make a client for Kinesis without SDK retries and without parameter validation.

    Args:
        config: as for `open_transport`.

    Raises:
        ConfigError: as for `open_transport`.
        BotoCoreError, OSError, JSONDecodeError: the source of the credentials fails.
    """
    try:
        return open_session(config).create_client(
            "kinesis",
            region_name=config.region,
            endpoint_url=config.endpoint,
            config=_client_config(config),
        )
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
