"""The table [hosts]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.hosts import Batch, GroupName, HostName, Hosts, PlaceThere, name_of
from substitute.config.tables import Refused, Table, key, optional, others
from substitute.config.values import Duration, File, PositiveDuration

if TYPE_CHECKING:
    from collections.abc import Collection


class HostsConfig(Table):
    """Hosts that `--hosts` and `--on` reach over ssh. Each is a root of its own. See docs/hosts.md."""

    groups = others(
        GroupName,
        Hosts,
        "A group of hosts: the key is a name of your choice, for `--hosts`. Each host is written as for ssh, "
        "`USER@HOST` or a name of `~/.ssh/config`, if need be with `:PORT`. A host may be in several groups.",
        example={"web": ("deploy@web1", "deploy@web2")},
    )
    root = optional(
        PlaceThere,
        "The root directory on each host. A relative path begins at the home directory of the user there. Without it: "
        "a directory in that home, of the same name as the root directory here.",
        example="/srv/shop",
    )
    batch = key(
        Batch,
        "How many hosts `deploy` and `restart` work on at the same time: a number, or a part of those that are meant. "
        "It is rounded down, and is at least one.",
        default="100%",
    )
    canary_host = optional(
        HostName,
        "The host that is deployed first, alone. Without it, the first one that is meant is, if the app has a "
        "`release`, which runs there; and if it has none, there is no such host.",
        example="web1",
    )
    connect_timeout = key(PositiveDuration, "How long ssh tries to connect to a host.", default="10s")
    answer_timeout = key(
        PositiveDuration,
        "How long a host may take to answer a question, such as `status`.",
        default="30s",
    )
    lost_timeout = key(
        Duration,
        "How long a host is asked again what became of a command whose connection was lost.",
        default="2m",
    )
    ssh_config = optional(
        File,
        "The configuration file that ssh is given. Without it: your own, `~/.ssh/config`.",
        example="ssh_config",
    )

    def agree(self, written: Collection[str]) -> None:
        """Each host has a name of its own, by which it is shown and chosen."""
        del written
        found: dict[str, str] = {}
        for destination in dict.fromkeys(one for group in self.groups.values() for one in group):
            if found.setdefault(name_of(destination), destination) != destination:
                raise Refused(
                    f"{found[name_of(destination)]} and {destination} are both called {name_of(destination)}: write "
                    "each host in one way, or give them names of their own in ~/.ssh/config"
                )
        if self.canary_host and self.canary_host not in found:
            known = ", ".join(found) or "none"
            raise Refused(f"canary_host {self.canary_host} is in no group; the hosts are {known}")
