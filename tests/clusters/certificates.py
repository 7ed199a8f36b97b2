"""Certificates by which the parts of a cluster know each other."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = ("-days", "2")


class Authority:
    """Signs certificates, and keeps all in a directory: ca.crt, NAME.crt and NAME.key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True)
        key, certificate = directory / "ca.key", self.certificate
        _openssl(
            *("req", "-x509", *_CURVE, *_DAYS, "-subj", "/CN=cluster", "-keyout", key, "-out", certificate),
            *("-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
        )
        self.key_pair("service-accounts")

    @property
    def certificate(self) -> Path:
        """By which all others are verified."""
        return self._directory / "ca.crt"

    def key_pair(self, name: str) -> None:
        """NAME.key and NAME.pub, which need no certificate."""
        key = self._directory / f"{name}.key"
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", key)
        _openssl("pkey", "-in", key, "-pubout", "-out", key.with_suffix(".pub"))

    def issue(
        self, name: str, user: str, *, group: str = "", addresses: tuple[str, ...] = ()
    ) -> tuple[Path, Path]:
        """A certificate and its key for `user`, who serves at `addresses`."""
        certificate, key = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        alternatives = [f"subjectAltName={','.join(f'IP:{one}' for one in addresses)}"] if addresses else []
        use = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        extensions.write_text("\n".join([*use, *alternatives]))
        _openssl("req", *_CURVE, "-subj", subject, "-keyout", key, "-out", request)
        signing = ("-CA", self.certificate, "-CAkey", self._directory / "ca.key", "-CAcreateserial")
        _openssl(
            "x509", "-req", *_DAYS, *signing, "-in", request, "-extfile", extensions, "-out", certificate
        )
        return certificate, key


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
