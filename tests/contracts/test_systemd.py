"""What systemd does beyond the promise of every runtime, and what it must not cost."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.errors import RuntimeFailedError
from substitute.core.ports import Limits, Protection
from substitute.processes import identify, is_alive, signal_process
from tests.contracts.test_runtime import SLEEPER, Place, eventually
from tests.machines import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.ports import Log

pytestmark = pytest.mark.machine
PYTHON = f"{sys.executable} -S -E"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place("systemd", tmp_path / "deploy" / "run")
    yield made
    made.close()


def unit(place: Place) -> str:
    return place.runtime._names.service("shop_a")  # type: ignore[attr-defined, no-any-return]


def cgroup(place: Place) -> Path:
    slice_ = place.runtime._names.slice  # type: ignore[attr-defined]
    hybrid = Path("/sys/fs/cgroup/unified")
    return Path(hybrid if hybrid.exists() else hybrid.parent, "substitute.slice", slice_, unit(place))


def test_a_start_never_costs_a_reload(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second, more on a machine with many units."""
    bus = place.runtime._bus  # type: ignore[attr-defined]
    called: list[str] = []
    real = bus.call

    def call(method: str, *more: object) -> object:
        called.append(method)
        return real(method, *more)

    monkeypatch.setattr(bus, "call", call)
    for number in range(3):  # a new unit, and a changed one
        process = place.runtime.start(place.program(f"sleep 60{number}", {}))
        place.runtime.inspect("shop_a")
        place.runtime.stop("shop_a", process, timeout=5.0)
        place.runtime.inspect("shop_a")
    assert called.count("StartUnit") == 3
    assert "Reload" not in called


def test_it_survives_a_systemd_that_executes_itself_anew(place: Place) -> None:
    process = place.start()
    subprocess.run(["systemctl", "daemon-reexec"], check=True)
    assert place.runtime.inspect("shop_a").process == process
    assert not place.runtime.stop("shop_a", process, timeout=5.0).killed
    assert is_alive(place.start())


def test_it_survives_the_logout_of_the_user_who_started_it(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tests.contracts.test_runtime import Place\n"
        "place = Place('systemd-user', Path.home() / 'logout' / 'deploy' / 'run'); print(place.start().pid, flush=True)"
    )
    command = f"cd {Path.cwd()}; {sys.executable} -c {shlex.quote(code)}; echo $XDG_SESSION_ID; sleep 600"
    with subprocess.Popen(["su", "-l", USER, "-c", command], stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout
        pid, number = session.stdout.readline().strip(), session.stdout.readline().strip()
        process = identify(int(pid))
        assert process
        subprocess.run(["loginctl", "terminate-session", number], check=True)
        session.wait()
    assert is_alive(process)
    signal_process(process, signal.SIGKILL)


def test_nothing_that_it_left_behind_survives_a_stop(place: Place) -> None:
    daemon = "import os, time; os.fork() or (os.setsid(), os.fork() or (print('away', flush=True), time.sleep(600)))"
    process = place.start(f'{PYTHON} -c "{daemon}; import time; time.sleep(600)"')
    place.logged("away")
    assert len((cgroup(place) / "cgroup.procs").read_text().split()) >= 2
    place.runtime.stop("shop_a", process, timeout=5.0)
    assert not cgroup(place).exists()


def test_an_instance_past_its_memory_is_killed_and_started_again(place: Place) -> None:
    hungry = (
        f"{PYTHON} -c \"import time; print('hungry', flush=True); x = b'1' * (200 << 20); time.sleep(600)\""
    )
    place.runtime.start(place.program(hungry, {}, limits=Limits(memory=64 << 20)))
    eventually(lambda: place.runtime.inspect("shop_a").restarts not in {None, 0}, "it was killed")
    eventually(lambda: "SIGKILL" in place.runtime.inspect("shop_a").exit, "it says so")


@pytest.mark.machine(unified=True)
def test_a_kill_for_want_of_memory_is_called_so(place: Place) -> None:
    """Told to systemd as its own out-of-memory daemon does; it learns of the kernel's own kills where v2 has memory."""
    process = place.start("sh -c 'if [ -e once ]; then sleep 1; exit 3; fi; touch once; sleep 600'")
    eventually((place.run / "once").exists, "it runs")
    os.setxattr(cgroup(place), "user.oomd_ooms", b"1")
    os.setxattr(cgroup(place), "user.oomd_kill", b"1")
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: "out of memory" in place.runtime.inspect("shop_a").exit, "it is called so")


def test_the_limit_of_tasks_bites(place: Place) -> None:
    forks = (
        "import os, signal\ntry:\n    for _ in range(50): os.fork() or signal.pause()\n"
        "except BlockingIOError: print('no more', flush=True)\nsignal.pause()"
    )
    (place.run / "forks.py").write_text(forks)
    place.runtime.start(place.program(f"{PYTHON} forks.py", {}, limits=Limits(tasks=8)))
    place.logged("no more")


def test_one_that_notifies_is_ready_when_it_says_so(place: Place) -> None:
    app = (
        "import os, socket, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\ntime.sleep(600)\n"
    )
    (place.run / "notifies.py").write_text(app)
    process = place.runtime.start(place.program(f"{PYTHON} notifies.py", {}, notifies=True))
    seen = place.runtime.inspect("shop_a")
    assert (seen.process, seen.ready, seen.wanted) == (process, False, True)
    (place.run / "go").touch()
    eventually(lambda: place.runtime.inspect("shop_a").ready, "it is ready")


def test_one_that_cannot_be_started_says_why_and_is_left_alone(place: Place) -> None:
    with pytest.raises(RuntimeFailedError, match="its user does not exist"):
        place.runtime.start(place.program(SLEEPER, {}, user="nobody-of-that-name"))
    assert not place.runtime.inspect("shop_a").wanted


def test_secrets_are_for_root_alone_and_nothing_is_left_of_a_root(place: Place) -> None:
    process = place.start(VALUE="a secret")
    environment = Path("/run", place.runtime._names.prefix, "shop_a.env")  # type: ignore[attr-defined]
    assert environment.stat().st_mode & 0o777 == 0o600
    assert environment.parent.stat().st_mode & 0o777 == 0o700
    shown = subprocess.run(
        ["systemctl", "cat", unit(place)], capture_output=True, text=True, check=True
    ).stdout
    assert "a secret" not in shown
    place.runtime.stop("shop_a", process, timeout=5.0)
    place.runtime.shutdown()
    assert not environment.parent.exists()
    assert not list(Path("/run/systemd/system").glob(f"{environment.parent.name}*"))


def test_systemd_finds_no_fault_with_a_unit(place: Place) -> None:
    place.start()
    checked = subprocess.run(
        ["systemd-analyze", "verify", f"/run/systemd/system/{unit(place)}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.stdout + checked.stderr, checked.returncode) == ("", 0)


def read_until(log: Log, last: str) -> list[str]:
    seen: list[str] = []

    def all_is_there() -> bool:
        seen.extend(log.lines())
        return last in seen

    eventually(all_is_there, last)
    return seen


def test_the_sandbox_bites_and_each_part_of_it_can_be_turned_off(place: Place) -> None:
    Path("/tmp/of-another").touch()  # noqa: S108  # the machine's
    tried = (
        "touch /usr/here 2>/dev/null && rm /usr/here && echo usr; [ -e /tmp/of-another ] && echo tmp; "
        "unshare --net true 2>/dev/null && echo namespaces; echo tried; sleep 600"
    )
    cases: list[tuple[Protection | None, set[str]]] = [
        (None, set()),
        (Protection.PROTECT_SYSTEM, {"usr"}),
        (Protection.PRIVATE_TMP, {"tmp"}),
        (Protection.RESTRICT_NAMESPACES, {"namespaces"}),
    ]
    for off, found in cases:
        log = place.runtime.log("shop_a", place.file)
        protections = frozenset(one for one in Protection if one is not off)
        process = place.runtime.start(place.program(tried, {}, protections=protections))
        seen = read_until(log, "tried")
        place.runtime.stop("shop_a", process, timeout=5.0)
        assert set(seen) - {"tried"} == found
