"""TLS 1.3 between nodes that have proved a key.

Each shows a certificate of the installation's own authority, for its address, and the one named in
its HELLO, which the key's proof covers.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.tls_socket import TlsSocket

_CONFIRMED = b"\x06"
_END = "-----END CERTIFICATE-----"
REMEDY = "run playbooks/provision.yml, which gives every node a certificate and renews it in time"


@dataclass(frozen=True)
class Identity:
    """A node's certificate, private key, and authority's certificate, as PEM files."""

    certificate: Path
    authority: Path

    @classmethod
    def from_options(cls, certificate: Path | None, authority: Path | None) -> Self | None:
        """Check a command's options; None without them, ``E_TLS`` for unusable files."""
        if certificate is None and authority is None:
            return None
        if certificate is None or authority is None:
            raise ParetoPipeError(
                "E_TLS", "--certificate and --authority belong together: give both"
            )
        identity = cls(certificate, authority)
        identity.context(server=True)
        return identity

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the node's certificate, as its HELLO names it."""
        try:
            text = self.certificate.read_text()
            begin = text.index("-----BEGIN CERTIFICATE-----")
            der = ssl.PEM_cert_to_DER_cert(text[begin : text.index(_END, begin) + len(_END)])
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        return hashlib.sha256(der).hexdigest()

    def context(self, *, server: bool) -> ssl.SSLContext:
        """Make the settings: TLS 1.3, this certificate, the peer's required; or ``E_TLS``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if server:
            context.num_tickets = 0  # nobody resumes
        try:
            context.load_verify_locations(self.authority)
            context.load_cert_chain(self.certificate)
        except OSError as error:  # ssl.SSLError is one
            raise self._unusable(error) from error
        return context

    def _unusable(self, error: Exception) -> ParetoPipeError:
        return ParetoPipeError(
            "E_TLS",
            f"no usable certificate in {self.certificate} and {self.authority}: {error} — {REMEDY}",
        )


def connect(
    sock: socket.socket,
    identity: Identity,
    fingerprint: str,
    *,
    timeout: float,
    address: str | None = None,
) -> TlsSocket:
    """Encrypt an outgoing connection.

    `fingerprint` is from the peer's HELLO; its certificate must be of `address`, by default
    `sock`'s peer. Raises ``E_TLS`` on distrust, having closed the connection.
    """
    return _encrypt(sock, identity, fingerprint, timeout, address, server=False)


def accept(
    sock: socket.socket, identity: Identity, fingerprint: str, *, timeout: float
) -> TlsSocket:
    """Encrypt a connection that the other side made; as `connect`."""
    return _encrypt(sock, identity, fingerprint, timeout, None, server=True)


def _encrypt(
    sock: socket.socket,
    identity: Identity,
    fingerprint: str,
    timeout: float,
    address: str | None,
    *,
    server: bool,
) -> TlsSocket:
    where, deadline = "a peer that is gone", time.monotonic() + timeout
    try:
        where = address or str(sock.getpeername()[0])
        stream = TlsSocket(sock, identity.context(server=server), None if server else where)
        try:
            _negotiate(stream, fingerprint, where, deadline, server=server)
        except BaseException:
            stream.close()
            raise
    except ParetoPipeError:
        sock.close()
        raise
    except (OSError, ValueError) as error:
        sock.close()
        raise ParetoPipeError("E_TLS", _sentence(where, error, timeout)) from error
    return stream


def _negotiate(
    stream: TlsSocket, fingerprint: str, address: str, deadline: float, *, server: bool
) -> None:
    stream.handshake(deadline)
    _verify(stream, fingerprint, address)
    # A client is done before the server has seen its certificate, and so waits for a word.
    if server:
        stream.say(_CONFIRMED, deadline)
    else:
        stream.expect(_CONFIRMED, deadline)


def _verify(stream: TlsSocket, fingerprint: str, address: str) -> None:
    """Check the certificate's address and its fingerprint from the HELLO."""
    der = stream.tls.getpeercert(binary_form=True) or b""
    shown: Any = stream.tls.getpeercert() or {}
    known = [name for kind, name in shown.get("subjectAltName", ()) if kind == "IP Address"]
    if ipaddress.ip_address(address) not in map(ipaddress.ip_address, known):
        raise ValueError(f"its certificate is of {', '.join(known) or 'no address'}")
    if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), fingerprint):
        raise ValueError("its certificate is another one than its HELLO names")


def _sentence(where: str, error: Exception, timeout: float) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        seen = f"its certificate is not believed here: {error.verify_message}"
        return f"{where}: {seen} — {REMEDY}; certificates also need clocks that agree"
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        told = str(error.reason).lower().replace("_", " ")
        return f"{where} does not believe this host's certificate: {told} — {REMEDY}"
    if isinstance(error, ssl.SSLError):
        return f"{where} does not speak TLS 1.3: {error.reason or error.strerror} — {REMEDY}"
    if isinstance(error, TimeoutError):
        return f"{where} had not agreed on TLS after {timeout:.1f} s — is its host overloaded?"
    if isinstance(error, ValueError):
        return f"{where}: {error} — {REMEDY}"
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{where} ended the connection while TLS was agreed on: {why} — its journal says why"
