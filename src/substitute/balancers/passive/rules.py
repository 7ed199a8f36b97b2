"""The gate as nftables rules: what, not how.

A balancer that can't be told lists both slots. The kernel leads each *new* connection to a port that is not live on
to the one that is; established connections stay where they are (conntrack). So both ports always answer, and
the balancer never meets a refused connection, a reload, or a change of its own configuration.

Probes carry a socket mark and pass; what a program in the group of probes sends gets it here. Only a SYN is led, so
that a connection that conntrack first sees in its middle is left alone.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from substitute.core.model.slots import Endpoint
from substitute.linux.connections import LED_BIT, SPARE_ADDRESS
from substitute.linux.listeners import WILDCARDS
from substitute.linux.probe_group import PROBE_GROUP, PROBE_MARK
from substitute.linux.root_names import root_hash
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from substitute.core.ports.balancer import Backend

_FAMILY = "inet"

Json = dict[str, Any]


@dataclass(frozen=True)
class Passage:
    """What becomes of new connections to one port of an app."""

    endpoint: Endpoint
    target: Endpoint | None
    """Itself: the port is open. Another: they are led there. None: they are refused."""
    everywhere: bool = False
    """On every address of this machine, since the instance listens on all of them."""


def passages(backends: Iterable[Backend], listens_everywhere: Callable[[Endpoint], bool]) -> list[Passage]:
    """What the shares of `backends` mean for each endpoint; 0 is led to a slot that has a share.

    Where none has, an instance of ours is refused new connections, and a port that has none is no concern of ours.
    """
    found = []
    for backend in backends:
        live = [server.endpoint for server in backend.servers if server.share]
        for number, server in enumerate(backend.servers):
            if not live and not server.claimed:
                continue
            target = server.endpoint if server.share else live[number % len(live)] if live else None
            everywhere = server.endpoint.host in WILDCARDS or listens_everywhere(target or server.endpoint)
            found.append(Passage(server.endpoint, target, everywhere))
    # A rule for one address stands before one for every address of the same port.
    return sorted(found, key=lambda passage: passage.everywhere)


def table_name(root: Path) -> str:
    """The name of the root's own table: no other root has it."""
    return f"substitute_{root_hash(root)}"


def leading(name: str, wanted: Sequence[Passage], *, flip_ports: bool) -> list[Json]:
    """The commands, one transaction, that make the table lead connections. Needs the kernel's NAT."""
    ports = sorted({passage.endpoint.port for passage in wanted})
    return [
        *_emptied(name),
        *_marking(name),
        _chain(name, "lead"),
        _chain(name, "output", kind="nat", hook="output", priority=-110),
        _chain(name, "prerouting", kind="nat", hook="prerouting", priority=-110),
        _chain(name, "postrouting", kind="nat", hook="postrouting", priority=100),
        _chain(name, "input", kind="nat", hook="input", priority=100),
        *_rules(name, "lead", [p for p in wanted if p.target]),
        *(_rule(name, chain, {"jump": {"target": "lead"}}) for chain in ("output", "prerouting")),
        # Also where nothing is led now: without a rule that needs it the kernel stops tracking connections, and
        # those that it meets again later it takes for new ones, which may get another port in their middle.
        *(_apart(name, ports, flip_ports=flip_ports) if ports else ()),
        _chain(name, "refuse", kind="filter", hook="input", priority=0),
        *_rules(name, "refuse", [p for p in wanted if p.target is None]),
    ]


def refusing(name: str, wanted: Sequence[Passage]) -> list[Json]:
    """The commands for a kernel without NAT: a port that is not live refuses new connections."""
    return [
        *_emptied(name),
        *_marking(name),
        _chain(name, "refuse", kind="filter", hook="input", priority=0),
        *_rules(name, "refuse", [p if p.target == p.endpoint else replace(p, target=None) for p in wanted]),
    ]


def led(listing: Json) -> int:
    """How many connections the rules have led to another port than they were made to, since the rules were set."""
    rules = [item["rule"]["expr"] for item in listing["nftables"] if "comment" in item.get("rule", {})]
    return sum(
        expression["counter"]["packets"]
        for expressions in rules
        if any("dnat" in expression for expression in expressions)
        for expression in expressions
        if "counter" in expression
    )


def removal(name: str) -> list[Json]:
    """The commands that leave nothing of the table, whether it is there or not."""
    table = {"table": {"family": _FAMILY, "name": name}}
    return [{"add": table}, {"delete": table}]


def reached(listing: Json) -> dict[Endpoint, Endpoint | None]:
    """Read a listing of the table: where new connections to an endpoint arrive, None where they are refused."""
    found: dict[Endpoint, Endpoint | None] = {}
    for item in listing["nftables"]:
        rule = item.get("rule", {})
        if "comment" not in rule:
            continue
        host, _, port = rule["comment"].rpartition(":")
        endpoint = Endpoint(host.strip("[]"), int(port))
        dnat: Json = next((e["dnat"] for e in rule["expr"] if "dnat" in e), {})
        refused = any("reject" in expression for expression in rule["expr"])
        target = Endpoint(dnat.get("addr", endpoint.host), dnat.get("port", endpoint.port))
        found[endpoint] = None if refused else target
    return found


# -- rules ----------------------------------------------------------------------------------------


def _emptied(name: str) -> list[Json]:
    # Emptied, never deleted: without its chains the kernel would stop translating the connections that were led.
    table = {"table": {"family": _FAMILY, "name": name}}
    return [{"add": table}, {"flush": table}]


def _marking(name: str) -> Iterator[Json]:
    """Before any other chain sees it. Only these packets know whose they are: on arrival there is no socket yet."""
    yield _chain(name, "probes", kind="filter", hook="output", priority=-150)
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": PROBE_MARK}}
    yield _rule(name, "probes", _equal({"meta": {"key": "skgid"}}, PROBE_GROUP), mark)


def _rules(name: str, chain: str, wanted: Iterable[Passage]) -> Iterator[Json]:
    for passage in wanted:
        for match in _matches(passage):
            yield _rule(
                name,
                chain,
                _is_new(),
                _is_no_probe(),
                *match,
                {"counter": None},
                _verdict(passage),
                comment=str(passage.endpoint),
            )


def _apart(name: str, ports: Sequence[int], *, flip_ports: bool) -> Iterator[Json]:
    """Keep led connections apart from direct ones, on this machine (postrouting) and from others (input)."""
    was_led = [
        {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}},
        _fib_local(),
        _equal({"payload": {"protocol": "tcp", "field": "dport"}}, {"set": list(ports)}),
    ]
    flipped = {"^": [{"payload": {"protocol": "tcp", "field": "sport"}}, LED_BIT]}
    if flip_ports:
        source = {"payload": {"protocol": "tcp", "field": "sport"}}
        no_zero = {"match": {"op": "!=", "left": source, "right": LED_BIT}}  # nobody can answer to port 0
        yield _rule(name, "postrouting", *was_led, no_zero, {"snat": {"port": flipped}})
        yield _rule(name, "input", *was_led, no_zero, {"snat": {"port": flipped}})
    else:
        loopback = _equal({"payload": {"protocol": "ip", "field": "saddr"}}, "127.0.0.1")
        yield _rule(
            name, "postrouting", loopback, *was_led, {"snat": {"family": "ip", "addr": SPARE_ADDRESS}}
        )


def _verdict(passage: Passage) -> Json:
    target = passage.target
    if target is None:
        return {"reject": {"type": "tcp reset"}}
    if target == passage.endpoint:
        return {"accept": None}
    if passage.everywhere or target.host == passage.endpoint.host:
        return {"dnat": {"port": target.port}}  # the address stays, whichever it was
    address = _addresses(target.host)[0]
    return {"dnat": {"family": _protocol(address), "addr": str(address), "port": target.port}}


def _matches(passage: Passage) -> Iterator[tuple[Json, Json]]:
    port = _equal({"payload": {"protocol": "tcp", "field": "dport"}}, passage.endpoint.port)
    if passage.everywhere:
        yield _fib_local(), port
        return
    for address in _addresses(passage.endpoint.host):
        field = {"payload": {"protocol": _protocol(address), "field": "daddr"}}
        yield _equal(field, str(address)), port


def _is_new() -> Json:
    flags = {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn", "rst", "ack"]]}
    return _equal(flags, "syn")


def _is_no_probe() -> Json:
    return {"match": {"op": "!=", "left": {"meta": {"key": "mark"}}, "right": PROBE_MARK}}


def _fib_local() -> Json:
    return _equal({"fib": {"result": "type", "flags": ["daddr"]}}, "local")


def _equal(left: Json, right: object) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def _rule(name: str, chain: str, *expressions: Json, comment: str = "") -> Json:
    rule = {"family": _FAMILY, "table": name, "chain": chain, "expr": list(expressions)}
    return {"add": {"rule": {**rule, "comment": comment} if comment else rule}}


def _chain(name: str, chain: str, *, kind: str = "", hook: str = "", priority: int = 0) -> Json:
    base = {"type": kind, "hook": hook, "prio": priority, "policy": "accept"} if kind else {}
    return {"add": {"chain": {"family": _FAMILY, "table": name, "name": chain, **base}}}


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return sorted({ipaddress.ip_address(entry[4][0]) for entry in found}, key=str)


def _protocol(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return "ip" if address.version == 4 else "ip6"
