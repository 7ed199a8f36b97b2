"""Which hosts are meant, and in which batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.hosts import ALL, batch_size, name_of
from substitute.core.model.errors import UsageError
from substitute.hosts.channel import RemoteHost
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from substitute.config.models.hosts import HostsConfig


@dataclass(frozen=True)
class Chosen:
    """What was typed: groups, hosts, and hosts that are left out; each as names with commas."""

    groups: str | None = None
    hosts: str | None = None
    without: str | None = None

    def __bool__(self) -> bool:
        """Whether any host is meant at all."""
        return self.groups is not None or self.hosts is not None


def chosen_hosts(config: HostsConfig, chosen: Chosen) -> list[RemoteHost]:
    """The hosts that are meant, in the order of substitute.toml. Raises UsageError that says which there are."""
    every = _every(config)
    if not every:
        raise UsageError(
            "substitute.toml names no hosts.",
            cure='Add a table, such as:\n\n[hosts]\nweb = ["deploy@web1", "deploy@web2"]',
        )
    names: set[str] = set()
    for group in _names(chosen.groups):
        if group != ALL and group not in config.groups:
            raise _no_such("group", group, [*config.groups, ALL])
        names |= {name_of(one) for one in (every.values() if group == ALL else config.groups[group])}
    names |= _known(chosen.hosts, every)
    left_out = _known(chosen.without, every)
    found = [RemoteHost(name, every[name]) for name in every if name in names - left_out]
    if not found:
        raise UsageError("No host is left: --without names all that were chosen.")
    return found


def batches(
    hosts: Sequence[RemoteHost], batch: str, *, first: str | None = None
) -> list[tuple[RemoteHost, ...]]:
    """The hosts in the order in which they are worked on; `first` is a host that is alone before all others."""
    ahead = [host for host in hosts if host.name == first]
    rest = [host for host in hosts if host.name != first]
    size = batch_size(batch, len(hosts))
    found = [tuple(ahead)] if ahead else []
    return found + [tuple(rest[at : at + size]) for at in range(0, len(rest), size)]


def _every(config: HostsConfig) -> dict[str, str]:
    return {name_of(one): one for group in config.groups.values() for one in group}


def _known(text: str | None, every: Iterable[str]) -> set[str]:
    names = {name_of(name) for name in _names(text)}
    for name in sorted(names):
        if name not in every:
            raise _no_such("host", name, list(every))
    return names


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _no_such(what: str, name: str, there_are: Sequence[str]) -> UsageError:
    from difflib import get_close_matches  # noqa: PLC0415  # only this error needs it

    near = get_close_matches(name, there_are, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There is {', '.join(there_are)}."
    return UsageError(f"[hosts] has no {what} called {name!r}.", cure=hint)
