"""Rules for every request: shards, signatures, clocks."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fault_server_wire import Head

THROTTLED: Final = "ProvisionedThroughputExceededException"
MAX_SKEW_S: Final = 300  # seconds; SigV4: five minutes
STATIC_KEYS: Final = {"ENVKEY": "secret"}  # the environment of the tests has these
DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"


class Refusal(NamedTuple):
    """An error for a whole request."""

    status: int
    code: str
    message: str


class Shards:
    """A budget of records and bytes for each shard, full at first, refilled at a steady rate.

    Args:
        n_shards: shards, at least 1; each has an equal part of the MD5 hashes.
        records_per_s: records per second and shard; also the largest budget.
        bytes_per_s: bytes per second and shard.
    """

    def __init__(self, n_shards: int, records_per_s: float, bytes_per_s: float) -> None:
        self._rates = (records_per_s, bytes_per_s)
        self._left = [[records_per_s, bytes_per_s] for _ in range(n_shards)]
        self._filled = time.monotonic()

    def index(self, partition_key: str) -> int:
        """Return the shard of a key."""
        digest = hashlib.md5(partition_key.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest) * len(self._left) >> 128

    def takes(self, partition_key: str, n_bytes: int) -> bool:
        """Take a record if the budget of its shard allows it."""
        self._fill()
        left = self._left[self.index(partition_key)]
        if left[0] < 1 or left[1] < n_bytes:
            return False
        left[0] -= 1
        left[1] -= n_bytes
        return True

    def _fill(self) -> None:
        now = time.monotonic()
        passed, self._filled = now - self._filled, now
        for left in self._left:
            for kind, rate in enumerate(self._rates):
                left[kind] = min(rate, left[kind] + rate * passed)


class Keys:
    """Short-lived credentials KEY1, KEY2, ...; those before the oldest good one have expired.

    Attributes:
        oldest: number of the oldest key that is still good.
        issued: how many were issued.
    """

    def __init__(self) -> None:
        self.oldest = 0
        self.issued = 0

    def issue(self, lifetime_s: float) -> dict[str, str]:
        """Return new credentials as a container's endpoint does, with their expiration."""
        self.issued += 1
        end = datetime.fromtimestamp(time.time() + lifetime_s, UTC)
        return {
            "AccessKeyId": f"KEY{self.issued}",
            "SecretAccessKey": f"secret-{self.issued}",
            "Token": f"token-{self.issued}",
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def expire(self) -> None:
        """Expire all that were issued so far."""
        self.oldest = self.issued + 1

    def refusal(self, head: Head, body: bytes) -> Refusal | None:
        """Return why the service rejects a signature; None when it is right."""
        scope = _between(head.headers.get("authorization", ""), "Credential=", ",").split("/")
        key = scope[0]
        if key.startswith("KEY"):
            number = int(key[3:])
            if head.headers.get("x-amz-security-token") != f"token-{number}":
                return Refusal(400, "UnrecognizedClientException", "the token of another key")
            if number < self.oldest:
                return Refusal(400, "ExpiredTokenException", "The security token is expired")
            secret = f"secret-{number}"
        elif key in STATIC_KEYS:
            secret = STATIC_KEYS[key]
        else:
            return Refusal(400, "UnrecognizedClientException", f"unknown access key '{key}'")
        if not hmac.compare_digest(_signature(head, body, secret, scope[1:]), _signed(head)):
            return Refusal(400, "InvalidSignatureException", "the signature does not match")
        return None


def skew_refusal(head: Head, skew_s: float, code: str) -> Refusal | None:
    """Return the refusal of a request that was signed too far from the time of this service."""
    signed = datetime.strptime(head.headers["x-amz-date"], DATE_FORMAT).replace(tzinfo=UTC)
    here = datetime.fromtimestamp(time.time() + skew_s, UTC)
    if abs((signed - here).total_seconds()) <= MAX_SKEW_S:
        return None
    text = f"{signed:{DATE_FORMAT}} is now too far from {here:{DATE_FORMAT}}"
    return Refusal(400, code, f"Signature expired: {text}")


def _signed(head: Head) -> str:
    return head.headers.get("authorization", "").rpartition("Signature=")[2]


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def _signature(head: Head, body: bytes, secret: str, scope: list[str]) -> str:
    """Return the AWS Signature Version 4; scope: day, region, service, "aws4_request"."""
    names = _between(head.headers["authorization"], "SignedHeaders=", ",")
    canonical = [head.method, head.path, ""]
    canonical += [f"{name}:{head.headers[name]}" for name in names.split(";")]
    canonical += ["", names, hashlib.sha256(body).hexdigest()]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    to_sign = ["AWS4-HMAC-SHA256", head.headers["x-amz-date"], "/".join(scope), digest]
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, "\n".join(to_sign).encode(), "sha256").hexdigest()
