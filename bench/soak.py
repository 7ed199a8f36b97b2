"""Endurance: random operations and faults under load, for as long as wanted; then what failed and what was left behind.

    python -m bench.soak [MINUTES] [--seed N]        make soak MINUTES=30

Nothing is mended by hand: after each fault the next command must find its way. Requests that fail are told in two
numbers: those that a killed program had in its hands (nobody can save them), and all others: there must be none.
Exit status 1 where there are, where a command ended as it should not, or where something was left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import within
from bench.site import BenchSite
from bench.speed import APP
from substitute.drill.load import Load
from substitute.drill.process import LoadProcess
from substitute.drill.result.recording import Recording
from substitute.linux.processes import name as name_of

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 100
AFTERMATH = 5.0
"""Seconds after a killed instance or HAProxy in which requests that it had may be missed."""


@dataclass
class Soak:
    """A site under load, and what was done to it."""

    site: BenchSite
    random: random.Random
    version: int = 1
    wrong: list[str] = field(default_factory=list)
    """Commands that did not end as they should."""
    course: list[str] = field(default_factory=list)
    """Everything that was done, in order."""
    crashes: list[float] = field(default_factory=list)
    """When something was killed that had requests in its hands."""

    # -- operations -----------------------------------------------------------------------------

    def deploy(self) -> None:
        """A good version."""
        self._commit()
        self._expect(0, "deploy")

    def rollback(self) -> None:
        """And perhaps back again."""
        self._expect(0, "rollback")

    def restart(self) -> None:
        """The live version anew."""
        self._expect(0, "restart")

    def broken_version(self) -> None:
        """One that crashes at boot."""
        self._commit(app="raise SystemExit('a bug')\n")
        self._expect(1, "deploy")
        self._commit()

    # -- faults ---------------------------------------------------------------------------------

    def killed_deployer(self) -> None:
        """At any instant of a deployment."""
        self._commit()
        self._killed(signal.SIGKILL)

    def interrupted_deployer(self) -> None:
        """Ctrl-C at any instant."""
        self._commit()
        self._killed(signal.SIGINT)

    def killed_supervisord(self) -> None:
        """Its instances go on; the next deployment replaces them."""
        self._kill("supervisord.pid")
        self.deploy()

    def killed_instance(self) -> None:
        """The one that serves."""
        live = self.site.status()["apps"][0]
        pid = live["slots"][live["live"]]["pid"]
        if pid:
            self.crashes.append(time.monotonic())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._expect(0, "up")

    def killed_haproxy(self) -> None:
        """Master and worker."""
        self.crashes.append(time.monotonic())
        for pid in within(self._run):
            with suppress(ProcessLookupError):
                if name_of(pid) == "haproxy":
                    os.kill(pid, signal.SIGKILL)
        self._expect(0, "up")

    # -- the course -----------------------------------------------------------------------------

    def run(self, until: float) -> None:
        """One after the other."""
        actions: list[Callable[[], None]] = [
            *(self.deploy, self.rollback, self.restart, self.broken_version),
            *(self.killed_deployer, self.killed_deployer, self.interrupted_deployer),
            *(self.killed_supervisord, self.killed_instance, self.killed_haproxy),
        ]
        while time.monotonic() < until:
            action = self.random.choice(actions)
            self.course.append(action.__name__)
            action()

    def descriptors(self) -> dict[str, int]:
        """Open files of what stays, by program."""
        found: Counter[str] = Counter()
        for pid in within(self._run):
            with suppress(OSError):
                found[name_of(pid)] += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
        return dict(found)

    def processes(self) -> list[str]:
        """Everything that runs in the root."""
        root = str(self.site.root)
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str((entry / "cwd").readlink()).startswith(root):
                    found.append(name_of(int(entry.name)))
        return sorted(found)

    def disk(self) -> int:
        """Bytes of substitute's own state."""
        deploy = self.site.root / "deploy"
        return sum(file.stat().st_size for file in deploy.rglob("*") if file.is_file())

    @property
    def _run(self) -> Path:
        return self.site.root / "deploy" / "run"

    def _commit(self, *, app: str = "") -> None:
        self.version += 1
        (self.site.repository / "app.py").write_text(app or APP.read_text())
        self.site.commit(str(self.version))

    def _expect(self, status: int, *arguments: str) -> None:
        done = self.site.popen(*arguments)
        said = done.communicate()[0]
        if done.returncode != status:
            after = ", ".join(self.course[-5:])
            self.wrong.append(
                f"{' '.join(arguments)}: exit {done.returncode}, not {status}, after {after}\n{said[-2000:]}"
            )

    def _killed(self, number: int) -> None:
        command = self.site.popen("deploy")
        with suppress(subprocess.TimeoutExpired):
            command.communicate(timeout=self.random.uniform(0.05, 1.0))
        command.send_signal(number)
        command.communicate()
        self._expect(0, "deploy")

    def _kill(self, pid_file: str) -> None:
        with suppress(OSError, ValueError):
            os.kill(int((self._run / pid_file).read_text()), signal.SIGKILL)


def main(minutes: float, seed: int) -> int:
    """Soak, and tell."""
    with tempfile.TemporaryDirectory(prefix="substitute-soak-") as place:
        soak = Soak(BenchSite(Path(place), APP), random.Random(seed))  # noqa: S311  # to be had again by its seed
        recordings = [Recording(), Recording()]
        try:
            soak.deploy()
            soak.deploy()
            before = soak.descriptors()
            url = f"http://127.0.0.1:{soak.site.listen}"
            loads = [
                Load(url, rate=RATE, slow="/slow?0.3"),
                Load(url, rate=RATE, method="POST", body="x" * 500),
            ]
            with (
                LoadProcess(loads[0], recordings[0], directory=Path(place)) as get,
                LoadProcess(loads[1], recordings[1], directory=Path(place)) as post,
            ):
                soak.run(time.monotonic() + minutes * 60)
                soak.deploy()
                get.stop()
                post.stop()
            return _tell(soak, recordings, before, minutes=minutes, seed=seed)
        finally:
            soak.site.close()


def _tell(
    soak: Soak, recordings: list[Recording], before: dict[str, int], *, minutes: float, seed: int
) -> int:
    failures = [failure for recording in recordings for failure in recording.failures]
    lost = [f for f in failures if not any(at <= f.at <= at + AFTERMATH for at in soak.crashes)]
    requests = sum(recording.requests for recording in recordings)
    processes, expected = soak.processes(), ["haproxy", "haproxy", "python", "python"]
    left = [name for name in processes if name != "haproxy" and not name.startswith("python")]
    done = ", ".join(f"{number} {name}" for name, number in sorted(Counter(soak.course).items()))
    lines = [
        f"{minutes:g} minutes, seed {seed}: {done}",
        (
            f"{requests:,} requests, {len(lost)} failed; {len(failures) - len(lost)} more were in the hands of "
            f"{len(soak.crashes)} programs that were killed"
        ),
        f"commands that ended as they should not: {len(soak.wrong)}",
        f"open files: {before} at first, {soak.descriptors()} at last",
        f"processes: {', '.join(processes)}",
        f"substitute's own state on the disk: {soak.disk() / 1e6:.1f} MB",
    ]
    lines += [f"  failed: {f.lane}, {f.kind}, {f.detail}" for f in lost[:20]]
    lines += [f"  {wrong}" for wrong in soak.wrong[:5]]
    print("\n".join(lines), flush=True)  # noqa: T201
    return 1 if lost or soak.wrong or left or len(processes) > len(expected) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("minutes", nargs="?", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    typed = parser.parse_args()
    sys.exit(main(typed.minutes, typed.seed))
