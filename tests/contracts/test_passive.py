"""The gate before a user's own balancer: what the contract of all balancers does not say."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.passive.balancer import Passive
from substitute.balancers.passive.rules import table_name
from substitute.core.model.errors import BalancerError
from substitute.linux.subprocesses import Shell
from tests.contracts import passives
from tests.contracts.balanced_site import A, B, Kind, Site, site_in
from tests.contracts.namespace import Machine, second_machine
from tests.contracts.passives import Settings
from tests.contracts.strict_client import accepts, get, get_as_a_probe, load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.slots import SlotName

BEHIND_NGINX = passives.KINDS["passive behind nginx"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path / "root", BEHIND_NGINX) as made:
        made.start_both()
        yield made


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with second_machine() as made:
        yield made


def switch(site: Site, live: SlotName) -> None:
    site.route(*((100, 0) if live is A else (0, 100)))


def names(site: Site, count: int = 10) -> set[str]:
    return {get(site.listen)[1] for _ in range(count)}


def direct(site: Site, slot: SlotName) -> str:
    return get(site.endpoints[slot])[1]


def table(site: Site) -> str:
    listed = subprocess.run(
        ["nft", "list", "table", "inet", table_name(site.root)], capture_output=True, text=True, check=False
    )
    return listed.stdout


def swapping_fails_nothing(site: Site, *, seconds: str = "0") -> None:
    """Swap both slots a few times at saturation, and stop the old one each time, at once."""
    switch(site, A)
    answers: list[tuple[int, str]] = []
    slow = [
        threading.Thread(target=lambda: answers.append(get(site.listen, f"/sleep/{seconds}")))
        for _ in range(8)
    ]
    with load(site.listen, keepalive=False, clients=3) as fresh, load(site.listen, clients=3) as kept:
        for turn in range(4):
            live, old = ((B, A), (A, B))[turn % 2]
            for thread in slow[turn * 2 : turn * 2 + 2]:
                thread.start()
            site.route(50, 50)
            switch(site, live)
            assert {get(site.listen)[1]} == {f"{live}0"}
            site.drained(old)
            site.stop(f"{old}0")
            fresh.wait_for_more(20)
            site.start(f"{old}0", site.endpoints[old])
    for thread in slow:
        thread.join()
    assert fresh.failures == []
    assert kept.failures == []
    assert [status for status, _ in answers] == [200] * 8


def test_slow_requests_straddle_swaps_in_quick_succession(site: Site) -> None:
    swapping_fails_nothing(site, seconds="1")
    log = site.root / "error.log"
    assert "upstream" not in log.read_text()  # nginx never met a refused or a reset connection


PLACES = {  # a whole IPv4 is met from another machine, too
    "loopback of IPv6": ("::1", "127.0.0.1"),
    "every address": ("0.0.0.0", "127.0.0.1"),
    "every address of both families": ("::", "127.0.0.1"),
}


@pytest.mark.parametrize(
    "place", [pytest.param(one, marks=pytest.mark.long if one == "every address" else ()) for one in PLACES]
)
def test_an_app_may_listen_on(tmp_path: Path, place: str) -> None:
    host, door = PLACES[place]
    kind = replace(
        BEHIND_NGINX, make=partial(passives.make, partial(passives.nginx, reach=host)), host=host, door=door
    )
    with site_in(tmp_path / "root", kind) as site:
        site.start_both()
        swapping_fails_nothing(site)


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_balancer_may_be_another_machine(tmp_path: Path, machine: Machine, everywhere: bool) -> None:  # noqa: FBT001
    host = "0.0.0.0" if everywhere else machine.here
    command = partial(passives.nginx, reach=machine.here, run=machine.command)
    kind = replace(BEHIND_NGINX, make=partial(passives.make, command), host=host, door=machine.there)
    with site_in(tmp_path / "root", kind) as site:
        site.start_both()
        swapping_fails_nothing(site)


def test_an_app_that_listens_everywhere_is_led_everywhere_whatever_its_host(
    tmp_path: Path, machine: Machine
) -> None:
    command = partial(passives.nginx, reach=machine.here, run=machine.command)
    kind = replace(BEHIND_NGINX, make=partial(passives.make, command), door=machine.there)
    with site_in(tmp_path / "root", kind) as site:
        for slot, endpoint in site.endpoints.items():
            site.start(f"{slot}0", replace(endpoint, host="0.0.0.0"))
        for live, name in ((B, "b0"), (A, "a0")):
            switch(site, live)
            assert names(site) == {name}


def test_both_ports_always_answer_and_a_probe_reaches_the_one_it_means(site: Site) -> None:
    switch(site, A)
    assert (direct(site, A), direct(site, B)) == ("a0", "a0")
    assert get_as_a_probe(site.endpoints[B], "/") == (200, "b0")
    site.route(50, 50)
    assert (direct(site, A), direct(site, B)) == ("a0", "b0")
    switch(site, B)
    assert (direct(site, A), direct(site, B)) == ("b0", "b0")
    assert get_as_a_probe(site.endpoints[A], "/") == (200, "a0")


ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


def asked_by_a_program(site: Site, slot: SlotName, *, probes: bool, user: str | None = None) -> str:
    """What a program that knows nothing of marks is answered, or the error."""
    return (
        Shell()
        .run(
            ["/usr/bin/env", "python3", "-c", ASK, f"http://{site.endpoints[slot]}/"],
            directory=Path("/"),
            environment=os.environ,
            on_line=lambda _: None,
            on_start=lambda _: None,
            user=user,
            probes=probes,
        )
        .tail[-1]
    )


@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_program_that_probes_reaches_the_one_it_means(site: Site, user: str | None) -> None:
    ask = partial(asked_by_a_program, site, user=user)
    switch(site, A)
    assert (ask(B, probes=False), ask(B, probes=True)) == ("a0", "b0")
    site.route(0, 0)
    assert "refused" in ask(A, probes=False)
    assert ask(A, probes=True) == "a0"


def test_the_app_sees_its_client_and_not_an_address_of_ours(site: Site) -> None:
    switch(site, A)
    for slot in (A, B):
        assert get(site.endpoints[slot], "/peer")[1] == "127.0.0.1"


def test_where_nothing_serves_new_connections_are_refused_and_probes_are_not(site: Site) -> None:
    switch(site, A)
    site.route(0, 0)
    assert not accepts(site.endpoints[A])
    assert not accepts(site.endpoints[B])
    assert get_as_a_probe(site.endpoints[A], "/") == (200, "a0")


def test_the_gate_outlives_its_process_and_another_one_reads_it(site: Site) -> None:
    switch(site, B)
    other = Passive(site.root, Settings(), site.warnings.append)
    traffic = other.traffic()
    assert traffic is not None
    assert {endpoint: seen.share for endpoint, seen in traffic.items()} == {
        site.endpoints[A]: 0,
        site.endpoints[B]: 100,
    }
    other.stop()
    assert table(site) == ""
    assert Passive(site.root, Settings(), site.warnings.append).traffic() is None


def test_rules_that_somebody_flushed_are_noticed_and_come_back(site: Site) -> None:
    switch(site, B)
    subprocess.run(["nft", "delete", "table", "inet", table_name(site.root)], check=True)
    assert Passive(site.root, Settings(), site.warnings.append).traffic() is None
    switch(site, B)
    assert direct(site, A) == "b0"


def test_a_new_gate_does_not_lead_as_an_earlier_one_has_led() -> None:
    """The kernel remembers connections that it has led, for days where it does not see how they end."""
    run = f"ip link set lo up && {sys.executable} -m tests.contracts.gate_again"
    done = subprocess.run(["unshare", "--net", "sh", "-c", run], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["b", "a"]


def test_other_tables_and_other_roots_are_left_alone(site: Site, tmp_path: Path) -> None:
    foreign = f"stranger{os.getpid()}"
    subprocess.run(["nft", f"add table inet {foreign}"], check=True)
    subprocess.run(["nft", f"add chain inet {foreign} mine"], check=True)
    try:
        before = subprocess.run(
            ["nft", "-a", "list", "table", "inet", foreign], capture_output=True, check=True
        )
        with site_in(tmp_path / "other", BEHIND_NGINX) as other:
            other.start_both()
            switch(site, A)
            switch(other, B)
            assert (names(site), names(other)) == ({"a0"}, {"b0"})
            switch(other, A)
            assert (names(site), names(other)) == ({"a0"}, {"a0"})
        assert table(other) == ""
        assert direct(site, B) == "a0"
        after = subprocess.run(
            ["nft", "-a", "list", "table", "inet", foreign], capture_output=True, check=True
        )
        assert after.stdout == before.stdout
    finally:
        subprocess.run(["nft", f"delete table inet {foreign}"], check=True)


def test_whoever_listens_where_nothing_of_ours_runs_keeps_its_connections(site: Site) -> None:
    first, second = site.shop(100, 0).servers
    idle = [replace(site.shop(100, 0), servers=(first, replace(second, claimed=False)))]
    site.balancer.route(idle)
    assert direct(site, B) == "b0"
    assert str(site.endpoints[B]) in site.warnings[-1]
    site.stop("b0")
    site.balancer.route(idle)
    assert direct(site, B) == "a0"
    site.start("b0", site.endpoints[B])
    site.balancer.route(idle)  # led before it came: it is what a slot of ours has left behind
    assert direct(site, B) == "a0"


def test_rules_of_others_that_lead_elsewhere_are_noticed(site: Site) -> None:
    foreign = f"stranger{os.getpid()}"
    a, b = site.endpoints[A].port, site.endpoints[B].port
    rules = (
        f"table ip {foreign} {{\nchain out {{ type nat hook output priority -150\n"
        f"tcp dport {b} redirect to :{a}\n}}\n}}\n"
    )
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        with pytest.raises(BalancerError, match=rf"arrive at port {a}"):
            switch(site, B)
    finally:
        subprocess.run(["nft", f"delete table ip {foreign}"], check=True)
    switch(site, B)


def test_a_pool_of_kept_connections_is_counted_until_it_is_gone(tmp_path: Path) -> None:
    kind = replace(BEHIND_NGINX, make=partial(passives.make, partial(passives.nginx, pool=True)))
    with site_in(tmp_path / "root", kind) as site:
        site.start_both()
        switch(site, A)
        names(site)
        switch(site, B)
        assert site.traffic(A).in_flight >= 1
        site.restart_balancer()
        site.drained(A)
        assert names(site) == {"b0"}


# -- where there can be no gate -------------------------------------------------------------------


@dataclass(frozen=True)
class Lacking:
    """An ``nft`` that stands for a machine which lacks something."""

    script: str
    gate: str = "auto"

    def install(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it first on PATH."""
        directory.mkdir()
        (directory / "nft").write_text(f"#!/bin/sh\n{self.script}\n")
        (directory / "nft").chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


NO_PRIVILEGE = Lacking("echo 'Operation not permitted (you must be root)' >&2; exit 1")
NO_NAT = Lacking(
    'input=$(cat)\ncase "$input" in *\'"nat"\'*) echo "Error: Could not process rule: Not supported" >&2; exit 1;; '
    f'*) printf "%s" "$input" | {shutil.which("nft") or "/usr/sbin/nft"} "$@";; esac'
)


def test_without_privilege_it_is_said_what_may_fail_and_what_helps(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NO_PRIVILEGE.install(tmp_path / "bin", monkeypatch)
    balancer = Passive(site.root, Settings("auto", 0.0), site.warnings.append)
    for shares in ((100, 0), (50, 50), (0, 100)):
        balancer.route([site.shop(*shares)])
    assert balancer.traffic() is None
    assert not balancer.follow([site.shop(0, 100)])  # another kind may take its place
    (warning,) = site.warnings
    for words in ("may not change the packet filter", "not accepted yet", "CAP_NET_ADMIN"):
        assert words in warning
    strict = Passive(site.root, Settings("nft"), site.warnings.append)
    with pytest.raises(BalancerError, match="may not change the packet filter"):
        strict.route([site.shop(100, 0)])


def test_without_nft_it_is_said_how_to_get_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    balancer = Passive(site.root, Settings("auto", 0.0), site.warnings.append)
    balancer.route([site.shop(100, 0)])
    assert "apt install nftables" in site.warnings[0]
    balancer.stop()


def test_a_gate_that_can_no_longer_be_changed_is_no_reason_to_stop_the_old_instance(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch(site, A)
    with monkeypatch.context() as lacking:
        NO_PRIVILEGE.install(tmp_path / "bin", lacking)
        balancer = Passive(site.root, Settings("auto", 0.0), site.warnings.append)
        with pytest.raises(BalancerError, match="rules of substitute that this user may not change"):
            balancer.route([site.shop(50, 50)])


def test_a_kernel_without_nat_refuses_new_connections_and_lets_the_balancer_notice(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NO_NAT.install(tmp_path / "bin", monkeypatch)
    slept: list[float] = []
    monkeypatch.setattr("substitute.balancers.passive.balancer.time.sleep", slept.append)
    balancer = Passive(site.root, Settings("auto", 10.0), site.warnings.append)
    balancer.route([site.shop(100, 0)])
    assert "no NAT" in site.warnings[0]
    assert direct(site, A) == "a0"
    assert not accepts(site.endpoints[B])
    assert get_as_a_probe(site.endpoints[B], "/") == (200, "b0")
    slept.clear()
    balancer.route([site.shop(50, 50)])
    assert slept == [11.0]  # nginx avoids a server for that long after it refused
    balancer.route([site.shop(0, 100)])
    assert slept == [11.0]
    assert not accepts(site.endpoints[A])
    with socket.create_connection((site.endpoints[B].host, site.endpoints[B].port)):
        # The app may take a moment to close the connection of the probe before this one.
        eventually(lambda: (balancer.traffic() or {})[site.endpoints[B]].in_flight == 1)
        seen = balancer.traffic()
        assert seen is not None
        assert (seen[site.endpoints[A]].share, seen[site.endpoints[B]].in_flight) == (0, 1)
    balancer.stop()


def test_without_a_gate_the_origins_swap_waits_until_nginx_takes_the_slot_again(tmp_path: Path) -> None:
    settings = Settings("none", 1.0)
    kind = Kind(
        partial(passives.make, partial(passives.nginx, fail_timeout="1s"), settings=settings),
        passives.restart,
        weighs=False,
        counts=False,
    )
    with site_in(tmp_path / "root", kind) as site:
        site.start("a0", site.endpoints[A])
        switch(site, A)
        names(site)  # nginx meets the closed port of b
        with load(site.listen, methods=("GET",), clients=3) as gets:
            for turn in range(3):
                live, old = ((B, A), (A, B))[turn % 2]
                site.start(f"{live}0", site.endpoints[live])
                site.route(50, 50)
                switch(site, live)
                site.stop(f"{old}0")
                gets.wait_for_more(20)
        assert gets.failures == []
        assert site.warnings == []


def test_it_says_whether_a_switch_has_to_be_noticed(site: Site, tmp_path: Path) -> None:
    switch(site, A)
    another = Passive(site.root, Settings(), print)  # another process, as `status` is
    assert site.balancer.notices_after() == another.notices_after() == 0.0
    without = Passive(tmp_path, Settings(gate="none", fail_timeout=10.0), print)
    assert without.notices_after() == 11.0
    assert Passive(tmp_path, Settings(gate="none", fail_timeout=0.0), print).notices_after() == 0.0
