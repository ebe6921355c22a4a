"""Issue nodes' certificates under one authority, in a folder of PEM files on the controller.

Valid files stay, whoever made them; missing, damaged, expiring or mismatched ones are replaced.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: A Pi has no battery-backed clock: it may boot into last week.
SKEW = datetime.timedelta(days=7)
AUTHORITY_DAYS = 3650
#: The authority outlives a certificate signed today by this much.
MARGIN_DAYS = 30
FOLDER_MODE, FILE_MODE = 0o700, 0o600
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_Extension = tuple[x509.ExtensionType, bool]


@dataclass(frozen=True)
class Wanted:
    name: str
    extensions: tuple[_Extension, ...]
    days: int
    renew_days: int

    def fits(self, found: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
        """Return whether a certificate has this content, for this key, until renewal is due."""
        now = datetime.datetime.now(datetime.UTC)
        lasts = now + datetime.timedelta(days=self.renew_days) < found.not_valid_after_utc
        try:
            said = {extension.value: extension.critical for extension in found.extensions}
            ours = found.public_key() == key.public_key()
        except (ValueError, UnsupportedAlgorithm):  # a form that we do not write
            return False
        return (
            (lasts and ours and found.not_valid_before_utc <= now)
            and found.subject == _name(self.name)
            and all(said.get(value) is critical for value, critical in self.extensions)
        )


@dataclass(frozen=True)
class Issued:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class Store:
    """Folder of keys and certificates; `dry` records changes without writing."""

    def __init__(self, folder: Path, *, dry: bool = False) -> None:
        self.folder, self.dry, self.changed = folder, dry, False

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Create and lock the folder: hosts are provisioned in parallel."""
        if not self.folder.is_dir():
            self.changed = True
            if self.dry:
                yield
                return
            for missing in (*reversed(self.folder.parents), self.folder):
                if not missing.is_dir():
                    missing.mkdir(exist_ok=True)
                    missing.chmod(FOLDER_MODE)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._have_mode(self.folder, FOLDER_MODE)
            yield
        finally:
            os.close(descriptor)

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """Load the private key, or create it."""
        text = self._text(f"{name}.key")
        with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = serialization.load_pem_private_key(text, None)
            if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
                return key
        made = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self._write(f"{name}.key", made.private_bytes(serialization.Encoding.PEM, *form))
        return made

    def certificate(self, name: str) -> x509.Certificate | None:
        """Return the certificate; None if missing or unreadable."""
        try:
            return x509.load_pem_x509_certificate(self._text(f"{name}.pem"))
        except ValueError:
            return None

    def keep(self, name: str, certificate: x509.Certificate) -> None:
        self._write(f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def _text(self, name: str) -> bytes:
        path = self.folder / name
        if not path.exists():
            return b""
        self._have_mode(path, FILE_MODE)
        return path.read_bytes()

    def _write(self, name: str, content: bytes) -> None:
        """Replace a file atomically, with mode 0600 from its creation."""
        self.changed = True
        if self.dry:
            return
        path = self.folder / name
        scratch = path.with_name(f".{name}.new")
        scratch.unlink(missing_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        scratch.replace(path)

    def _have_mode(self, path: Path, mode: int) -> None:
        if path.stat().st_mode & 0o7777 != mode:
            self.changed = True
            if not self.dry:
                path.chmod(mode)


def issue(store: Store, name: str, node: str, address: str, days: int, renew_days: int) -> None:
    """Ensure an authority, and a certificate of `node` at `address`.

    Raises
    ------
    ValueError
        If `address` is no IP address.
    OSError
        If the folder cannot be read or written.
    """
    known = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    with store.opened():
        authority = _issued(
            store,
            "authority",
            Wanted(
                "ParetoPipe",
                (
                    (x509.BasicConstraints(ca=True, path_length=0), True),
                    (_usage("key_cert_sign", "crl_sign"), True),
                ),
                AUTHORITY_DAYS,
                days + MARGIN_DAYS,
            ),
        )
        wanted = Wanted(
            node,
            (
                (known, False),
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (_usage("digital_signature"), True),
                (x509.ExtendedKeyUsage(purposes), False),
                (_known_by(authority.certificate), False),
            ),
            days,
            renew_days,
        )
        _issued(store, name, wanted, authority)


def _issued(store: Store, name: str, wanted: Wanted, by: Issued | None = None) -> Issued:
    """Return the key and certificate of this name, made where missing; without `by` self-signed."""
    key, found = store.key(name), store.certificate(name)
    if found is None or not wanted.fits(found, key) or (by is not None and not _vouched(found, by)):
        found = _signed(wanted, key, by)
        store.keep(name, found)
    return Issued(key, found)


def _signed(wanted: Wanted, key: ec.EllipticCurvePrivateKey, by: Issued | None) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(by.certificate.subject if by else _name(wanted.name))
        .subject_name(_name(wanted.name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + datetime.timedelta(days=wanted.days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for value, critical in wanted.extensions:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(by.key if by else key, hashes.SHA256())


def _vouched(certificate: x509.Certificate, authority: Issued) -> bool:
    """Return whether the authority's key signed it, even under an earlier certificate."""
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _known_by(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
