"""Certificates for fake backends: a good one, an expired one, and one from an unknown authority."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """A certificate authority of this test run; `bundle` is what a client must trust."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write_bundle(self, folder: Path) -> Path:
        path = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(path))
        return path

    def server(self, name: str = "127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
        """The TLS side of a server that calls itself `name`."""
        end = datetime.now(UTC) - timedelta(days=1) if expired else None
        start = datetime.now(UTC) - timedelta(days=30)
        certificate = self._ca.issue_cert(name, not_before=start, not_after=end)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context
