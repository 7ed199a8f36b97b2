"""The table [runtime]."""

from __future__ import annotations

from substitute.config.tables import Table, key
from substitute.config.values import choice


class RuntimeConfig(Table):
    """The program that keeps the instances running after logouts and crashes."""

    kind = key(
        choice("auto", "systemd", "supervisord"),
        "Which runtime: systemd, or a supervisord that substitute starts. `auto` is `systemd` if it is the init and "
        "keeps this user's programs after a logout (root's always, others' with `loginctl enable-linger`), else "
        "`supervisord`.",
        default="auto",
    )
