"""Makes the transport and the client for Kinesis: region, endpoint, profile, roles, time-outs.

The client is made with botocore, not boto3: boto3's own parts (resources, S3 transfers) are not
needed here and would cost memory on every host.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from json import JSONDecodeError
from typing import Any, Final, NamedTuple

import botocore
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialResolver,
    DeferredRefreshableCredentials,
    create_credential_resolver,
)
from botocore.exceptions import ConfigParseError, ProfileNotFound
from botocore.httpsession import URLLib3Session

from kinesis_fast import logs
from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import ConfigError
from kinesis_fast.transport import secrets
from kinesis_fast.transport.botocore_client import BotocoreTransport
from kinesis_fast.transport.botocore_session import session as sessions
from kinesis_fast.transport.credentials import LateCredentials, ThriftyResolver
from kinesis_fast.transport.direct import response
from kinesis_fast.transport.direct.endpoint import (
    NeedsBotocoreError,
    check_settings,
    check_signature,
)
from kinesis_fast.transport.direct.sigv4 import Keys
from kinesis_fast.transport.direct.transport import DirectTransport, Source
from kinesis_fast.transport.errors import NO_CREDENTIALS
from kinesis_fast.transport.models import LeanLoader, new_session
from kinesis_fast.transport.trust import ca_bundle, is_in_no_proxy
from kinesis_fast.version import VERSION

EKS_ROLE_VARIABLE = "EKS_POD_EXECUTION_ROLE"
# Loaders of botocore's data files, by directory; all outputs share what they have loaded.
_MODELS: dict[str | None, Any] = {}
ROLE_SESSION_NAME = "kinesis-fast"
# How many connections botocore keeps; a free slot costs nothing.
POOL_CONNECTIONS = 64
# For a client that only shows what botocore would do; nothing is sent with them.
PROBE_KEYS: Final = Keys("PROBE", "none", "none")


def open_transport(
    config: OutputConfig, log: logs.Log = logs.LOGGER
) -> DirectTransport | BotocoreTransport:
    """Make the transport that a configuration asks for.

    Args:
        config: region, stream, endpoint, profile, role, time-out and transport are read.
        log: gets the reason if `transport` is auto and botocore is needed; a warning if that is
            because a package is missing.

    Raises:
        ConfigError: the profile does not exist, or botocore rejects its files, region or endpoint,
            or `transport` is direct and botocore is needed.
    """
    if config.transport == "botocore":
        return BotocoreTransport(partial(make_client, config), config.stream)
    sources = _Sources(config)
    reason = sources.why_not_direct()
    if reason is None:
        return DirectTransport(sources.open, config.stream)
    if config.transport == "direct":
        raise ConfigError(f"option transport is 'direct', but {reason}; set it to auto or botocore")
    log.log(
        logging.INFO if response.MISSING is None else logging.WARNING,
        "using the transport botocore: %s",
        reason,
    )
    return BotocoreTransport(partial(make_client, config), config.stream)


class _Probe(NamedTuple):
    """A client that has shown what botocore does, and whose credentials can be replaced."""

    client: Any
    credentials: LateCredentials


class _Sources:
    """Asks botocore for a DirectTransport.

    Making a client is what costs most. So the one that shows, with made-up keys, whether the direct
    transport can be used shows the first endpoint as well, with real credentials. Those are looked
    up by a session of their own, when they are needed.
    """

    _probe: _Probe | None = None

    def __init__(self, config: OutputConfig) -> None:
        self._config = config

    def why_not_direct(self) -> str | None:
        """Return why botocore is needed, None if it is not."""
        if response.MISSING is not None:
            return response.MISSING
        try:
            probe = self._new_probe()
            try:
                check_settings(probe.client)
                check_signature(probe.client, self._config.stream, PROBE_KEYS)
            except BaseException:
                probe.client.close()
                raise
            self._probe = probe
        except NeedsBotocoreError as error:
            return str(error)
        except NO_CREDENTIALS:
            pass  # no client or no endpoint: each request will report it, with either transport
        return None

    def open(self) -> Source:
        """Find credentials; raises what `make_client` and `check_settings` raise."""
        config, probe = self._config, self._probe
        session = open_session(config)
        with _as_config_error(config):
            credentials = session.get_credentials()
            if probe is None:
                client = _create_client(session, config)
            else:
                client = probe.client
                if credentials is not None:
                    probe.credentials.become(credentials)
                    self._probe = None
            check_settings(client)
            return Source(client, credentials, session.get_config_variable("ca_bundle"))

    def _new_probe(self) -> _Probe:
        credentials = LateCredentials(
            PROBE_KEYS.access_key, PROBE_KEYS.secret_key, PROBE_KEYS.token
        )
        with _as_config_error(self._config):
            session = open_session(self._config)
            session.register_component("credential_provider", credentials)
            return _Probe(_create_client(session, self._config), credentials)


def make_client(config: OutputConfig) -> Any:
    """Make a client for Kinesis without SDK retries and without parameter validation.

    Args:
        config: as for `open_transport`.

    Raises:
        ConfigError: as for `open_transport`.
        BotoCoreError, OSError, JSONDecodeError: the source of the credentials fails.
    """
    with _as_config_error(config):
        return _create_client(open_session(config), config)


def _create_client(session: Any, config: OutputConfig) -> Any:
    return _client_of(session, "kinesis", config, endpoint_url=config.endpoint)


def _client_of(session: Any, service: str, config: OutputConfig, **arguments: Any) -> Any:
    """Make a client; without the proxy of the environment if NO_PROXY has the endpoint's network.

    botocore finds the endpoint while it makes the client, so a second one may be needed.
    """
    settings = _client_config(config)
    client = session.create_client(service, region_name=config.region, config=settings, **arguments)
    if client.meta.config.proxies is None and is_in_no_proxy(client.meta.endpoint_url):
        client.close()
        settings = settings.merge(Config(proxies={}))
        client = session.create_client(
            service, region_name=config.region, config=settings, **arguments
        )
    return client


@contextmanager
def _as_config_error(config: OutputConfig) -> Iterator[None]:
    """Turn botocore's objections to a configuration into a ConfigError."""
    try:
        yield
    except ProfileNotFound as error:
        known = ", ".join(sessions.Session().available_profiles) or "none"
        source = "option profile" if config.profile else "environment variable AWS_PROFILE"
        raise ConfigError(f"{source}: {error}; known profiles: {known}") from error
    except JSONDecodeError:
        raise
    except (ConfigParseError, ValueError) as error:
        raise ConfigError(
            f"the client for Kinesis cannot be made: {secrets.presentable(error)}"
        ) from error


def _client_config(config: OutputConfig) -> Config:
    timeout_s = config.http_request_timeout or None
    return Config(
        connect_timeout=timeout_s,
        read_timeout=timeout_s,
        max_pool_connections=POOL_CONNECTIONS,
        parameter_validation=False,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # A fixed text: botocore would build its own twice for each request.
        user_agent=f"kinesis-fast/{VERSION} Botocore/{botocore.__version__}",
    )


def open_session(config: OutputConfig) -> Any:
    """Return the default session, or that of the last role in the chain that starts there."""
    secrets.learn(config.external_id)
    secrets.learn_urls(config.endpoint, config.sts_endpoint)
    secrets.learn_environment()
    session = _new_session(config)
    eks_role = os.environ.get(EKS_ROLE_VARIABLE)
    if eks_role:
        session = _assuming(session, config, {"RoleArn": eks_role})
    if config.role_arn:
        external = {"ExternalId": config.external_id} if config.external_id else {}
        session = _assuming(session, config, {"RoleArn": config.role_arn, **external})
    return session


def _new_session(config: OutputConfig) -> Any:
    session = new_session(config.profile)
    path = session.get_config_variable("data_path")
    if path not in _MODELS:
        _MODELS[path] = LeanLoader(session.get_component("data_loader").search_paths)
    session.register_component("data_loader", _MODELS[path])
    session.lazy_register_component("credential_provider", partial(_resolver, session, config))
    session.set_config_variable("ca_bundle", ca_bundle(session))
    return session


def _resolver(session: Any, config: OutputConfig) -> ThriftyResolver:
    """Return botocore's own sources of credentials."""
    resolver = create_credential_resolver(session, region_name=config.region)
    for provider in resolver.providers:
        fetcher = getattr(provider, "_role_fetcher", None)  # of the instance metadata service
        if fetcher is not None and is_in_no_proxy(fetcher.get_base_url()):
            fetcher._session = URLLib3Session(timeout=fetcher._timeout)
    return ThriftyResolver(resolver)


def _assuming(source: Any, config: OutputConfig, role: dict[str, str]) -> Any:
    session = _new_session(config)
    resolver = ThriftyResolver(CredentialResolver([_RoleProvider(source, config, role)]))
    session.register_component("credential_provider", resolver)
    return session


class _RoleProvider:
    """Provides botocore with the credentials of a role, renewed before they expire."""

    METHOD = "assume-role-option"

    def __init__(self, source: Any, config: OutputConfig, role: dict[str, str]) -> None:
        self._source = source
        self._config = config
        self._role = role

    def load(self) -> DeferredRefreshableCredentials | None:
        """Return credentials that call STS when first needed, None if the source has none."""
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
        return _client_of(
            self._source,
            service,
            self._config,
            endpoint_url=self._config.sts_endpoint,
            **credentials,
        )
