"""The story: version one serves, requests flow, version two goes live over it, and a rollback takes it back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from substitute.core.model.errors import UsageError
from substitute.demo.load import Load, Report
from substitute.demo.repository import Repository

_STEADY = 300
"""Requests before and after each operation, so that there is something to fail."""


def run(directory: Path | None = None) -> int:
    """Tell it in a temporary place, or in `directory`, which is left to play with.

    Returns 0 only if every operation succeeded and no request failed.
    """
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="substitute-demo-") as place:
            return _tell(Path(place), keep=False)
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty.", cure="Name a directory that does not exist yet.")
    directory.mkdir(parents=True, exist_ok=True)
    return _tell(directory.resolve(), keep=True)


def _tell(place: Path, *, keep: bool) -> int:
    stage = _Stage(place)
    try:
        stage.commit(1)
        stage.configure()
        stage.say("Version one goes live; nothing served before.")
        stage.substitute("deploy")
        stage.say(
            "Requests are sent now, on kept-alive connections, without a retry. Version two goes live meanwhile."
        )
        stage.commit(2)
        failed = stage.under_load("deploy")
        stage.say(
            "Version one still runs, without requests. Roll back to it, under the same load: nothing is started."
        )
        failed += stage.under_load("rollback", timed=True)
        stage.substitute("status")
    except subprocess.CalledProcessError as error:
        stage.say(f"This should not have happened: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not keep:
            stage.substitute("down", quiet=True)
    if keep:
        stage.say(f"Play with it: cd {stage.root}; substitute status. Version it in {stage.repository}.")
    return 1 if failed else 0


class _Stage:
    def __init__(self, place: Path) -> None:
        self.repository = place / "repository"
        self.root = place / "root"
        self.listen = _free_port()

    def commit(self, version: int) -> None:
        """Commit a version of the app."""
        repository = Repository(self.repository)
        shutil.copyfile(str(files("substitute.demo") / "app.py"), self.repository / "app.py")
        (self.repository / "version.txt").write_text(f"{version}\n", encoding="utf-8")
        repository.commit_all(f"Version {version}")

    def configure(self) -> None:
        """Write substitute.toml."""
        self.root.mkdir()
        text = (
            f'[balancer]\nlisten = "127.0.0.1:{self.listen}"\n\n[app.shop]\nrepo = "../repository"\n'
            f'start = "{sys.executable} -S -E app.py"\nports = [{_free_port()}, {_free_port()}]\n'
        )
        if os.geteuid() == 0:
            text += 'user = "root"\n'
        text += '\n[app.shop.standby]\nkeep = "15m"\n'
        (self.root / "substitute.toml").write_text(text, encoding="utf-8")
        self.say(f"substitute.toml:\n\n    {text.replace(chr(10), chr(10) + '    ').rstrip()}")

    def under_load(self, operation: str, *, timed: bool = False) -> int:
        """Run `operation` while requests flow; the number of failed ones is returned, and said."""
        address = f"http://127.0.0.1:{self.listen}/"
        with Load(address) as get, Load(address, method="POST", connections=2) as post:
            for load in (get, post):
                load.wait_for(_STEADY)
            began = time.monotonic()
            self.substitute(operation)
            took = time.monotonic() - began
            for load in (get, post):
                load.wait_for(_STEADY)
            reports = [get.stop(), post.stop()]
        if timed:
            self.say(
                f"The command took {took:.2f} s, of which the traffic moved in {1000 * self.switch():.0f} ms."
            )
        failed = sum(len(report.failures) for report in reports)
        self.say(
            f"{failed} of {sum(report.requests for report in reports)} requests failed. {_answers(reports)}"
        )
        for failure in [failure for report in reports for failure in report.failures][:10]:
            self.say(f"  {failure.kind} at {failure.at:.3f}s: {failure.detail}")
        return failed

    def switch(self) -> float:
        """Seconds in which the latest deployment moved the traffic, by the journal."""
        known = subprocess.run(
            [*self._command, "history", "-n", "1", "--json"], check=True, capture_output=True
        )
        return float(json.loads(known.stdout)["deployments"][0]["seconds"]["admit"])

    def substitute(self, *arguments: str, quiet: bool = False) -> None:
        """Run the real command, as a user would type it."""
        if not quiet:
            self.say(f"$ substitute {' '.join(arguments)}")
        subprocess.run(  # ourselves
            [*self._command, *arguments],
            check=not quiet,
            stdout=subprocess.DEVNULL if quiet else None,
            stderr=subprocess.DEVNULL if quiet else None,
        )

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-P", "-m", "substitute", "-C", str(self.root)]

    def say(self, text: str) -> None:
        """Print a paragraph."""
        print(f"\n{text}", flush=True)  # noqa: T201  # the demonstration is a screen


def _answers(reports: list[Report]) -> str:
    versions = reports[0].versions + reports[1].versions
    return (
        "Answers: "
        + ", ".join(f"{count} by version {name}" for name, count in sorted(versions.items()))
        + "."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
