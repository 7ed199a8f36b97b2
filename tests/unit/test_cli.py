from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest

from substitute import __version__, config
from substitute.cli.edge import run
from substitute.cli.glossary import PHASES, WORDS, page
from substitute.cli.group import commands
from substitute.cli.reference import reference
from substitute.cli.table import COMMANDS, SECTIONS
from substitute.config.root import MINIMAL
from substitute.core.deploy import deployment
from substitute.core.model.errors import (
    ConfigError,
    DeploymentFailedError,
    InterruptedByUserError,
    LockedError,
    NothingServesError,
    SubstituteError,
    UsageError,
)
from substitute.core.model.events import Notice
from substitute.core.state.journal import Journal
from substitute.wiring import opening
from substitute.wiring.adapters import IN_USE
from substitute.wiring.site import IS_HOST

if TYPE_CHECKING:
    from substitute.core.model.events import Emit

ROOT = Path(__file__).parents[2]


class Opened:
    """What commands asked of the site that they were given instead of a real one."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.done: list[tuple[Any, ...]] = []

    def open_site(
        self, root: str | None, emit: Emit, *, reading: bool = False, wait: float = 0.0
    ) -> SimpleNamespace:
        self.root = root
        host = SimpleNamespace(emit=emit)
        return SimpleNamespace(
            host=host,
            apps={},
            app=lambda name=None: name,
            deployed=lambda name=None: [name],
            close=lambda: None,
        )

    def deploy(
        self,
        _host: object,
        app: str | None,
        commit: str | None,
        *,
        sha256: str | None,
        if_changed: bool,
        now: bool,
        hold_for: float | None,
        force: bool,
        skip_release: bool,
        tag: str,
    ) -> None:
        assert not tag
        assert not skip_release
        assert not if_changed
        assert not now
        assert not force
        assert sha256 is None
        self.done.append((app, commit))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    fake = Opened()
    monkeypatch.setattr(opening, "open_site", fake.open_site)
    monkeypatch.setattr(deployment, "deploy", fake.deploy)
    return fake


# -- start-up: scripts and prompts call it often ---------------------------------------------------

HEAVY = ("rich", "supervisor", "xmlrpc", "sqlite3")
OWN = ("balancers", "runtimes", "sources", "config", "wiring", "probing", "linux", "console")


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_version_and_the_help_import_no_adapter_and_no_rich(option: str) -> None:
    loaded = loaded_by(option)
    assert not loaded & {*HEAVY, *(f"substitute.{name}" for name in OWN)}
    assert ("click" in loaded) == (option == "--help")


def test_status_imports_nothing_that_only_other_commands_errors_or_runtimes_need(tmp_path: Path) -> None:
    """Where nothing runs, so that no supervisord is asked; and not the first time, when any balancer may be in use.

    Nor where the journal knows no app: then what runs is looked for.
    """
    (tmp_path / "substitute.toml").write_text(MINIMAL)
    (tmp_path / "deploy").mkdir()
    journal = Journal(tmp_path / "deploy" / "journal.db")
    journal.remember(IN_USE, "{}")
    for app in config.apps(config.load(tmp_path), tmp_path).values():
        journal.register(app)
    journal.close()
    loaded = loaded_by("status", tmp_path)

    assert not loaded & {
        "click",
        "dataclasses",
        "inspect",
        "rich",
        "supervisor",
        "xmlrpc",
        "http",
        "email",
        "ssl",
        "difflib",
        "hashlib",
        "secrets",
        "shutil",
        "random",
    }
    others = {f"substitute.balancers.{kind}" for kind in ("nginx", "traefik", "passive")}
    unused = (
        "hosts",
        "linux.dialogue",
        "config.document",
        "config.reference",
        "core.deploy.readiness",
        "core.deploy.running",
        "balancers.haproxy.routes",
        "core.operate.guests",
        "guardian",
    )
    ours = {
        f"substitute.{name}"
        for name in (
            "drill",
            "demo",
            "hosts",
            "linux.dialogue",
            "probing.observer",
            "probing.probes",
            "probing.strangers",
            *unused,
        )
    }
    assert not loaded & {*others, *ours}
    assert {"substitute.core.operate.status", "substitute.balancers.haproxy.balancer"} <= loaded


@pytest.mark.parametrize("runtime", ["supervisord", "systemd"])
def test_a_rollback_imports_nothing_that_makes_a_version(runtime: str) -> None:
    used = ("core.deploy.deployment", "sources.git.source", f"runtimes.{runtime}.runtime")
    code = f"import sys, {', '.join(f'substitute.{name}' for name in used)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    making = (
        "preparation.version",
        "preparation.commands",
        "preparation.shared",
        "starting",
        "running.draining",
    )
    ours = {"substitute.sources.git.commits", *(f"substitute.core.deploy.{name}" for name in making)}
    assert not set(done.stdout.split()) & {"shutil", "hashlib", "ctypes", *ours}


def test_a_command_leaves_the_journal_in_one_file(tmp_path: Path) -> None:
    """Whoever copies it has all of it."""
    (tmp_path / "substitute.toml").write_text(MINIMAL)
    loaded_by("status", tmp_path)
    assert [file.name for file in (tmp_path / "deploy").glob("journal.db*")] == ["journal.db"]


def loaded_by(argument: str, directory: Path | None = None) -> set[str]:
    script = (
        "import os, sys; from substitute.cli import main; sys.argv = ['substitute', sys.argv[1]]; "
        "end = os._exit; os._exit = lambda status: (print(*sorted(sys.modules), file=sys.stderr), end(status)); "
        "os._exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, argument], cwd=directory, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_the_version_is_told_wherever_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    module = [sys.executable, "-m", "substitute", "--version"]
    assert subprocess.run(module, capture_output=True, text=True, check=True).stdout == (
        f"substitute {__version__}\n"
    )
    assert run(["-C", "/", "--version"]) == 0
    assert capsys.readouterr().out == f"substitute {__version__}\n"


def test_every_command_of_the_table_is_there_under_its_name() -> None:
    context = click.Context(commands)
    for name in COMMANDS:
        command = commands.get_command(context, name)
        assert command is not None
        assert command.name == name


# -- what is typed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        ["-C", "/srv/shop", "deploy", "-a", "shop", "v1"],
        ["deploy", "v1", "-C", "/srv/shop", "--app", "shop"],
        ["-C", "/elsewhere", "deploy", "--root", "/srv/shop", "-a", "shop", "v1", "--json"],
    ],
)
def test_the_root_is_named_before_the_command_or_after_it(opened: Opened, typed: list[str]) -> None:
    assert run(typed) == 0
    assert (opened.root, opened.done) == ("/srv/shop", [("shop", "v1")])


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["deploy", "--resume"], "--resume is for several hosts"),
        (["deploy", "--batch", "2"], "--batch is for several hosts"),
        (["deploy", "--without", "web1"], "--without is for several hosts"),
        (["deploy", "--hosts", "web", "--batch", "150%"], "'150%' is not a number of hosts"),
    ],
)
def test_what_is_for_several_hosts_is_refused_where_none_are_named(
    opened: Opened, capsys: pytest.CaptureFixture[str], typed: list[str], told: str
) -> None:
    assert run(typed) == 2
    assert told in capsys.readouterr().err
    assert not opened.done


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--hosts", "web"], "substitute.toml names no hosts"),
        (["--hosts", "wed"], "Did you mean web?"),
        (["--on", "web3"], "[hosts] has no host called 'web3'"),
        (["--hosts", "web", "--without", "web1"], "No host is left"),
        (["--hosts", "web", "-a", "blog"], "No app is called 'blog'"),
    ],
)
def test_hosts_that_are_not_there_are_refused_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: list[str], told: str
) -> None:
    hosts = "" if "names no" in told else '\n[hosts]\nweb = ["deploy@web1"]\n'
    (tmp_path / "substitute.toml").write_text(MINIMAL + hosts)
    assert run(["-C", str(tmp_path), "deploy", *typed]) == 2
    assert told in capsys.readouterr().err


def test_what_is_meant_for_hosts_is_not_deployed_here_by_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "substitute.toml").write_text(f'{MINIMAL}\n[hosts]\nweb = ["deploy@web1"]\n')
    assert run(["-C", str(tmp_path), "deploy"]) == 2
    assert "`--hosts all` deploys on them" in capsys.readouterr().err
    journal = Journal(tmp_path / "deploy" / "journal.db")
    journal.remember(IS_HOST, "yes")
    journal.close()
    deployed: list[Any] = []
    monkeypatch.setattr(deployment, "deploy", lambda *done, **_: deployed.append(done[1].name))
    assert run(["-C", str(tmp_path), "deploy"]) == 0
    assert deployed == ["shop"]


def test_without_a_commit_the_newest_is_deployed(opened: Opened) -> None:
    assert run(["deploy"]) == 0
    assert (opened.root, opened.done) == (None, [(None, None)])


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["depoly"], "Did you mean 'deploy'?"),
        (["xyzzy"], "There is deploy, rollback, promote,"),
        (["help", "depoly"], "Did you mean 'deploy'?"),
        (["completion"], "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"),
        (["deploy", "--jsno"], "--json"),
        (["deploy", "--", "--upload-pack=x"], "'--upload-pack=x' cannot be a commit"),
        (["deploy", ""], "cannot be a commit"),
        (["deploy", "-x"], "-x"),
        (["start", "shop_a", ".", "0"], "0 is not in the range"),
        (["start", "shop_a", ".", "http"], "not a valid integer"),
        (["stop"], "Missing argument"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(
    opened: Opened, capsys: pytest.CaptureFixture[str], typed: list[str], hint: str
) -> None:
    assert run(typed) == 2
    seen = capsys.readouterr()
    assert hint in seen.err
    assert "--help` tells how it is used." in seen.err
    assert "^J" not in seen.err
    assert (seen.out, opened.done) == ("", [])


def test_a_usage_error_is_json_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["depoly", "--json"]) == 2
    seen = capsys.readouterr()
    event = json.loads(seen.out)
    assert (event["event"], event["exit"], seen.err) == ("error", 2, "")


# -- the edge --------------------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def open_site(root: str | None, emit: Emit, *, reading: bool = False, wait: float = 0.0) -> None:
        raise error

    monkeypatch.setattr(opening, "open_site", open_site)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DeploymentFailedError("Slot b did not answer."), 1),
        (SubstituteError("The journal cannot be used."), 1),
        (OSError(28, "No space left on device", "/srv/shop"), 1),
        (UsageError("No such app."), 2),
        (ConfigError("Bad key."), 2),
        (LockedError("Held."), 3),
        (NothingServesError("Nothing serves."), 4),
        (ZeroDivisionError("division by zero"), 70),
        (InterruptedByUserError("Ctrl-C."), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_status_says_how_it_ended(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
) -> None:
    failing(monkeypatch, error)

    assert run(["deploy"]) == status
    seen = capsys.readouterr()
    assert seen.out == ""
    assert ("Traceback" in seen.err) == (status == 70)
    assert str(error).splitlines()[0] in seen.err if isinstance(error, SubstituteError) else True


def test_a_bug_says_that_it_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, ZeroDivisionError("division by zero"))

    assert run(["status"]) == 70
    assert "This is a bug in substitute." in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["out", "reader"])
def test_nobody_who_reads_is_no_error(tmp_path: Path, closed: str) -> None:
    program = [sys.executable, "-m", "substitute", "completion", "bash"]
    read, write = os.pipe()
    os.close(read)
    if closed == "out":
        program = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *program]
    done = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, check=False, cwd=tmp_path)
    os.close(write)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "typed", ["completion bash", "config --schema", "config", "config --json", "--version"]
)
def test_a_full_standard_output_is_an_error_where_the_output_is_the_result(
    tmp_path: Path, typed: str
) -> None:
    (tmp_path / "substitute.toml").write_text(MINIMAL)
    program = [sys.executable, "-m", "substitute", *typed.split()]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, check=False, cwd=tmp_path)

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


def test_a_deployment_that_could_not_show_its_events_has_succeeded_all_the_same(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(deployment, "deploy", lambda host, *_, **__: host.emit(Notice("begun")))
    assert run(["deploy"]) == 0


class Full(io.StringIO):
    """Of a disk that is full."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("more", [["a"], ["-f"]])
def test_a_deployments_log_is_neither_a_slots_nor_followed(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["logs", "--deployment", "3", *more]) == 2
    assert "leave out SLOT and -f" in capsys.readouterr().err


# -- completion and documents ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("substitute ro", {"rollback"}),
        ("substitute deploy -a ", {"shop", "blog"}),
        ("substitute stop s", {"shop_a", "shop_b"}),
        ("substitute logs ", {"a", "b"}),
        (
            "substitute deploy --",
            {
                "--app",
                "--all-at-once",
                "--batch",
                "--hosts",
                "--on",
                "--without",
                "--resume",
                "--skip-release",
                "--if-changed",
                "--force",
                "--hold",
                "--now",
                "--wait",
                "--json",
                "--root",
                "--sha256",
                "--help",
            },
        ),
    ],
)
def test_the_shell_completes_commands_apps_and_slots(tmp_path: Path, typed: str, offered: set[str]) -> None:
    (tmp_path / "substitute.toml").write_text("[app.shop]\n[app.blog]\n")
    words = typed.split()
    position = len(words) if typed.endswith(" ") else len(words) - 1
    done = subprocess.run(
        [sys.executable, "-m", "substitute"],
        cwd=tmp_path,
        env={
            **{key: value for key, value in os.environ.items() if key != "SUBSTITUTE_ROOT"},
            "_SUBSTITUTE_COMPLETE": "bash_complete",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(position),
        },
        capture_output=True,
        text=True,
        check=True,
    )

    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_calls_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"_SUBSTITUTE_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_the_commands_page_is_made_from_the_commands() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == reference(), (
        "run: python -m substitute.cli.reference > docs/commands.md"
    )


def test_the_glossary_is_made_from_the_words_that_the_help_explains() -> None:
    assert (ROOT / "docs" / "glossary.md").read_text() == page(), (
        "run: python -m substitute.cli.glossary > docs/glossary.md"
    )


def test_nothing_typed_shows_the_help_as_help_does_and_is_an_error_for_scripts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{title}:\n" in shown for title in SECTIONS)
    assert run([]) == 2
    assert capsys.readouterr() == (shown, "")
    assert run(["help"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_each_command_as_its_own_help_does(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run([name, "--help"]) == 0
    explained = capsys.readouterr().out
    assert run(["help", name]) == 0
    assert capsys.readouterr().out == explained


@pytest.mark.parametrize(
    "name", ["deploy", "rollback", "restart", "promote", "abort", "standby", "stop", "down"]
)
def test_whatever_needs_an_app_that_another_command_works_on_can_wait_for_it(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run([name, "--help"]) == 0
    assert "--wait" in capsys.readouterr().out


def test_help_explains_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "words"]) == 0
    seen = capsys.readouterr().out
    assert all(f"  {word}: " in seen for word in (*WORDS, *PHASES))


def test_the_script_of_the_origin_passes_everything_on(tmp_path: Path) -> None:
    program = tmp_path / "substitute"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    program.chmod(0o755)
    script = shutil.copy(ROOT / "deploy.sh", tmp_path)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [script, "deploy", "a b"], env={"PATH": path}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (3, "deploy\na b\n")
