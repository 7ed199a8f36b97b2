"""What systemd does beyond the promise of every runtime, and what it must not cost."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Limits, Protection
from substitute.linux.processes import identify, is_alive, signal_process
from substitute.runtimes.systemd import bus as systemd_bus
from substitute.runtimes.systemd import runtime as systemd
from tests.contracts.test_runtime import SLEEPER, STUBBORN, Place
from tests.machines import AFTER_RESCUE, USER
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.ports.runtime import Log

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
        place.runtime.stop("shop_a", process, timeout=60.0)
        place.runtime.inspect("shop_a")
    assert called.count("StartUnit") == 3
    assert "Reload" not in called


def test_while_it_is_silent_the_control_group_tells_what_it_has_started(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = place.start("sh -c 'sleep 600 & exec sleep 601'")

    def silent(*_: object) -> object:
        raise systemd_bus.Silent("systemd does not answer.")

    monkeypatch.setattr(place.runtime._bus, "property", silent)  # type: ignore[attr-defined]
    assert place.runtime.trace("shop_a") == process
    monkeypatch.undo()
    place.runtime.stop("shop_a", None, timeout=60.0)


def test_what_a_main_process_left_behind_is_not_taken_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = place.start("sh -c 'sleep 600 & exec sleep 601'")
    bus = place.runtime._bus  # type: ignore[attr-defined]
    real = bus.property

    def ended(unit_: str, interface: str, name: str) -> object:
        return 0 if name == "MainPID" else real(unit_, interface, name)

    monkeypatch.setattr(bus, "property", ended)  # as in the moment before systemd ends what was left
    assert place.runtime.trace("shop_a") is None
    monkeypatch.undo()
    assert place.runtime.trace("shop_a") == process


def test_it_survives_a_systemd_that_executes_itself_anew(place: Place) -> None:
    process = place.start()
    subprocess.run(["systemctl", "daemon-reexec"], check=True)
    assert place.runtime.inspect("shop_a").process == process
    assert not place.runtime.stop("shop_a", process, timeout=60.0).killed
    assert is_alive(place.start())


def test_whatever_it_is_asked_while_systemd_executes_itself_anew_is_done(place: Place) -> None:
    """An upgrade of systemd may come at any moment of a deployment, its very beginning too."""
    process = place.start()
    for _ in range(5):
        with subprocess.Popen(["systemctl", "daemon-reexec"]) as upgrade:
            while upgrade.poll() is None:
                assert systemd.connect(place.run).kept() == {"shop_a"}
                end = systemd.connect(place.run).spawn(
                    "shop_guardian", ["/bin/sleep", "60"], directory=place.run, environment={}, log=place.file
                )
                end()
    assert not systemd.connect(place.run).stop("shop_a", process, timeout=60.0).killed


@pytest.mark.parametrize("target", ["multi-user.target", "rescue.target"])
def test_what_runs_goes_on_when_another_target_is_isolated(place: Place, target: str) -> None:
    """By hand, or by a unit that conflicts: an instance is wanted by no target, and would be stopped for good."""
    process = place.start()
    end = place.runtime.spawn(
        "shop_guardian", ["/bin/sleep", "600"], directory=place.run, environment={}, log=place.file
    )
    guardian = place.runtime._names.service("shop_guardian")  # type: ignore[attr-defined]
    try:
        # Waited for: everything that is to be stopped has been when the target is there.
        subprocess.run(["systemctl", "isolate", target], check=True)
        assert place.runtime.inspect("shop_a").process == process
        subprocess.run(["systemctl", "is-active", "--quiet", guardian], check=True)
    finally:
        end()
        for command in (["isolate", "multi-user.target"], AFTER_RESCUE):
            subprocess.run(["systemctl", *command], check=True)


def overridden(place: Place) -> Path:
    """Where a unit of the same name would be taken first."""
    return Path("/etc/systemd/system", unit(place))


@pytest.fixture
def foreign(place: Place) -> Iterator[Path]:
    file = overridden(place)
    yield file
    file.unlink(missing_ok=True)
    subprocess.run(["systemctl", "daemon-reload"], check=True)


@pytest.mark.parametrize("known", [True, False], ids=["while ours runs", "beforehand"])
def test_another_unit_of_the_same_name_is_not_taken_for_ours(
    place: Place, foreign: Path, *, known: bool
) -> None:
    """As `systemctl edit --full` makes one: systemd would run the command of that day for ever."""
    if known:
        process = place.start()
    foreign.write_text("[Service]\nExecStart=/bin/sleep 500\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    if known:
        place.runtime.stop("shop_a", process, timeout=60.0)
    with pytest.raises(RuntimeFailedError) as told:
        place.start()
    assert str(foreign) in told.value.reason
    assert f"rm {foreign}" in told.value.cure
    foreign.unlink()
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert is_alive(place.start())


def test_a_masked_unit_is_told(place: Place, foreign: Path) -> None:
    foreign.symlink_to("/dev/null")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    with pytest.raises(RuntimeFailedError, match="masked") as told:
        place.start()
    subprocess.run(shlex.split(told.value.cure.split("`")[1]), check=True)
    assert is_alive(place.start())


def test_what_is_added_to_a_unit_holds_and_is_told(place: Place, foreign: Path) -> None:
    """As `systemctl edit` does it."""
    added = foreign.with_name(f"{foreign.name}.d") / "override.conf"
    added.parent.mkdir()
    added.write_text("[Service]\nNice=7\n")
    warned: list[str] = []
    try:
        process = systemd.connect(place.run, warned.append).start(place.program(SLEEPER, {}))
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 7
        assert [str(added) in line for line in warned] == [True]
    finally:
        added.unlink()
        added.parent.rmdir()


def test_a_limit_of_no_time_is_not_taken_for_none(place: Place) -> None:
    """To systemd 0 means infinity."""
    process = place.runtime.start(replace(place.program(STUBBORN, {}), stop_timeout=0.0))
    place.logged("ready")
    subprocess.run(["systemctl", "stop", unit(place)], check=True)
    assert not is_alive(process)


@pytest.mark.machine(user=USER)
def test_of_one_that_hangs_nothing_is_believed_and_nothing_that_it_keeps_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("systemd-user", tmp_path / "deploy" / "run")
    process = place.start()
    shown = ["systemctl", "show", "--property=MainPID", "--value", f"user@{os.getuid()}.service"]
    manager = int(subprocess.run(shown, capture_output=True, text=True, check=True).stdout)
    monkeypatch.setattr(systemd_bus, "_TIMEOUT", 0.2)
    os.kill(manager, signal.SIGSTOP)
    try:
        for ask in (
            lambda: place.runtime.inspect("shop_a"),
            place.runtime.kept,
            lambda: place.runtime.stop("shop_a", process, timeout=5.0),
            lambda: place.runtime.terminate("shop_a", process),
            place.start,
        ):
            with pytest.raises(RuntimeFailedError, match="does not answer"):
                ask()
    finally:
        os.kill(manager, signal.SIGCONT)
    monkeypatch.undo()
    assert place.runtime.inspect("shop_a").process == process
    place.close()


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
    place.runtime.stop("shop_a", process, timeout=60.0)
    assert not cgroup(place).exists()


def test_an_instance_past_its_memory_is_killed_and_started_again(place: Place) -> None:
    hungry = (
        f"{PYTHON} -c \"import time; print('hungry', flush=True); x = b'1' * (200 << 20); time.sleep(600)\""
    )
    place.runtime.start(place.program(hungry, {}, limits=Limits(memory=64 << 20)))
    eventually(lambda: place.runtime.inspect("shop_a").restarts not in {None, 0}, "it was killed")
    eventually(lambda: "SIGKILL" in place.runtime.inspect("shop_a").exit, "it says so")
    # systemd learns of it from cgroup v2 alone; with v1 it stands in the kernel's log, which is not in this machine.
    kernel_log = Path("/dev/kmsg")
    os.mknod(kernel_log, 0o600 | stat.S_IFCHR, os.makedev(1, 11))
    try:
        eventually(lambda: "out of memory" in place.runtime.inspect("shop_a").exit, "it says why")
    finally:
        kernel_log.unlink()


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
    place.runtime.stop("shop_a", process, timeout=60.0)
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
        place.runtime.stop("shop_a", process, timeout=60.0)
        assert set(seen) - {"tried"} == found


def test_a_process_that_was_not_started_here_is_held_to_limits(place: Place) -> None:
    with subprocess.Popen(["sleep", "1000"]) as program:
        process = identify(program.pid)
        assert process
        place.runtime.confine("run-1", process, Limits(memory=64 << 20, cpu=0.5, tasks=7, nofile=99))
        scope = unit(place).replace("shop_a.service", "run-1.scope")
        asked = ["systemctl", "show", scope, "-p", "MemoryMax,CPUQuotaPerSecUSec,TasksMax"]
        shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
        assert sorted(shown) == ["CPUQuotaPerSecUSec=500ms", f"MemoryMax={64 << 20}", "TasksMax=7"]
        assert scope in Path(f"/proc/{program.pid}/cgroup").read_text()
        limits = Path(f"/proc/{program.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "open files" in line).split()[3:5] == ["99", "99"]
        place.runtime.shutdown()
        assert is_alive(process), "what somebody runs goes on"
        program.kill()
