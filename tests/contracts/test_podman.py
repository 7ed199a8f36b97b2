"""What only containers of Podman's do, on each runtime that may be beside it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Container, Mount
from substitute.core.model.slots import Endpoint
from substitute.linux.listeners import on
from substitute.linux.processes import command_line, every, is_alive, name, parent
from substitute.probing.instances import LocalInstances
from substitute.values import replace
from tests.contracts.podmans import Podmans
from tests.contracts.runtimes import KINDS
from tests.contracts.test_runtime import POLITE, Place
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.programs import Process

pytestmark = pytest.mark.containers
ON_BOTH = [kind for kind in KINDS if str(kind.values[0]).startswith("podman")]
ANSWERS = (
    "import http.server, signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
    "http.server.HTTPServer(('0.0.0.0', 80), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
)


@pytest.fixture(params=ON_BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path / "deploy" / "run")
    yield made
    made.close()


def polite(place: Place, **more: object) -> Process:
    (place.run / "polite.py").write_text(POLITE)
    program = place.program(f"{sys.executable} -S -E polite.py", {"SECRET": "not to be seen"}, **more)
    process = place.runtime.start(program)
    place.started.append(process)
    place.logged("ready")
    return process


def clients(place: Place) -> list[int]:
    called = place.runtime._called("shop_a")  # type: ignore[attr-defined]
    return [pid for pid in every() if name(pid) == "podman" and f"--name={called}" in command_line(pid)]


def is_forgotten(place: Place) -> bool:
    assert place.podman
    return place.podman.knows(place.run.parent.parent) == ""


def test_its_process_is_that_of_the_container_as_this_machine_sees_it(place: Place) -> None:
    process = polite(place)
    assert command_line(process.pid)[-1] == "polite.py"
    assert Path(f"/proc/{process.pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()


def test_a_clean_stop_leaves_nothing(place: Place) -> None:
    process = polite(place)
    assert not place.runtime.stop("shop_a", process, timeout=10.0).killed
    assert is_forgotten(place)
    assert not clients(place)
    assert not list(place.run.glob("*.container"))


def test_one_that_ignores_the_signal_as_the_first_process_is_killed_at_its_limit(place: Place) -> None:
    process = place.start("sleep 600")
    assert place.runtime.stop("shop_a", process, timeout=0.5).killed
    assert is_forgotten(place)
    assert place.runtime.inspect("shop_a").process is None


@pytest.mark.parametrize("which", ["the program", "its watchman", "its client"])
def test_whatever_is_killed_it_runs_again_once_and_can_be_stopped(place: Place, which: str) -> None:
    first = polite(place)
    watchman = parent(first.pid)
    assert watchman
    pid = {"the program": first.pid, "its watchman": watchman, "its client": clients(place)[0]}[which]
    os.kill(pid, signal.SIGKILL)

    def is_kept() -> bool:
        found = place.runtime.inspect("shop_a")
        return found.process is not None and is_alive(found.process) and found.wanted and bool(clients(place))

    if which == "its client" and place.kind == "podman on systemd":
        assert (
            place.runtime.inspect("shop_a").process == first
        )  # it has done its work: systemd watches the watchman
    else:
        eventually(lambda: not is_alive(first), "the first one is gone")
        eventually(is_kept, "the next one")
        eventually(lambda: place.log.count("ready") == 2, "its word")
    last = place.runtime.inspect("shop_a").process
    assert place.runtime.trace("shop_a") == last
    assert not place.runtime.stop("shop_a", last, timeout=20.0).killed
    assert place.runtime.inspect("shop_a").process is None
    assert is_forgotten(place)


def test_what_its_runtime_has_lost_is_known_and_stopped(place: Place) -> None:
    """Where supervisord and the client were killed, the container goes on alone. A unit does not."""
    if place.kind != "podman on supervisord":
        pytest.skip("a unit ends with its watchman")
    process = polite(place)
    place.runtime.abandon()
    os.kill(clients(place)[0], signal.SIGKILL)
    assert place.runtime.trace("shop_a") == process
    with pytest.raises(RuntimeFailedError, match="runs already"):
        place.start()
    assert not place.runtime.stop("shop_a", process, timeout=10.0).killed
    assert not is_alive(process)
    assert is_forgotten(place)


def test_what_nobody_watches_any_more_is_stopped_and_forgotten(place: Place) -> None:
    """Podman would think for ever that it runs."""
    if place.kind != "podman on supervisord":
        pytest.skip("a unit ends with its watchman")
    process = polite(place)
    watchman = parent(process.pid)
    assert watchman
    place.runtime.abandon()
    for pid in (clients(place)[0], watchman):
        os.kill(pid, signal.SIGKILL)
    assert is_alive(process)
    assert not place.runtime.stop("shop_a", process, timeout=10.0).killed
    assert not is_alive(process)
    assert is_forgotten(place)


def test_one_whose_client_is_killed_while_it_starts_can_be_started_again(place: Place) -> None:
    for _ in range(3):
        child = os.fork()
        if not child:
            try:
                place.runtime.start(place.program("sleep 600", {}))
            finally:
                os._exit(0)
        eventually(lambda: clients(place), "its client")
        with_it = clients(place)
        os.kill(child, signal.SIGKILL)
        for pid in with_it:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(child, 0)
        place.runtime.stop("shop_a", None, timeout=0.0)
        assert place.runtime.trace("shop_a") is None
        assert is_forgotten(place)
    polite(place)


@pytest.mark.parametrize("told", ["exit status 3", "SIGKILL"])
def test_how_it_ended_is_told_as_of_every_other_program(place: Place, told: str) -> None:
    if told == "SIGKILL":
        process = place.start("sleep 600")
        os.kill(process.pid, signal.SIGKILL)
    else:
        process = place.start("sh -c 'sleep 0.3; exit 3'")
    eventually(lambda: place.runtime.inspect("shop_a").exit == told, "how it ended")


def test_no_value_of_its_environment_is_on_a_command_line_and_the_image_keeps_its_path(place: Place) -> None:
    process = polite(place)
    seen = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    assert b"SECRET=not to be seen" in seen
    assert f"PATH={os.environ['PATH']}".encode() not in seen
    assert not [pid for pid in every() if "not to be seen" in " ".join(command_line(pid))]
    assert (place.run / "shop_a.container").stat().st_mode & 0o777 == 0o600


def test_an_image_without_a_shell_runs_what_it_says_itself(place: Place) -> None:
    assert place.podman
    place.podman.close()
    place.podman = Podmans(place.run.parent, 'CMD ["/sleeper", "600"]')
    sleeper = Path(shutil.which("sleep") or "")
    mounts = [Mount(sleeper.resolve(), Path("/sleeper"))]
    mounts += [Mount(Path("/usr") / name, Path("/") / name) for name in ("lib", "lib64")]
    container = Container(place.podman.image, tuple(mounts))
    process = place.runtime.start(replace(place.program("", {"A": "1"}), container=container))
    place.started.append(process)
    assert command_line(process.pid) == ["/sleeper", "600"]
    assert place.runtime.inspect("shop_a").process == process


def test_a_published_port_is_its_own(place: Place) -> None:
    """Podman's watchman holds it."""
    (place.run / "answers.py").write_text(ANSWERS)
    port = free_port()
    endpoint = Endpoint("127.0.0.1", port)
    assert place.podman
    program = place.program(f"{sys.executable} -E answers.py", {})
    container = place.podman.container(place.run, published={endpoint: 80})
    process = place.runtime.start(replace(program, container=container))
    place.started.append(process)
    eventually(lambda: on(endpoint), "somebody holds the port")
    assert LocalInstances().owned(endpoint, process)

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    eventually(answers, "an answer from inside")
    assert not place.runtime.stop("shop_a", process, timeout=10.0).killed
    assert not on(endpoint)
