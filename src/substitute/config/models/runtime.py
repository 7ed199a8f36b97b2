"""The table [runtime]."""

from __future__ import annotations

from substitute.config.tables import Table, key
from substitute.config.values import choice

ENGINES = ("podman", "docker", "kubernetes")
"""Those that run containers."""


class RuntimeConfig(Table):
    """The program that keeps the instances running after logouts and crashes."""

    kind = key(
        choice("auto", "systemd", "supervisord", *ENGINES),
        "Which runtime: systemd, or a supervisord that substitute starts. `auto` is `systemd` if it is the init and "
        "keeps this user's programs after a logout (root's always, others' with `loginctl enable-linger`), else "
        "`supervisord`. With `podman` or `docker` apps that have an `image` or a `dockerfile` run in containers "
        "(docs/containers.md), with `kubernetes` in pods of a cluster (docs/kubernetes.md), and all else as with "
        "`auto`.",
        default="auto",
    )

    @property
    def engine(self) -> str:
        """What runs containers, or empty."""
        return self.kind if self.kind in ENGINES else ""

    @property
    def beside(self) -> str:
        """The kind of what keeps all that runs in no container."""
        return "auto" if self.engine else self.kind
