"""The errors that both transports raise when there is no response, with advice on what to do."""

import ssl
from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    MissingDependencyException,
    NoCredentialsError,
    ProxyConnectionError,
    SSLError,
)

from kinesis_fast.errors import TransportError
from kinesis_fast.transport import NotSentError, Response
from kinesis_fast.transport.secrets import presentable

TOO_MANY_REQUESTS = 429
CLIENT_ERROR = 400
SERVER_ERROR = 500
PROXY_AUTHENTICATION_REQUIRED = 407
MAX_LOOKED_AT: Final = 4096  # bytes of an error response; its code stands at the beginning
# Codes of Kinesis and STS that reject the credentials themselves.
OUTDATED: Final = (
    *(b"ExpiredToken", b"InvalidClientTokenId", b"UnrecognizedClient", b"InvalidAccessKeyId"),
    *(b"InvalidSignature", b"SignatureDoesNotMatch"),
)
CHECK_NETWORK: Final = "check the network, the proxy, region and endpoint"
CHECK_TLS: Final = "check endpoint and AWS_CA_BUNDLE"
SOURCE_NETWORK: Final = (
    "this host gives the credentials: check the network, the proxy and sts_endpoint"
)
SOURCE_TLS: Final = "this host gives the credentials: check AWS_CA_BUNDLE and sts_endpoint"
SOURCE_OUTDATED: Final = (
    "the source credentials, with which the role is assumed, have expired or were replaced: renew "
    "them; they are read again at the next attempt"
)
PROXY_PASSWORD: Final = (
    "the proxy requires a user and a password: put them into HTTPS_PROXY or HTTP_PROXY as "
    "http://USER:PASSWORD@HOST:PORT, percent-encoded"
)
CHECK_PROXY: Final = "check the proxy in HTTPS_PROXY and HTTP_PROXY, or set NO_PROXY"
TUNNEL_REFUSED: Final = "Tunnel connection failed: "  # of http.client
# The first match counts: botocore's exception, ours, what to do.
ADVICE: tuple[tuple[type[Exception], type[TransportError], str], ...] = (
    (NoCredentialsError, NotSentError, "give the process AWS credentials, or set profile"),
    (SSLError, TransportError, CHECK_TLS),
    (ConnectionError, TransportError, CHECK_NETWORK),
    (HTTPClientError, TransportError, CHECK_NETWORK),
    (MetadataRetrievalError, TransportError, "the source of the credentials does not respond"),
    (
        MissingDependencyException,
        NotSentError,
        "this source of credentials needs the package awscrt; add it, or use another source",
    ),
    (BotoCoreError, NotSentError, "check credentials, profile, role_arn, region and endpoint"),
    (OSError, NotSentError, "check credential_process and the files of the AWS configuration"),
    (JSONDecodeError, NotSentError, "check what credential_process prints"),
)
OF_THE_SOURCE: Final = {CHECK_TLS: SOURCE_TLS, CHECK_NETWORK: SOURCE_NETWORK}
# What making a client may raise when its source of credentials fails.
NO_CREDENTIALS = (BotoCoreError, OSError, JSONDecodeError)


def stream_parameter(stream: str) -> dict[str, str]:
    """Return the parameter of PutRecords that names a stream, by its name or its ARN."""
    return {"StreamARN" if stream.startswith("arn:") else "StreamName": stream}


def is_outdated(response: Response) -> bool:
    """Tell whether a response rejects the credentials, so that new ones have to be found."""
    if response.status < CLIENT_ERROR:
        return False
    code = str(response.headers.get("x-amzn-errortype", ""))[:MAX_LOOKED_AT]
    return _names_outdated(code.encode() + response.body[:MAX_LOOKED_AT])


def is_source_outdated(error: Exception) -> bool:
    """Tell whether an exception says that botocore's session has keys of no use, or has none.

    A session reads a file or variable once; only a new one finds what has replaced the keys.
    """
    if isinstance(error, ClientError):
        return _names_outdated(_code(error.response).encode())
    return isinstance(error, NoCredentialsError | CredentialRetrievalError)


def check_proxy(response: Response) -> None:
    """Raise NotSentError if a response comes from a proxy that wants to know its user."""
    if response.status == PROXY_AUTHENTICATION_REQUIRED:
        raise NotSentError(f"HTTP 407; {PROXY_PASSWORD}")


def explain(error: Exception, endpoint: str | None = None) -> TransportError:
    """Turn an exception of botocore into a short text that says what to do.

    Args:
        error: from a request, or from a look-up of credentials.
        endpoint: URL of the service, to tell its errors from those of other hosts. None: the
            error is from a look-up of credentials.
    """
    explained = _explain(error, endpoint)
    if not _is_of_the_service(error, endpoint):
        explained.n_sent = 0
    return explained


def explain_socket(error: OSError, address: str) -> TransportError:
    """Turn an exception of a socket into a short text that says what to do.

    Args:
        error: from a socket, TLS or a name look-up.
        address: the peer, without user-info.
    """
    advice = CHECK_TLS if isinstance(error, ssl.SSLError) else CHECK_NETWORK
    return TransportError(f"{type(error).__name__}: {presentable(error)} ({address}); {advice}")


def _explain(error: Exception, endpoint: str | None) -> TransportError:
    text = f"{type(error).__name__}: {presentable(error)}"
    if isinstance(error, ClientError):
        return _explain_sts(error.response, text)
    if isinstance(error, ProxyConnectionError):
        return _explain_proxy(error, text)
    for kind, ours, advice in ADVICE:
        if isinstance(error, kind):
            of_service = _is_of_the_service(error, endpoint)
            return ours(f"{text}; {advice if of_service else OF_THE_SOURCE.get(advice, advice)}")
    return TransportError(text)


def _is_of_the_service(error: Exception, endpoint: str | None) -> bool:
    """Tell whether a request for the service itself failed, not one for credentials."""
    if endpoint is None or isinstance(error, ClientError | ProxyConnectionError):
        return False
    url = str(getattr(error, "kwargs", {}).get("endpoint_url") or endpoint)
    host = urlsplit(url).netloc
    return host == urlsplit(endpoint).netloc or "kinesis" in host  # it may name an account


def _explain_sts(response: Mapping[str, Any], text: str) -> TransportError:
    """An error response of another operation than PutRecords came from STS, for a role."""
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = _code(response)
    if status == PROXY_AUTHENTICATION_REQUIRED:
        return NotSentError(f"{text}; {PROXY_PASSWORD}")
    if "throttl" in code.lower() or status >= SERVER_ERROR or status == TOO_MANY_REQUESTS:
        return TransportError(f"{text}; STS is busy")
    if _names_outdated(code.encode()):
        return NotSentError(f"{text}; {SOURCE_OUTDATED}")
    return NotSentError(
        f"{text}; check role_arn, external_id, EKS_POD_EXECUTION_ROLE, the credentials in use and "
        "the trust policy of the role"
    )


def _explain_proxy(error: ProxyConnectionError, text: str) -> TransportError:
    """The proxy is not there, or it refuses to connect; botocore's text does not say which."""
    cause = str(error.kwargs.get("error", ""))[:MAX_LOOKED_AT]
    _, refused, status = cause.partition(TUNNEL_REFUSED)
    if status.startswith(str(PROXY_AUTHENTICATION_REQUIRED)):
        return NotSentError(f"{text}: HTTP 407; {PROXY_PASSWORD}")
    if refused:
        text = f"{text}: HTTP {presentable(status.partition(chr(39))[0])}"
    return TransportError(f"{text}; {CHECK_PROXY}")


def _code(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Code", ""))[:MAX_LOOKED_AT]


def _names_outdated(text: bytes) -> bool:
    return any(code in text for code in OUTDATED)
