"""Which container a process is in, by the text of its cgroup."""

from __future__ import annotations

import pytest

from substitute.linux.containers import container_in

ID = "3f" * 32


@pytest.mark.parametrize(
    ("cgroup", "found"),
    [
        (f"0::/system.slice/docker-{ID}.scope\n", ("docker", ID)),
        (f"12:pids:/docker/{ID}\n0::/docker/{ID}\n", ("docker", ID)),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", ("podman", ID)),
        ("0::/system.slice/docker.service\n", None),
        ("0::/system.slice/shop.service\n", None),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
    ],
)
def test_a_container_is_told_by_its_cgroup(cgroup: str, found: tuple[str, str] | None) -> None:
    assert container_in(cgroup) == found
