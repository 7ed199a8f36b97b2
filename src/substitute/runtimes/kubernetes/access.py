"""How a cluster is reached, and as whom: what a kubeconfig says.

The format is that of `kubectl` (kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig).
"""

from __future__ import annotations

import base64
import json
import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from substitute.linux.subprocesses import capture
from substitute.runtimes.kubernetes.failures import Silent
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLUGIN_PATIENCE = 60.0
"""Seconds that a credential plugin has: it may ask a cloud."""
_PLUGIN_KIND = "client.authentication.k8s.io"
_CURE = "`kubectl config view` shows what the file says; cluster.kubeconfig and cluster.context choose."


@dataclass(frozen=True)
class Settings:
    """What the table ``[cluster]`` says of a cluster, every default filled in but those of the kubeconfig."""

    kubeconfig: str
    context: str = ""
    namespace: str = ""
    claim: str = ""
    """The PersistentVolumeClaim that has what apps share; empty: there is none."""

    def dump(self) -> str:
        """As the journal keeps it."""
        return json.dumps([self.kubeconfig, self.context, self.namespace, self.claim])

    @classmethod
    def load(cls, text: str) -> Settings:
        """What `dump` made."""
        return cls(*json.loads(text))


@dataclass(frozen=True)
class Access:
    """An API server, and who asks it."""

    host: str
    port: int
    path: str
    """Before every path of the API; mostly empty."""
    namespace: str
    server: Mapping[str, Any]
    """The kubeconfig's entry of the cluster."""
    user: Mapping[str, Any]
    """And that of the user."""
    directory: Path
    """Where the kubeconfig lies: paths in it are relative to that."""


def read(settings: Settings) -> Access:
    """What `settings` mean. Raises Silent that names the file."""
    import yaml  # noqa: PLC0415  # slow to import, and only clusters need it

    file = Path(settings.kubeconfig)
    try:
        known = yaml.safe_load(file.read_text(encoding="utf-8"))
        context = _named(known, "context", settings.context or known["current-context"])
        server, user = (_named(known, kind, context[kind]) for kind in ("cluster", "user"))
        return _access(file, settings.namespace or context.get("namespace") or "default", server, user)
    except OSError as error:
        raise Silent(f"{file} cannot be read: {error.strerror}.", cure=_CURE) from error
    except yaml.YAMLError as error:
        raise Silent(f"{file} is no YAML.", fact=str(error), cure=_CURE) from error
    except (KeyError, TypeError, ValueError) as error:
        raise Silent(f"{file} is no complete kubeconfig.", fact=str(error), cure=_CURE) from error


def resolved(settings: Settings) -> Settings:
    """`settings` with the context and the namespace that they mean today. Raises Silent."""
    import yaml  # noqa: PLC0415  # as above

    namespace = read(settings).namespace
    known = yaml.safe_load(Path(settings.kubeconfig).read_text(encoding="utf-8"))
    return replace(settings, context=settings.context or known["current-context"], namespace=namespace)


def _named(known: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """The entry of that name in the list of that kind. Raises KeyError."""
    for one in known.get(f"{kind}s") or ():
        if one["name"] == name:
            found: dict[str, Any] = one[kind]
            return found
    raise KeyError(f"no {kind} is called {name!r}")


def _access(file: Path, namespace: str, server: Mapping[str, Any], user: Mapping[str, Any]) -> Access:
    from urllib.parse import urlsplit  # noqa: PLC0415  # as above

    url = urlsplit(server["server"])
    if url.scheme != "https" or not url.hostname:
        raise ValueError(f"server is {server['server']!r}, and must be an https URL")
    for entry, key in ((server, "proxy-url"), (user, "as")):
        if entry.get(key):
            raise ValueError(f"{key} is not understood here")
    return Access(url.hostname, url.port or 443, url.path.rstrip("/"), namespace, server, user, file.parent)


class Credentials:
    """What an API server is shown. A plugin is asked once; again where what it gave is refused."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._given: Mapping[str, Any] | None = None

    def renew(self) -> bool:
        """Ask the plugin anew, where there is one. True then."""
        self._given = None
        return "exec" in self._access.user

    def token(self) -> str:
        """The bearer token; empty where the client is known by its certificate."""
        user = self._access.user
        if token := str(user.get("token") or ""):
            return token
        if file := user.get("tokenFile"):
            return Path(self._access.directory, file).read_text(encoding="utf-8").strip()
        return str(self._plugged().get("token") or "")

    def context(self) -> ssl.SSLContext:
        """How the server is verified, and the client's certificate. Raises Silent."""
        server = self._access.server
        try:
            authority = self._data(server, "certificate-authority")
            found = ssl.create_default_context(cadata=authority.decode() if authority else None)
            if server.get("insecure-skip-tls-verify"):
                found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
            plugged = self._plugged()
            certificate = self._data(self._access.user, "client-certificate")
            key = self._data(self._access.user, "client-key")
            certificate = certificate or str(plugged.get("clientCertificateData") or "").encode()
            key = key or str(plugged.get("clientKeyData") or "").encode()
            if certificate:
                _load(found, certificate + b"\n" + key)
        except (OSError, ValueError, ssl.SSLError) as error:
            raise Silent(
                "The credentials of the kubeconfig cannot be used.", fact=str(error), cure=_CURE
            ) from error
        return found

    @property
    def server_name(self) -> str:
        """By which name the server's certificate is verified."""
        return str(self._access.server.get("tls-server-name") or self._access.host)

    def _data(self, entry: Mapping[str, Any], name: str) -> bytes:
        """What stands in the kubeconfig itself, or in the file that it names."""
        if inline := entry.get(f"{name}-data"):
            return base64.b64decode(inline)
        if file := entry.get(name):
            return Path(self._access.directory, file).read_bytes()
        return b""

    def _plugged(self) -> Mapping[str, Any]:
        """What the credential plugin gives."""
        if self._given is None:
            plugin = self._access.user.get("exec")
            self._given = _ask(plugin, self._access.directory) if plugin else {}
        return self._given


def _ask(plugin: Mapping[str, Any], directory: Path) -> Mapping[str, Any]:
    """What a credential plugin says (kubernetes.io/docs/reference/access-authn-authz/authentication)."""
    version = plugin.get("apiVersion") or f"{_PLUGIN_KIND}/v1"
    asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    more = {one["name"]: one["value"] for one in plugin.get("env") or ()}
    environment = {**os.environ, **more, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    command = str(plugin["command"])
    if "/" in command:
        command = str(directory / command)
    fact, cure = "", str(plugin.get("installHint") or "")
    try:
        told = capture(
            [command, *map(str, plugin.get("args") or ())], timeout=_PLUGIN_PATIENCE, environment=environment
        )
        fact = told.err.strip()
        if not told.status and not told.timed_out:
            with suppress(ValueError, KeyError, TypeError):
                found: dict[str, Any] = json.loads(told.out)["status"]
                return found
            fact = "What it wrote is no ExecCredential."
    except OSError as error:
        fact = error.strerror or str(error)
    raise Silent(f"The credential plugin {command} gives nothing.", fact=fact, cure=cure)


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Certificate and key, which Python takes from a file alone: here one that has no name."""
    file = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
