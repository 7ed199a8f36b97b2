"""What is right alone and wrong together: ports, domains and defaults that clash.

It looks at the raw tables, so that these errors are listed beside those of single keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.config.addresses import overlap, parse_domain, parse_host, parse_listen
from substitute.config.models import AppConfig, BalancerConfig
from substitute.config.problems import Problem, dotted
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class _Claim:
    """A port that is wanted, by whom, and where it is written."""

    owner: str
    host: str
    port: int
    location: tuple[int | str, ...]


def collisions(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Find what clashes in the parsed but not yet validated file; what is malformed is passed over."""
    apps = {name: app for name, app in _table(raw, "app").items() if isinstance(app, dict)}
    yield from _ports(_claims(raw, apps))
    yield from _domains(apps)
    yield from _defaults(apps)


def _ports(claims: list[_Claim]) -> Iterator[Problem]:
    for at, claim in enumerate(claims):
        for earlier in claims[:at]:
            clash = claim.port == earlier.port and overlap(claim.host, earlier.host)
            if clash and claim.owner != earlier.owner:
                yield Problem(
                    claim.location,
                    f"port {claim.port} on {claim.host} is already that of {earlier.owner}",
                    clash=earlier.location,
                )


def _claims(raw: Mapping[str, object], apps: Mapping[str, dict[str, Any]]) -> list[_Claim]:
    claims = []
    balancer = _table(raw, "balancer")
    listen = balancer.get("listen", BalancerConfig.keys["listen"].initial)
    ours = balancer.get("kind", "haproxy") == "haproxy"  # the others listen where their own files say
    if ours and (place := _tried(parse_listen, listen)):
        host, _, port = place.rpartition(":")
        claims.append(_Claim("balancer.listen", host.strip("[]"), int(port), ("balancer", "listen")))
    for name, app in apps.items():
        host = _tried(parse_host, app.get("host", AppConfig.keys["host"].initial)) or ""
        ports = app.get("ports")
        numbers = [p for p in ports if type(p) is int] if host and isinstance(ports, (list, tuple)) else []
        claims += [_Claim(_called(name), host, port, ("app", name, "ports")) for port in numbers]
    return claims


def _domains(apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for name, app in apps.items():
        domains = app.get("domains")
        for at, written in enumerate(domains if isinstance(domains, (list, tuple)) else ()):
            domain = _tried(parse_domain, written)
            if domain is None:
                continue
            if domain in owners:
                owner = (
                    "listed twice" if owners[domain] == name else f"already that of {_called(owners[domain])}"
                )
                clash = ("app", owners[domain], "domains")
                yield Problem(("app", name, "domains", at), f"{domain} is {owner}", clash=clash)
            owners.setdefault(domain, name)


def _defaults(apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    without = [name for name, app in apps.items() if app.get("domains", ()) in ((), [])]
    for name in without[1:]:
        yield Problem(
            ("app", name),
            f"needs domains: {_called(without[0])} has none either, and one app at most may be without",
            clash=("app", without[0]),
        )


def _called(name: str) -> str:
    return dotted(("app", name))


def _table(raw: Mapping[str, object], name: str) -> dict[str, Any]:
    table = raw.get(name)
    return table if isinstance(table, dict) else {}


def _tried(parse: Callable[[str], str], value: object) -> str | None:
    try:
        return parse(value) if isinstance(value, str) else None
    except ValueError:
        return None
