"""What is right alone and wrong together: ports, domains and defaults that clash.

It looks at the raw tables, so that these errors are listed beside those of single keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.config.addresses import overlap, parse_domain, parse_host, parse_listen
from substitute.config.literals import without_password
from substitute.config.models.app import AppConfig
from substitute.config.models.balancer import BalancerConfig
from substitute.config.models.runtime import ENGINES
from substitute.config.problems import Problem, dotted
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


_HAPROXY = "haproxy"
_MANY = 64
"""More instances than that are an error of their own."""


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
    yield from _variables(apps)
    yield from _of_haproxy_alone(_table(raw, "balancer"), apps)
    yield from _orders(raw, apps)
    yield from _images(_table(raw, "runtime"), apps)
    yield from _pushed(apps)
    yield from _clusters(raw, apps)


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
    ours = balancer.get("kind", _HAPROXY) == _HAPROXY  # the others listen where their own files say
    if ours and (place := _tried(parse_listen, listen)):
        host, _, port = place.rpartition(":")
        claims.append(_Claim("balancer.listen", host.strip("[]"), int(port), ("balancer", "listen")))
    for name, app in apps.items():
        host = _tried(parse_host, app.get("host", AppConfig.keys["host"].initial)) or ""
        ports = app.get("ports")
        numbers = [p for p in ports if type(p) is int] if host and isinstance(ports, (list, tuple)) else []
        count = app.get("instances", 1)
        each = range(count if type(count) is int and 0 < count <= _MANY else 1)
        where = ("app", name, "ports")
        claims += [_Claim(_called(name), host, port + more, where) for port in numbers for more in each]
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


def _variables(apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    """Variables of an app that have two values."""
    for name, app in apps.items():
        env, secrets, passed = _table(app, "env"), _table(app, "secrets"), app.get("pass_env")
        for one in secrets:
            if one in env:
                yield Problem(
                    ("app", name, "secrets", one),
                    f"is in {_called(name)}.env, too",
                    clash=("app", name, "env", one),
                )
        for at, one in enumerate(passed if isinstance(passed, (list, tuple)) else ()):
            where = "env" if str(one) in env else "secrets" if str(one) in secrets else ""
            if where:
                yield Problem(
                    ("app", name, "pass_env", at),
                    f"{one} is in {_called(name)}.{where}, and builds and hooks get it from there",
                    clash=("app", name, where, one),
                )


_OF_HAPROXY = {
    ("drain", "streams"): "cannot end single streams",
    ("replay", "last"): "does not tell what clients ask for",
    ("canary", "steps"): "cannot keep a client with the version that it met",
}
"""Keys that need HAProxy, and why others will not do."""


def _of_haproxy_alone(balancer: Mapping[str, Any], apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    kind = balancer.get("kind", BalancerConfig.keys["kind"].initial)
    if kind == "haproxy":
        return
    for name, app in apps.items():
        for (table, key), why in _OF_HAPROXY.items():
            if _table(app, table).get(key):
                yield Problem(("app", name, table, key), f'needs balancer.kind = "haproxy": {kind} {why}')


def _orders(raw: Mapping[str, object], apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    """Apps whose requests must wait for a while, behind a balancer in which none can."""
    kind = _table(raw, "balancer").get("kind", "haproxy")
    for name, app in apps.items():
        if app.get("order") == "stop-first" and kind != "haproxy":
            yield Problem(
                ("app", name, "order"),
                f'"stop-first" needs balancer.kind = "haproxy": behind `{kind}` requests would fail while neither '
                "version runs",
                clash=("balancer", "kind"),
            )


def _images(runtime: Mapping[str, Any], apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    """Apps that run in a container where nothing runs one, and whose image is said twice, or not where it goes."""
    kind = runtime.get("kind", "auto")
    for name, app in apps.items():
        both = app.get("image") and app.get("dockerfile")
        if both and kind != "kubernetes":
            yield Problem(
                ("app", name, "dockerfile"),
                "image and dockerfile both say what the app runs in: remove one of the two",
                clash=("app", name, "image"),
            )
        elif app.get("dockerfile") and not both and kind == "kubernetes":
            yield Problem(
                ("app", name, "dockerfile"),
                "needs image, too: where it is pushed, for the nodes to fetch it, such as "
                '"registry.example.com/shop:{commit}"',
                clash=("runtime", "kind"),
            )
        if kind in ENGINES:
            continue
        for key in ("image", "dockerfile"):
            if app.get(key):
                yield Problem(
                    ("app", name, key),
                    'needs runtime.kind = "podman", "docker" or "kubernetes"',
                    clash=("runtime", "kind") if "kind" in runtime else (),
                )


_BUILT_BY = ("repo", "source", "directory", "dockerfile", "build")
"""What an image depends on, beside the commit."""


def _pushed(apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    """Images that would tell a secret to who may pull them, or be taken for another app's, of the same commit."""
    owners: dict[str, str] = {}
    for name, app in apps.items():
        image = app.get("image")
        if not (isinstance(image, str) and app.get("dockerfile")):
            continue
        repo = str(app.get("repo"))
        is_web = repo.startswith(("http://", "https://"))
        if is_web and without_password(repo) != repo and not app.get("directory"):
            yield Problem(
                ("app", name, "repo"),
                "has a password or token, and so has .git, beside what the image is built from: keep it in "
                "~/.git-credentials",
                clash=("app", name, "image"),
            )
        first = owners.setdefault(image, name)
        if any(app.get(key) != apps[first].get(key) for key in _BUILT_BY):
            yield Problem(
                ("app", name, "image"),
                f"is that of {_called(first)}, which is built otherwise: write another name",
                clash=("app", first, "image"),
            )


_NOT_IN_A_CLUSTER = {
    ("", "instances"): "write replicas, which the cluster places",
    ("standby", "freeze"): "no cluster stops its pods' processors",
    ("limits", "tasks"): "a pod has no such limit",
    ("limits", "nofile"): "a pod has no such limit",
    ("stop", "signal"): "a pod gets SIGTERM, or what its image says (STOPSIGNAL)",
}
"""Keys that mean nothing for an app whose instances a cluster keeps, and why."""


def _clusters(raw: Mapping[str, object], apps: Mapping[str, dict[str, Any]]) -> Iterator[Problem]:
    """What a cluster cannot do for an app, or has to know; and apps that would have several pods where none does."""
    kind = _table(raw, "runtime").get("kind", "auto")
    balancer = _table(raw, "balancer").get("kind", _HAPROXY)
    if kind == "kubernetes" and not _table(raw, "cluster").get("nodes"):
        yield Problem(
            ("cluster", "nodes"),
            "missing; expected the addresses of its nodes: `kubectl get nodes -o wide` tells them",
            clash=("runtime", "kind"),
        )
    for name, app in apps.items():
        contained = bool(app.get("image") or app.get("dockerfile"))
        if kind != "kubernetes" or not contained:
            if app.get("replicas", 1) != 1:
                yield Problem(("app", name, "replicas"), 'needs runtime.kind = "kubernetes", and an image')
            continue
        yield from _not_in_a_cluster(("app", name), app)
        if _table(raw, "cluster").get("edges"):
            yield from _not_on_several_edges(name, app)
        for process, own in _table(app, "process").items():
            if isinstance(own, dict):
                yield from _not_in_a_cluster(("app", name, "process", process), own)
        if not app.get("container_port"):
            yield Problem(
                ("app", name),
                "needs container_port, the port that the app listens on in its pod",
                clash=("runtime", "kind"),
            )
        if balancer != _HAPROXY:
            yield Problem(
                ("balancer", "kind"),
                f'runtime.kind = "kubernetes" needs "haproxy", which looks at the nodes: {balancer} does not',
                clash=("runtime", "kind"),
            )


def _not_on_several_edges(name: str, app: Mapping[str, Any]) -> Iterator[Problem]:
    why = {
        "cron": "both would run it",
        "order": "the other edge would lead requests to a version that has ended",
    }
    for key in ("cron", "order"):
        if app.get(key, "start-first") != "start-first":
            yield Problem(
                ("app", name, key), f"is not for several edges: {why[key]}", clash=("cluster", "edges")
            )


def _not_in_a_cluster(where: tuple[str, ...], own: Mapping[str, Any]) -> Iterator[Problem]:
    """Of an app, or of one of its processes, which may have several instances."""
    for (table, key), why in _NOT_IN_A_CLUSTER.items():
        value = (_table(own, table) if table else own).get(key)
        usual = value in {1, "SIGTERM"} and key in {"instances", "signal"}
        if value and not usual and (key != "instances" or len(where) == 2):
            at = (*where, *filter(None, [table]), key)
            yield Problem(at, f"means nothing in a cluster: {why}", clash=("runtime", "kind"))


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
