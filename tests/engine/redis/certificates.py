"""Certificates for tests of TLS: an authority, what it signed, and one that nobody knows."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
AUTHORITY: Final = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in PEM."""

    file: str
    key: str


class Authority:
    """Signs certificates in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.own = self._made(name, *AUTHORITY)

    def signed(self, name: str, *names: str) -> Certificate:
        """Return a certificate for hosts such as ``DNS:localhost`` and ``IP:127.0.0.1``."""
        addition = ("-addext", f"subjectAltName={','.join(names)}") if names else ()
        return self._made(name, *addition, "-CA", self.own.file, "-CAkey", self.own.key)

    def _made(self, name: str, *arguments: str) -> Certificate:
        made = Certificate(str(self._folder / f"{name}.pem"), str(self._folder / f"{name}.key"))
        command = ["openssl", "req", "-x509", "-subj", f"/CN={name}", *KEY, "-out", made.file, "-keyout", made.key]
        subprocess.run([*command, *arguments], check=True, capture_output=True)
        return made
