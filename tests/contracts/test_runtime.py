"""What every runtime promises, held against the real program. A new one joins by a line in RUNTIMES."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from substitute.core.errors import RuntimeFailedError
from substitute.core.ports import Process, Program, Runtime
from substitute.processes import group_of, identify, is_alive, signal_group
from substitute.runtimes import supervisord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RUNTIMES: dict[str, Callable[[Path], Runtime]] = {"supervisord": supervisord.connect}

SLEEPER = f"{sys.executable} -S -E -c 'import time; time.sleep(600)'"
STUBBORN = (
    f"{sys.executable} -S -E -c 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    'print("ready", flush=True); time.sleep(600)\''
)


def eventually(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Place:
    """A run directory with a runtime, and everything that it started."""

    def __init__(self, kind: str, run: Path) -> None:
        run.mkdir(parents=True)
        self.run = run
        self.connect = RUNTIMES[kind]
        self.runtime = self.connect(run)
        self.log = run.parent / "shop" / "log" / "a.log"
        self.started: list[Process] = []

    def program(self, command: str, environment: dict[str, str]) -> Program:
        environment = {"PATH": os.environ["PATH"], **environment}
        return Program("shop_a", command, self.run, environment, self.log, 10.0)

    def start(self, command: str = SLEEPER, **environment: str) -> Process:
        process = self.runtime.start(self.program(command, environment))
        self.started.append(process)
        return process

    def logged(self, text: str) -> None:
        eventually(lambda: self.log.exists() and text in self.log.read_text(), f"{text!r} in the log")

    def close(self) -> None:
        for process in self.started:
            self.runtime.stop("shop_a", process, timeout=0.0)
            signal_group(process, signal.SIGKILL)
        self.runtime.shutdown()


@pytest.fixture(params=RUNTIMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path / "deploy" / "run")
    yield made
    made.close()


def test_it_starts_a_process_and_stops_it_with_sigterm(place: Place) -> None:
    process = place.start()
    assert place.runtime.inspect("shop_a").process == process
    stopped = place.runtime.stop("shop_a", process, timeout=10.0)
    assert not stopped.killed
    assert not is_alive(process)
    assert place.runtime.inspect("shop_a").process is None


def test_one_that_is_told_to_terminate_may_take_its_time_and_is_not_started_again(place: Place) -> None:
    slow = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True)); "
        "print('ready', flush=True); [time.sleep(0.05) for _ in range(40)]"
    )
    process = place.start(f'{sys.executable} -S -E -c "{slow}"')
    place.logged("ready")
    place.runtime.terminate("shop_a", process)
    place.logged("told")
    assert is_alive(process)
    eventually(lambda: not is_alive(process), "it exits by itself")
    assert not place.runtime.stop("shop_a", process, timeout=10.0).killed
    assert place.runtime.inspect("shop_a").process is None
    assert place.log.read_text().count("told") == 1


def test_sigterm_is_sent_once_however_often_it_is_asked_for(place: Place) -> None:
    counting = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True)); "
        "print('ready', flush=True); time.sleep(600)"
    )
    process = place.start(f'{sys.executable} -S -E -c "{counting}"')
    place.logged("ready")
    place.runtime.terminate("shop_a", process)
    place.logged("told")
    place.runtime.stop("shop_a", process, timeout=0.5)
    assert place.log.read_text().count("told") == 1


def test_a_stopped_one_can_be_started_again_at_once(place: Place) -> None:
    for _ in range(3):
        process = place.start()
        place.runtime.stop("shop_a", process, timeout=10.0)


def test_what_runs_under_a_name_is_not_started_twice(place: Place) -> None:
    place.start()
    with pytest.raises(RuntimeFailedError):
        place.start()


def test_it_is_started_again_after_sigkill(place: Place) -> None:
    process = place.start()
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: place.runtime.inspect("shop_a").process not in {None, process}, "a new process")


def test_one_that_crashes_at_once_is_tried_again_and_can_be_stopped(place: Place) -> None:
    place.start("sh -c 'echo trying; sleep 0.3; exit 3'")
    eventually(lambda: place.log.read_text().count("trying") >= 2, "a second try")
    eventually(lambda: "exit status 3" in place.runtime.inspect("shop_a").exit, "its exit status")
    place.runtime.stop("shop_a", None, timeout=5.0)
    tries = place.log.read_text().count("trying")
    place.start()
    assert place.log.read_text().count("trying") == tries


def test_sigterm_reaches_the_main_process_alone(place: Place) -> None:
    child = 'trap "echo the child got it" TERM; echo child ready; while :; do sleep 0.05; done'
    main = f"import subprocess, sys, time; subprocess.Popen(['sh', '-c', {child!r}]); time.sleep(600)"
    script = place.run / "main.py"
    script.write_text(main)
    process = place.start(f"{sys.executable} -S -E main.py")
    place.logged("child ready")
    stopped = place.runtime.stop("shop_a", process, timeout=1.0)
    assert "the child got it" not in place.log.read_text()
    assert stopped.killed  # the child outlived the limit
    assert not group_of(process)


def test_past_the_limit_the_whole_group_is_killed_and_the_result_says_so(place: Place) -> None:
    process = place.start(STUBBORN)
    place.logged("ready")
    assert place.runtime.stop("shop_a", process, timeout=0.5).killed
    assert not group_of(process)


def test_it_outlives_the_deployer(place: Place) -> None:
    code = (
        "import sys; from pathlib import Path; from substitute.core.ports import Program\n"
        "from tests.contracts.test_runtime import RUNTIMES\n"
        f"run = Path({str(place.run)!r})\n"
        f"process = RUNTIMES['supervisord'](run).start(Program('shop_a', 'sleep 600', run, {{'PATH': '/bin'}}, "
        f"Path({str(place.log)!r}), 5.0))\nprint(process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    process = identify(int(done.stdout))
    assert process
    place.started.append(process)
    assert place.runtime.inspect("shop_a").process == process


def test_an_orphan_of_a_killed_runtime_is_stopped_by_its_identity(place: Place) -> None:
    process = place.start()
    os.kill(int((place.run / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: place.runtime.inspect("shop_a").process is None, "the runtime is gone")
    assert is_alive(process)
    place.runtime.stop("shop_a", process, timeout=10.0)
    assert not is_alive(process)


def test_stale_files_of_a_killed_runtime_do_not_stop_a_start(place: Place) -> None:
    process = place.start()
    os.kill(int((place.run / "supervisord.pid").read_text()), signal.SIGKILL)
    place.runtime.stop("shop_a", process, timeout=10.0)
    assert (place.run / "supervisord.sock").exists()
    again = place.start()
    assert is_alive(again)


def test_a_long_root_works(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    far = Place("supervisord", tmp_path / ("long-" * 40) / "deploy" / "run")
    request.addfinalizer(far.close)
    assert is_alive(far.start())


def test_a_root_with_the_characters_of_every_configuration_works(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    odd = Place("supervisord", tmp_path / "a b;c%d'e\"f[g]$h" / "deploy" / "run")
    request.addfinalizer(odd.close)
    assert is_alive(odd.start())


def test_the_environment_is_carried_faithfully_and_nothing_is_inherited(place: Place) -> None:
    value = "a b'c\"d$e%f;g\\h\né"
    place.start("env -0; sleep 600", VALUE=value)
    place.logged("VALUE=")
    eventually(lambda: place.log.read_bytes().endswith(b"\0"), "the end of env")
    seen = dict(item.split("=", 1) for item in place.log.read_text().split("\0") if item)
    assert seen["VALUE"] == value
    assert not [name for name in seen if name.startswith("SUPERVISOR")]
    assert "HOME" not in seen


def test_the_log_belongs_to_its_owner_alone(place: Place) -> None:
    place.start("echo a secret; sleep 600")
    place.logged("a secret")
    assert place.log.stat().st_mode & 0o777 == 0o600
    assert (place.run / "shop_a.sh").stat().st_mode & 0o777 == 0o700
