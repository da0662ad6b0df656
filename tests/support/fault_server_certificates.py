"""Certificates for a loopback server: good, expired, for another host, of an unknown authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey
HERE = x509.IPAddress(IPv4Address("127.0.0.1"))
ELSEWHERE = x509.DNSName("kinesis.example.invalid")


class Certificates(NamedTuple):
    """Files: what a client must trust, and a server's certificates with their keys by name."""

    authority: Path
    server: dict[str, Path]


class Authority:
    """Signs certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        self.certificate = self._sign(self._name, self._key, 1, None)

    def issue(self, place: x509.GeneralName, days: int = 1) -> bytes:
        """Return a certificate and its key; days until it expires, negative for one that has."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name("server"), key, days, place)
        return certificate.public_bytes(Encoding.PEM) + key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )

    def _sign(
        self, name: x509.Name, key: Key, days: int, place: x509.GeneralName | None
    ) -> x509.Certificate:
        today = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - timedelta(days=9))
            .not_valid_after(today + timedelta(days=days))
            .add_extension(x509.BasicConstraints(place is None, None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        if place is None:
            builder = builder.add_extension(_may_sign(), critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([place]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def make_certificates(directory: Path) -> Certificates:
    """Write all certificates into a directory."""
    authority, stranger = Authority(), Authority()
    trusted = directory / "authority.pem"
    trusted.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    chains = {
        "good": authority.issue(HERE),
        "expired": authority.issue(HERE, -1),
        "other_host": authority.issue(ELSEWHERE),
        "stranger": stranger.issue(HERE),
    }
    paths = {name: directory / f"{name}.pem" for name in chains}
    for name, chain in chains.items():
        paths[name].write_bytes(chain)
    return Certificates(trusted, paths)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _may_sign() -> x509.KeyUsage:
    uses = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False
    )
    uses |= dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **uses)
