"""Hosts, domains and addresses, strictly: they end up in the balancer's configuration."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address, ip_network

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
NAME = rf"{_LABEL}(?:\.{_LABEL})*"
"""A host name. The underscore is no part of one, but people use it (my_app.com)."""

_LISTEN = re.compile(r"(?:\[(?P<ip6>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})")
_ANYWHERE = ("*", "::")
_LOCALHOST = ("127.0.0.1", "::1")


def parse_host(text: str) -> str:
    """An IP address, in its canonical form, or a host name.

    Raises ValueError with what was expected.
    """
    if text.startswith(("/", "unix:")):
        raise ValueError("an IP address or a host name, no unix socket: each slot is known by its TCP port")
    try:
        address = ip_address(text)
    except ValueError:
        return _name(text)
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError("an IP address without a zone (%…)")
    return str(address)


def _name(text: str) -> str:
    if len(text) > 253 or not re.fullmatch(NAME, text) or text.rpartition(".")[2].isdigit():
        raise ValueError("an IP address or a host name")
    return text


def parse_domain(text: str) -> str:
    """A domain as a browser sends it in Host, lower-cased.

    Raises ValueError with what was expected.
    """
    if "*" in text:
        raise ValueError("a domain without wildcards: list each one")
    if text.isprintable() and not text.isascii() and (ascii_form := _punycode(text)):
        raise ValueError(f'a domain in its ASCII form, "{ascii_form}"')
    try:
        host = parse_host(text.lower())
    except ValueError:
        host = ":"
    if ":" in host:
        raise ValueError('a domain such as "shop.example.com", without scheme, port or path')
    return host


def _punycode(text: str) -> str | None:
    try:
        form = text.encode("idna").decode().lower()
    except UnicodeError:
        return None
    return form if re.fullmatch(NAME, form) else None


def parse_host_header(text: str) -> str:
    """A host with an optional port, as in the Host header.

    Raises ValueError with what was expected.
    """
    match = _LISTEN.fullmatch(text if re.search(r":[0-9]+\Z", text) else f"{text}:1")
    if not match or not 1 <= int(match["port"]) <= 65535 or not _is_host(match["ip6"], match["host"]):
        raise ValueError('a host with an optional port, such as "shop.example.com"')
    return text


def _is_host(ip6: str | None, name: str | None) -> bool:
    try:
        return bool(parse_host(name or "") if ip6 is None else IPv6Address(ip6))
    except ValueError:
        return False


def parse_listen(text: str) -> str:
    """Where to listen, normalised: ``127.0.0.1:8080``, ``[::1]:80``, ``*:80``.

    Raises ValueError with what was expected.
    """
    match = _LISTEN.fullmatch(text)
    if not match or not 1 <= int(match["port"]) <= 65535:
        raise ValueError('"HOST:PORT" with a port from 1 to 65535; "*:80" listens everywhere')
    port = int(match["port"])
    if match["ip6"] is not None:
        try:
            return f"[{IPv6Address(match['ip6'].partition('%')[0])}]:{port}"
        except ValueError:
            raise ValueError('an IPv6 address in the brackets, such as "[::1]:8080"') from None
    if match["host"] in ("", "*"):
        return f"*:{port}"
    return f"{parse_host(match['host'])}:{port}"


def parse_network(text: str) -> str:
    """An IP address or a network in CIDR form.

    Raises ValueError with what was expected.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "%" in text:
        raise ValueError('an IP address or a network, such as "10.0.0.0/8"')
    return text


def overlap(one: str, other: str) -> bool:
    """Whether a port of `one` can be the same port of `other`: wildcards hold every address."""
    return any(_same(a, b) for a in _addresses(one) for b in _addresses(other))


def _addresses(host: str) -> tuple[str, ...]:
    return _LOCALHOST if host.lower() == "localhost" else (host.lower(),)


def _same(one: str, other: str) -> bool:
    if one == other or one in _ANYWHERE or other in _ANYWHERE:
        return True
    return (one == "0.0.0.0" and ":" not in other) or (other == "0.0.0.0" and ":" not in one)  # noqa: S104  compared, not bound
