from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.balancers.haproxy import file
from substitute.balancers.haproxy.adjusting import adjusted, serves
from substitute.balancers.haproxy.configuration import leads, render, structure
from substitute.balancers.haproxy.names import of_servers
from substitute.balancers.haproxy.settings import Settings
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server

SETTINGS = Settings(
    listen="127.0.0.1:8080",
    binary=None,
    client_timeout=60.0,
    server_timeout=3600.0,
    trusted_proxies=("127.0.0.0/8", "::1"),
)
A, B = SlotName.A, SlotName.B


def backend(a: int = 100, b: int = 0, **changes: object) -> Backend:
    servers = (Server(A, Endpoint("127.0.0.1", 3001), a), Server(B, Endpoint("127.0.0.1", 3002), b))
    return replace(Backend("shop", (), servers), **changes)  # type: ignore[arg-type]


def lines(*backends: Backend, settings: Settings = SETTINGS) -> list[str]:
    return [line.strip() for line in render(settings, backends).splitlines()]


apps = st.builds(
    Backend,
    app=st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
    domains=st.lists(st.from_regex(r"[a-z0-9]{1,9}\.example", fullmatch=True), max_size=3).map(tuple),
    servers=st.lists(
        st.builds(
            Server,
            slot=st.sampled_from(SlotName),
            endpoint=st.builds(
                Endpoint, host=st.sampled_from(("127.0.0.1", "::1", "app.lan")), port=st.integers(1, 65535)
            ),
            share=st.integers(0, 100),
            checked=st.booleans(),
        ),
        max_size=4,
    ).map(tuple),
    assets=st.sampled_from(((), ("/assets/",))),
    spare=st.sampled_from((None, *SlotName)),
)
roots = st.lists(apps, max_size=4, unique_by=lambda app: app.app)


def placed(root: list[Backend]) -> dict[tuple[str, str], tuple[str, int]]:
    """In both backends of each app; the weights of the first one are for both. With assets in two more."""
    found = {}
    for app in root:
        for name, server in of_servers(app):
            found[f"app_{app.app}", name] = (str(server.endpoint), server.share)
            found[f"app_{app.app}_kept", name] = (str(server.endpoint), 0)
            if app.assets:
                last = 0 if app.spare in {None, server.slot} else 100
                found[f"app_{app.app}_other_{server.slot}", name] = (str(server.endpoint), 0)
                found[f"app_{app.app}_last", name] = (str(server.endpoint), last)
        if any(server.checked for server in app.servers):
            shared = any(server.share for server in app.servers)
            found[f"app_{app.app}", "wait"] = ("127.0.0.1:0", int(shared))
            if app.assets:
                found[f"app_{app.app}_last", "wait"] = ("127.0.0.1:0", int(app.spare is not None))
    return found


@given(roots)
def test_every_server_stands_in_its_backend_with_its_address_and_share(root: list[Backend]) -> None:
    text = render(SETTINGS, root)
    assert file.servers(text) == placed(root)
    assert file.apps(text) == {app.app for app in root}
    assert serves(text, root)


@given(roots, st.integers(0, 100), st.integers(1, 65535))
def test_shares_domains_and_addresses_do_not_change_the_structure(
    root: list[Backend], share: int, port: int
) -> None:
    def changed(server: Server) -> Server:
        here = server.endpoint
        return replace(
            server, share=share, endpoint=here if here.host == "app.lan" else Endpoint("::1", port)
        )

    other = [
        replace(app, domains=("x.example",), servers=tuple(map(changed, app.servers)), spare=SlotName.A)
        for app in root
    ]
    assert structure(SETTINGS, root) == structure(SETTINGS, other)
    assert adjusted(render(SETTINGS, root), other) == render(SETTINGS, other)


@given(roots, st.integers(0, 100))
def test_a_file_serves_what_it_was_adjusted_to_or_says_that_it_cannot(
    root: list[Backend], share: int
) -> None:
    other = [
        replace(app, servers=tuple(replace(server, share=share) for server in app.servers)) for app in root
    ]
    text = adjusted(render(SETTINGS, root), other)
    assert file.servers(text) == placed(other)
    assert serves(text, [*other, replace(backend(share), app="new-one")]) is (share == 0)


def test_an_app_that_is_gone_gets_nothing() -> None:
    text = adjusted(render(SETTINGS, [backend(), backend(app="blog")]), [backend()])
    assert {share for (app, _), (_, share) in file.servers(text).items() if "blog" in app} == {0}


@pytest.mark.parametrize(
    "changed",
    [
        backend(app="blog"),
        backend(servers=(Server(A, Endpoint("127.0.0.1", 3001), 100),)),
        backend(servers=backend().servers[::-1]),
        backend(assets=("/assets/",)),
        backend(servers=(Server(A, Endpoint("app.lan", 3001), 100), backend().servers[1])),
    ],
)
def test_all_else_of_an_app_does(changed: Backend) -> None:
    assert structure(SETTINGS, [backend()]) != structure(SETTINGS, [changed])


def test_a_file_without_its_assets_still_serves_an_app() -> None:
    """They come into force with the next reload, which a deployment asks for."""
    changed = backend(assets=("/assets/",), spare=B)
    assert serves(render(SETTINGS, [backend()]), [changed])


def test_a_running_haproxy_takes_no_name_for_an_address() -> None:
    named = backend(servers=(Server(A, Endpoint("app.lan", 3001), 100), backend().servers[1]))
    assert not serves(adjusted(render(SETTINGS, [backend()]), [named]), [named])


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTINGS, listen="*:80"),
        replace(SETTINGS, client_timeout=5.0),
        replace(SETTINGS, server_timeout=5.0),
        replace(SETTINGS, trusted_proxies=()),
    ],
)
def test_and_so_do_the_settings(changed: Settings) -> None:
    assert structure(SETTINGS, [backend()]) != structure(changed, [backend()])


def test_the_file_names_its_own_structure() -> None:
    assert file.description(render(SETTINGS, [backend()])) == structure(SETTINGS, [backend()])


def test_an_earlier_address_is_one_of_its_own() -> None:
    text = render(SETTINGS, [backend()], ["127.0.0.1:80", "[::1]:80"])
    assert file.listen(text) == SETTINGS.listen
    assert file.earlier(text) == ("127.0.0.1:80", "[::1]:80")
    assert file.description(text) != structure(SETTINGS, [backend()])
    assert file.earlier(render(SETTINGS, [backend()])) == ()


def test_a_slot_with_several_endpoints_numbers_them() -> None:
    servers = tuple(Server(A, Endpoint("127.0.0.1", port), 50) for port in (3001, 3003))
    assert {name for name, _ in of_servers(backend(servers=servers))} == {"a0", "a1"}


def test_an_app_without_domains_gets_what_is_nobodys() -> None:
    blog = backend(app="blog", domains=("Blog.Example.COM", "b.example"))
    assert leads([blog, backend()]) == {
        "blog.example.com": "app_blog",
        "b.example": "app_blog",
        "*": "app_shop",
    }
    assert "*" not in leads([blog])


def test_a_file_of_the_first_version_says_what_it_has_and_how_long_its_workers_stay() -> None:
    text = "global\n    hard-stop-after 35s\nfrontend front\n    bind *:80\nbackend app_shop\n"
    text += "    server a0 127.0.0.1:3001 weight 100\n"
    assert (file.listen(text), file.hard_stop(text), file.leads_by_map(text)) == ("*:80", 35, False)
    assert serves(adjusted(text, [backend()]), [backend()])
    assert file.hard_stop(render(SETTINGS, [backend()])) == 0
    assert file.leads_by_map(render(SETTINGS, [backend()]))


def test_timeouts_are_those_of_the_settings() -> None:
    found = lines(backend(), settings=replace(SETTINGS, client_timeout=0.25, server_timeout=7200.0))
    assert {"timeout client 250ms", "timeout server 7200000ms"} <= set(found)


def test_where_nobody_is_trusted_what_clients_say_of_forwarding_is_always_removed() -> None:
    trusting, strict = lines(backend()), lines(backend(), settings=replace(SETTINGS, trusted_proxies=()))
    assert "http-request del-header X-Forwarded- -m beg unless trusted" in trusting
    assert "http-request del-header X-Forwarded- -m beg" in strict
    assert not any("trusted" in line for line in strict)
