"""What every runtime promises, held against the real program. A new one joins by a line in `runtimes.py`."""

from __future__ import annotations

import os
import pickle
import shlex
import signal
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Container, Process, Program
from substitute.linux.processes import group_of, identify, is_alive, signal_group
from tests.contracts.podmans import Podmans
from tests.contracts.runtimes import CONNECT, KINDS
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEPER = f"{sys.executable} -S -E -c 'import time; time.sleep(600)'"
SLEEPER_IN_QUOTES = f'{sys.executable} -S -E -c "import time; time.sleep(600)"'
STUBBORN = (
    f"{sys.executable} -S -E -c 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    'print("ready", flush=True); time.sleep(600)\''
)

LEAVES = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
"""A shell that ends by SIGTERM, as the first process of a container too, and says nothing."""

POLITE = (
    "import signal, sys, time\n"
    "def leave(number, _): print(signal.Signals(number).name, 'came', flush=True); sys.exit()\n"
    "for one in (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1): signal.signal(one, leave)\n"
    "print('ready', flush=True); time.sleep(600)\n"
)


class Place:
    """A run directory with a runtime, and everything that it started."""

    def __init__(self, kind: str, run: Path) -> None:
        run.mkdir(parents=True)
        self.kind = kind
        self.run = run
        self.connect = CONNECT[kind]
        self.runtime = self.connect(run)
        self.file = run.parent / "shop" / "log" / "a.log"
        self.started: list[Process] = []
        self.podman = Podmans(run.parent) if kind.startswith("podman") else None
        self.container: Container | None = self.podman.container(run) if self.podman else None

    def program(self, command: str, environment: dict[str, str], **more: Any) -> Program:
        environment = {"PATH": os.environ["PATH"], **environment}
        more.setdefault("container", self.container)
        return Program("shop_a", command, self.run, environment, self.file, 10.0, **more)

    def start(self, command: str = SLEEPER, **environment: str) -> Process:
        process = self.runtime.start(self.program(command, environment))
        self.started.append(process)
        return process

    @property
    def log(self) -> str:
        return "\n".join(self.runtime.last_lines("shop_a", self.file, 1000))

    def logged(self, text: str) -> None:
        eventually(lambda: text in self.log, f"{text!r} in the log")

    def close(self) -> None:
        for process in self.started:
            self.runtime.stop("shop_a", process, timeout=0.0)
            signal_group(process, signal.SIGKILL)
        self.runtime.stop("shop_a", None, timeout=0.0)
        self.runtime.shutdown()
        if self.podman:
            self.podman.close()


def made_at(request: pytest.FixtureRequest, kind: str, run: Path) -> Place:
    engine = request.getfixturevalue(kind) if kind == "docker" else None
    made = Place(kind, run)
    if engine:
        made.container = engine.container(run)
    return made


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = made_at(request, request.param, tmp_path / "deploy" / "run")
    yield made
    made.close()


def test_it_starts_a_process_and_stops_it_with_sigterm(place: Place) -> None:
    (place.run / "polite.py").write_text(POLITE)
    process = place.start(f"{sys.executable} -S -E polite.py")
    assert place.runtime.inspect("shop_a").process == process
    place.logged("ready")
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
    assert place.log.count("told") == 1


@pytest.mark.parametrize("number", ["SIGQUIT", "SIGUSR1"])
def test_a_program_is_stopped_by_the_signal_that_it_was_started_with(place: Place, number: str) -> None:
    (place.run / "polite.py").write_text(POLITE)
    process = place.runtime.start(place.program(f"{sys.executable} -S -E polite.py", {}, stop_signal=number))
    place.started.append(process)
    place.logged("ready")
    assert not place.runtime.stop("shop_a", process, timeout=10.0, signal=number).killed
    place.logged(f"{number} came")
    assert place.log.count(" came") == 1


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
    assert place.log.count("told") == 1


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


def test_its_trace_is_that_of_the_running_main_process_alone_and_not_of_what_looks_like_it(
    place: Place,
) -> None:
    assert place.runtime.trace("shop_a") is None
    process = place.start(f"sh -c 'sleep 600 & exec {SLEEPER_IN_QUOTES}'")
    eventually(lambda: place.runtime.trace("shop_a") == process, "its trace")
    environment = Path(f"/proc/{process.pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    with subprocess.Popen(
        ["sleep", "600"],
        cwd=place.run,
        env={name: value for name, _, value in (entry.partition(b"=") for entry in environment)},
        start_new_session=True,
    ) as impostor:
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: place.runtime.trace("shop_a") not in {None, process}, "that of the next run")
        again = place.runtime.trace("shop_a")
        eventually(lambda: place.runtime.inspect("shop_a").process == again, "the same as the runtime says")
        place.runtime.stop("shop_a", None, timeout=10.0)
        assert place.runtime.trace("shop_a") is None
        assert impostor.poll() is None
        impostor.kill()


def test_one_that_crashes_at_once_is_tried_again_and_can_be_stopped(place: Place) -> None:
    place.start("sh -c 'echo trying; sleep 0.3; exit 3'")
    eventually(lambda: place.log.count("trying") >= 2, "a second try")
    eventually(lambda: "exit status 3" in place.runtime.inspect("shop_a").exit, "its exit status")
    place.runtime.stop("shop_a", None, timeout=60.0)
    tries = place.log.count("trying")
    place.start()
    assert place.log.count("trying") == tries


def test_how_it_ended_is_never_told_of_an_earlier_run(place: Place) -> None:
    for status in (3, 9, 4):
        process = place.start(f"sh -c 'echo as {status}; sleep 0.2; exit {status}'")
        told: list[str] = []

        def known(process: Process = process, told: list[str] = told) -> bool:
            if is_alive(process):
                return False
            told.append(place.runtime.inspect("shop_a").exit)
            return bool(told[-1])

        eventually(known, "its end")
        assert set(told) <= {"", f"exit status {status}"}
        place.runtime.stop("shop_a", None, timeout=60.0)


def test_one_that_ends_at_once_is_told_by_its_own_words(place: Place) -> None:
    for status in (3, 9):
        reason = ""
        try:
            place.start(f"echo as {status}; exit {status}")
        except RuntimeFailedError as error:  # else somebody has seen it run
            reason = error.reason
        # It may have been tried twice by then.
        own = {line for line in reason.splitlines() if line.startswith("  | ")}
        assert not reason or (f"exit status {status}" in reason and own == {f"  | as {status}"})
        place.runtime.stop("shop_a", None, timeout=60.0)


def test_sigterm_reaches_the_main_process_alone(place: Place) -> None:
    child = 'trap "echo the child got it" TERM; echo child ready; while :; do sleep 0.05; done'
    main = (
        "import signal, subprocess, sys, time\n"
        f"child = subprocess.Popen(['sh', '-c', {child!r}])\n"
        "def leave(*_):\n    time.sleep(0.3)\n    print('the main process leaves', flush=True)\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\ntime.sleep(600)\n"
    )
    script = place.run / "main.py"
    script.write_text(main)
    process = place.start(f"{sys.executable} -S -E main.py")
    place.logged("child ready")
    place.runtime.stop("shop_a", process, timeout=3.0)
    before, left, _ = place.log.partition("the main process leaves")
    assert left
    assert "the child got it" not in before
    assert not group_of(process)


def test_what_the_main_process_leaves_is_not_waited_for_until_the_limit(place: Place) -> None:
    """As with `npm start`, whose shell is gone at once."""
    script = place.run / "main.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "if os.fork():\n    signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n    time.sleep(600)\n"
        "time.sleep(0.1)\nprint('ready', flush=True)\ntime.sleep(600)\n"
    )
    process = place.start(f"{sys.executable} -S -E main.py")
    place.logged("ready")
    assert not place.runtime.stop("shop_a", process, timeout=600.0).killed
    assert not group_of(process)


def test_past_the_limit_the_whole_group_is_killed_and_the_result_says_so(place: Place) -> None:
    process = place.start(STUBBORN)
    place.logged("ready")
    assert place.runtime.stop("shop_a", process, timeout=0.5).killed
    assert not group_of(process)


def test_it_outlives_the_deployer(place: Place) -> None:
    code = (
        "import pickle, sys; from pathlib import Path; from tests.contracts.runtimes import CONNECT\n"
        f"runtime = CONNECT[{place.kind!r}](Path({str(place.run)!r}))\n"
        "print(runtime.start(pickle.load(sys.stdin.buffer)).pid)"
    )
    program = place.program("sleep 600", {"PATH": "/bin"})
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(program), capture_output=True, check=True
    )
    process = identify(int(done.stdout))
    assert process
    place.started.append(process)
    assert place.runtime.inspect("shop_a").process == process


@pytest.mark.parametrize("directory", ["long-" * 40, "a b;c%d'e\"f[g]$h"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_root_works(request: pytest.FixtureRequest, tmp_path: Path, kind: str, directory: str) -> None:
    odd = made_at(request, kind, tmp_path / directory / "deploy" / "run")
    request.addfinalizer(odd.close)
    assert is_alive(odd.start())


DUMP = "env -0 >environment; echo written; sleep 600"


def test_the_environment_is_carried_faithfully_and_nothing_is_inherited(place: Place) -> None:
    value = "a b'c\"d$e%f;g\\h\n#é\t\\"
    place.start(DUMP, VALUE=value)
    place.logged("written")
    seen = dict(item.split("=", 1) for item in (place.run / "environment").read_text().split("\0") if item)
    assert seen["VALUE"] == value
    assert not [name for name in seen if name.startswith("SUPERVISOR")]
    own = {"HOME"} if place.container else set()  # of its user there, by the engine
    assert not {"HOME", "USER", "XDG_RUNTIME_DIR"} & set(seen) - own


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
CHARACTERS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Cn"]), max_size=30)
"""Without what Unicode gives no meaning to: systemd takes some of that for no UTF-8, in a value."""


@settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(CHARACTERS, min_size=60, max_size=60))
@example(
    [
        "%h %%",
        "$HOME",
        "${HOME}",
        "\\",
        "\\\\n",
        "a\\\nb",
        " a ",
        "it's",
        '"',
        "`a`",
        "a\r\n",
        "#",
        ";",
        "",
        "é",
    ]
)
def test_every_value_is_carried_faithfully(place: Place, values: list[str]) -> None:
    environment = {f"VALUE{number}": value for number, value in enumerate(values)}
    process = place.start("env -0 >environment; mv environment seen; sleep 600", **environment)
    eventually((place.run / "seen").exists, "the environment")
    entries = (place.run / "seen").read_bytes().decode().split("\0")
    seen = dict(entry.split("=", 1) for entry in entries if entry)
    (place.run / "seen").unlink()
    place.runtime.stop("shop_a", process, timeout=0.0)
    assert {name: seen.get(name) for name in environment} == environment


@settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(TEXT, min_size=40, max_size=40))
@example(
    ["%h %%", ";", "a;b", "\\", "\\x41", "a b", "it's", '"', "é", "", "-x", "A=b", "\t", "\ufdd0 \uffff"]
)
@example(["$HOME", "${HOME}", "$$", "*", "~", "a\nb", "#", "%h"])
def test_every_argument_is_carried_faithfully(place: Place, arguments: list[str]) -> None:
    script = place.run / "arguments.py"
    script.write_text(
        "import sys, time\nopen('new', 'w').write(ascii(sys.argv[1:]))\nimport os\nos.rename('new', 'seen')\n"
        "time.sleep(600)\n"
    )
    line = shlex.join([sys.executable, "-X", "utf8", "-S", "-E", "arguments.py", *arguments])
    process = place.start(line)
    eventually((place.run / "seen").exists, "the arguments")
    seen = literal_eval((place.run / "seen").read_text())
    (place.run / "seen").unlink()
    place.runtime.stop("shop_a", process, timeout=0.0)
    assert seen == arguments


@pytest.mark.parametrize("environment", [{"A-B": "1"}, {"A": "a\0b"}, {"": "1"}])
def test_an_environment_that_cannot_be_carried_is_refused(place: Place, environment: dict[str, str]) -> None:
    with pytest.raises(RuntimeFailedError, match="cannot be set"):
        place.start(SLEEPER, **environment)


def test_a_program_that_does_not_exist_is_refused_or_ends_and_says_so(place: Place) -> None:
    reason = ""
    try:
        place.start("no-such-program --at all")
        eventually(lambda: place.runtime.inspect("shop_a").exit != "", "its end")
        reason = place.log
    except RuntimeFailedError as error:
        reason = error.reason
    assert "not found" in reason or "No such file" in reason


def test_what_it_writes_is_read_from_now_on(place: Place) -> None:
    process = place.start("echo before; sleep 600")
    place.logged("before")
    place.runtime.stop("shop_a", process, timeout=0.0)
    log = place.runtime.log("shop_a", place.file)
    place.start("echo one; echo two; sleep 600")
    seen: list[str] = []

    def both() -> bool:
        seen.extend(log.lines())
        return seen[:2] == ["one", "two"]

    eventually(both, "both lines, once")


def test_it_is_followed_across_a_restart(place: Place) -> None:
    """Ctrl-C is how it ends."""
    seen: list[tuple[str, str]] = []
    place.start(f"echo first; {LEAVES}")
    place.logged("first")

    def take(name: str, line: str) -> None:
        seen.append((name, line))
        if line == "first":
            place.runtime.stop("shop_a", None, timeout=60.0)
            place.start(f"echo second; {LEAVES}")
        if line == "second":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.runtime.follow({"shop_a": (place.file, 5)}, take)
    assert seen == [("shop_a", "first"), ("shop_a", "second")]
