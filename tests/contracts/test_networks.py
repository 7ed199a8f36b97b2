"""The network that machines of tests are plugged into."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.machines import UNAVAILABLE, Machine
from tests.networks import Network
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE)


GREETS = 9000
GREETER = f"""
import socket
import sys
server = socket.create_server(("", {GREETS}))
held = []
while True:
    held.append(server.accept()[0])
    held[-1].send(b"x")
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Network, Machine, Machine]]:
    """Two machines at 21 and 22."""
    with Network() as network, Machine(engine=True) as one, Machine() as other:
        network.plug(one, 21)
        network.plug(other, 22)
        yield network, one, other


def says(address: str, port: int = 9) -> str:
    """What somebody says who connects: at the usual port nobody listens."""
    try:
        socket.create_connection((address, port), timeout=1.0).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"
    return "open"


def test_machines_reach_each_other_and_this_one(pair: tuple[Network, Machine, Machine]) -> None:
    network, one, other = pair
    assert says(network.address(21)) == says(network.address(22)) == "refused"
    assert one.call(lambda: says(network.address(22))) == "refused"
    assert other.call(lambda: says(network.here)) == "refused"
    assert says(network.address(23)) == "silent"


def test_one_that_lost_its_power_is_silent_and_comes_back_with_its_disk(
    pair: tuple[Network, Machine, Machine],
) -> None:
    network, one, _ = pair
    one.run("touch", "/srv/kept", "/var/lib/containerd/kept", "/run/lost")
    one.run("systemd-run", "--unit=greeter", sys.executable, "-c", GREETER)
    eventually(lambda: says(network.address(21), GREETS) == "open", "somebody listens there")
    with socket.create_connection((network.address(21), GREETS), timeout=30.0) as client:
        assert client.recv(1) == b"x"
        network.pull(21)
        one.power_off()
        client.settimeout(1.0)
        with pytest.raises(TimeoutError):
            client.recv(1)  # neither an end nor a reset
    assert says(network.address(21)) == "silent"
    one.power_on()
    network.plug(one, 21)
    assert says(network.address(21)) == "refused"
    files = [Path("/srv/kept"), Path("/var/lib/containerd/kept"), Path("/run/lost")]
    assert one.call(lambda: [file.exists() for file in files]) == [True, True, False]


def test_two_networks_do_not_meet(pair: tuple[Network, Machine, Machine]) -> None:
    network, *_ = pair
    with Network() as second:
        assert second.here != network.here
        link = Path("/sys/class/net") / second._link
        assert link.exists()
    eventually(lambda: not link.exists(), "its link is gone")


def test_an_overlay_can_lie_where_containers_are_to_run(pair: tuple[Network, Machine, Machine]) -> None:
    for place in ("/var/lib/containerd", "/var/lib/kubelet"):
        layers = [f"{place}/{name}" for name in ("lower", "upper", "work", "whole")]
        pair[1].run("mkdir", *layers)
        lower, upper, work, whole = layers
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        pair[1].run("mount", "-t", "overlay", "overlay", "-o", options, whole)
        pair[1].run("umount", whole)
