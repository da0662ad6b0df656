"""The errors that both transports raise when there is no response, with advice on what to do."""

import re
import ssl
from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    SSLError,
)

from kinesis_fast.errors import TransportError
from kinesis_fast.transport import NotSentError, Response

TOO_MANY_REQUESTS = 429
CLIENT_ERROR = 400
SERVER_ERROR = 500
OUTDATED = re.compile(rb"ExpiredToken|InvalidClientTokenId|UnrecognizedClient")
USER_INFO = re.compile(r"//[^/@\s\"]+@")  # of a URL: it may be a password
CHECK_NETWORK: Final = "check the network, the proxy, region and endpoint"
CHECK_TLS: Final = "check endpoint and AWS_CA_BUNDLE"
# The first match counts: botocore's exception, ours, what to do.
ADVICE: tuple[tuple[type[Exception], type[TransportError], str], ...] = (
    (NoCredentialsError, NotSentError, "give the process AWS credentials, or set profile"),
    (SSLError, TransportError, CHECK_TLS),
    (ConnectionError, TransportError, CHECK_NETWORK),
    (HTTPClientError, TransportError, CHECK_NETWORK),
    (MetadataRetrievalError, TransportError, "the source of the credentials does not respond"),
    (BotoCoreError, NotSentError, "check credentials, profile, role_arn, region and endpoint"),
    (OSError, NotSentError, "check credential_process and the files of the AWS configuration"),
    (JSONDecodeError, NotSentError, "check what credential_process prints"),
)
# What making a client may raise when its source of credentials fails.
NO_CREDENTIALS = (BotoCoreError, OSError, JSONDecodeError)


def stream_parameter(stream: str) -> dict[str, str]:
    """Return the parameter of PutRecords that names a stream, by its name or its ARN."""
    return {"StreamARN" if stream.startswith("arn:") else "StreamName": stream}


def is_outdated(response: Response) -> bool:
    """Tell whether a response rejects the credentials, so that new ones have to be found."""
    return response.status >= CLIENT_ERROR and OUTDATED.search(response.body) is not None


def explain(error: Exception) -> TransportError:
    """Turn an exception of botocore into a short text that says what to do."""
    text = USER_INFO.sub("//***@", f"{type(error).__name__}: {error}")
    if isinstance(error, ClientError):
        return _explain_sts(error.response, text)
    for kind, ours, advice in ADVICE:
        if isinstance(error, kind):
            return ours(f"{text}; {advice}")
    return TransportError(text)


def explain_socket(error: OSError, address: str) -> TransportError:
    """Turn an exception of a socket into a short text that says what to do.

    Args:
        error: from a socket, TLS or a name look-up.
        address: the peer, without user-info.
    """
    advice = CHECK_TLS if isinstance(error, ssl.SSLError) else CHECK_NETWORK
    return TransportError(f"{type(error).__name__}: {error} ({address}); {advice}")


def _explain_sts(response: Mapping[str, Any], text: str) -> TransportError:
    """An error response of another operation than PutRecords came from STS, for a role."""
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    throttled = "throttl" in str(response.get("Error", {}).get("Code", "")).lower()
    if throttled or status >= SERVER_ERROR or status == TOO_MANY_REQUESTS:
        return TransportError(f"{text}; STS is busy")
    return NotSentError(
        f"{text}; check role_arn, external_id, EKS_POD_EXECUTION_ROLE, the credentials in use and "
        "the trust policy of the role"
    )
