"""What an app's user can make root do, seen on real programs: nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.config.envfile import EnvFileError, read_env_file
from substitute.core.model.errors import SourceError
from substitute.core.model.programs import Program
from substitute.linux.probe_group import PROBE_GROUP
from substitute.linux.subprocesses import Shell, capture
from substitute.linux.users import account, acting_as
from substitute.runtimes.supervisord.launcher import render
from substitute.sources.archive.source import Archives
from substitute.sources.git.program import GitProgram
from substitute.sources.git.source import Git
from substitute.sources.git.submodules import update_submodules
from tests.contracts.repositories import IDENTITY, Place, page

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
USER = "nobody"


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory of root's that others may enter, as they may not where pytest puts its own."""
    with tempfile.TemporaryDirectory(prefix="substitute-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def slot(root: Path) -> Path:
    """A directory of the app's user's, in a root of root's."""
    return directory_of_theirs(root / "shop_a")


def directory_of_theirs(path: Path) -> Path:
    become = account(USER)
    assert become
    path.mkdir()
    os.chown(path, become.uid, become.gid)
    return path


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def owners(directory: Path) -> set[int]:
    return {path.stat().st_uid for path in directory.iterdir()}


def test_a_launcher_runs_nothing_of_the_slot_and_obeys_none_of_its_variables_before_it_is_the_user(
    slot: Path, root: Path
) -> None:
    become = account(USER)
    assert become
    traces = root / "traces"
    traces.mkdir()
    traces.chmod(0o777)
    for name in ("setpriv", "sh", "env", "cat"):
        script(slot / ".venv/bin" / name, f'echo > {traces}/{name}.$$; exec /usr/bin/{name} "$@"')
    value = 'it\'s "$HOME"; `id`\n\n%s  '
    environment = {
        "PATH": ".venv/bin:/usr/bin:/bin",
        "LD_DEBUG": "files",  # as LD_PRELOAD: obeyed before the program begins
        "LD_DEBUG_OUTPUT": f"{traces}/loader",
        "VALUE": value,
        "HOME": str(slot),
    }
    out = root / "out"
    out.write_text("")
    told = 'A=1 sh -c \'id -un; pwd; printf "%s|" "$VALUE" "$A" "$HOME"; env | grep -c ^SUBSTITUTE; exit 7\''
    launcher = root / "shop_a.sh"
    launcher.write_text(render(Program("shop_a", told, slot, environment, out, 30.0), become))
    launcher.chmod(0o700)

    ended = subprocess.run([launcher], cwd=root, env={}, check=False)

    assert ended.returncode == 7
    assert out.read_text() == f"{USER}\n{slot}\n{value}|1|{slot}|0\n"
    assert any(path.name.startswith("loader.") for path in traces.iterdir())
    assert any(path.name.startswith("sh.") for path in traces.iterdir())
    assert owners(traces) == {become.uid}


class TheirPlace(Place):
    """Slots of the app's user's, in a root of root's."""

    def source(self, branch: str | None = None, repo: str | None = None, **environment: str) -> Git:
        given = {**IDENTITY, **environment}
        said = (self.notices.append, self.warnings.append)
        places = lambda: [self.a, self.b]  # noqa: E731
        state = self.root / "deploy" / "releases"
        return Git(
            str(self.repository.directory), branch, places, given, *said, become=account(USER), state=state
        )

    def fill(self) -> None:
        source = self.source()
        source.update(self.a, source.resolve(self.a, None).commit, clean=False)
        assert owners(self.a) == {account(USER).uid}  # type: ignore[union-attr]


@pytest.fixture
def place(root: Path) -> TheirPlace:
    return TheirPlace(root)


def test_an_archive_is_unpacked_as_the_user_and_follows_no_link_of_theirs(root: Path) -> None:
    built, victim = root / "built", root / "victim"
    (built / "public").mkdir(parents=True)
    (built / "public" / "page").write_text("new")
    victim.mkdir()
    (victim / "page").write_text("precious")
    source = Archives(root, root / "deploy", print, become=account(USER))
    source.update(root / "shop_a", commit := source.resolve(root / "shop_a", str(built)).commit, clean=False)
    assert owners(root / "shop_a") == {account(USER).uid}  # type: ignore[union-attr]
    for name in ("public", ".substitute-archive"):
        (root / "shop_a" / name).rename(root / "shop_a" / f"{name}.away")
    (root / "shop_a" / "public").symlink_to(victim)
    (root / "shop_a" / ".substitute-archive").symlink_to("/etc/shadow")
    with pytest.raises(SourceError, match="Permission denied"):
        source.update(root / "shop_a", commit, clean=True)
    (root / "shop_a" / ".substitute-archive.away").rename(root / "shop_a" / ".substitute-archive")
    source.update(root / "shop_a", commit, clean=False)
    assert (victim / "page").read_text() == "precious"
    assert (root / "shop_a" / "public" / "page").read_text() == "new"
    assert owners(root / "shop_a") == {account(USER).uid}  # type: ignore[union-attr]


def test_of_a_version_that_goes_links_go_and_not_where_they_lead(place: TheirPlace) -> None:
    place.fill()
    (place.a / "built").mkdir()
    (place.a / "built" / "page").write_text("one")
    source = place.source()
    source.seal(place.a)
    victim = place.root / "victim"
    (place.a / "built").rename(victim)  # what was sealed, elsewhere
    (place.a / "built").symlink_to(victim)
    shutil.rmtree(place.a / ".git")
    (place.a / ".git").symlink_to(victim)
    assert source.remove(place.a) == [".git", "built"]
    assert (victim / "page").read_text() == "one"


def test_a_clone_that_became_a_link_has_root_remove_nothing(place: TheirPlace) -> None:
    place.fill()
    victim = place.root / "victim"
    (victim / "modules" / "kernel").mkdir(parents=True)
    shutil.rmtree(place.a / ".git")
    (place.a / ".git").symlink_to(victim)
    git = GitProgram(IDENTITY, print, local=True, become=account(USER))

    with pytest.raises(SourceError):  # it is no repository, so what seem to be its submodules are removed
        update_submodules(git, place.a, place.a / ".git", clean=False)

    assert (victim / "modules" / "kernel").is_dir()


def test_a_clone_that_became_a_link_is_set_aside_and_its_end_is_untouched(place: TheirPlace) -> None:
    place.fill()
    victim = place.root / "victim"
    (victim / "modules" / "kernel").mkdir(parents=True)
    (victim / "substitute-update").touch()
    before = sorted(path.name for path in victim.iterdir())
    (place.a / ".git").rename(place.a / ".git.away")
    (place.a / ".git").symlink_to(victim)
    second = place.repository.commit("two")
    source = place.source()

    source.update(place.a, source.resolve(place.a, None, ours=True).commit, clean=False)

    assert source.current(place.a) == second
    assert sorted(path.name for path in victim.iterdir()) == before
    assert (place.root / "shop_a.broken" / "page").read_text() == "one"


def test_a_clone_that_was_exchanged_for_a_link_becomes_no_slot(place: TheirPlace) -> None:
    (place.root / "outside").mkdir()
    script(
        place.root / "bin" / "git",
        'for last; do :; done; case "$*" in *" clone "*) exec ln -s '
        f'{place.root}/outside "$last";; esac; exec /usr/bin/git "$@"',
    )

    with pytest.raises(SourceError, match="cannot be made"):
        place.source(PATH=f"{place.root}/bin:/usr/bin:/bin").resolve(place.a, None)

    assert not place.a.is_symlink()
    assert not list(place.root.glob(".*"))


@pytest.mark.parametrize("name", ["config", "HEAD", "packed-refs"])
def test_a_pipe_in_a_clone_keeps_nobody_waiting(place: TheirPlace, name: str) -> None:
    place.fill()
    (place.a / ".git" / name).unlink(missing_ok=True)
    os.mkfifo(place.a / ".git" / name, 0o666)
    second = place.repository.commit("two")
    source = place.source()

    source.update(place.a, source.resolve(place.a, None, ours=True).commit, clean=False)

    assert source.current(place.a) == second
    assert page(place.a) == "two"


def test_files_are_reached_as_the_user_does_and_then_as_before(slot: Path, root: Path) -> None:
    become = account(USER)
    secret = root / "secret"
    secret.write_text("of root's")
    secret.chmod(0o640)
    (slot / "link").symlink_to(secret)
    groups = os.getgroups()

    with acting_as(become):
        for attempt in ((slot / "link").read_text, secret.unlink, (root / "new").touch):
            with pytest.raises(PermissionError):
                attempt()
        (slot / "made").touch()

    assert (slot / "link").read_text() == "of root's"
    assert owners(slot) == {become.uid, 0}  # type: ignore[union-attr]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o640
    assert os.getgroups() == groups


def test_git_of_the_deployers_sees_the_commits_of_a_clone_and_obeys_nothing_in_it(place: TheirPlace) -> None:
    signature = "\ngpgsig -----BEGIN PGP SIGNATURE-----\n\n"
    signed = place.repository.git("cat-file", "commit", "HEAD").replace("\n\n", signature, 1)
    made = capture(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        directory=place.repository.directory, environment=IDENTITY, given=signed + "\n",
    ).out.strip()  # fmt: skip
    place.repository.git("update-ref", "refs/heads/main", made)
    place.repository.git("tag", "v1")
    place.fill()
    script(place.root / "evil", f"touch {place.root}/ran_as_$(id -u)")
    trap = f"[log]\n showSignature = true\n[gpg]\n program = {place.root}/evil\n"
    with (place.a / ".git" / "config").open("a") as configuration:
        configuration.write(trap)

    def log(**environment: str) -> str:
        told = ["git", "-c", "safe.directory=*", "-C", str(place.a), "log", "--format=%s %D"]
        return capture(told, environment={**IDENTITY, **environment}).out

    log()
    (place.root / "ran_as_0").unlink()  # so that is what obeying it does

    said = log(**place.source().view(place.a, place.root / "git"))

    assert said.startswith("Say one HEAD, tag: v1")
    assert not (place.root / "ran_as_0").exists()
    second = place.repository.commit("two")
    source = place.source()
    source.update(place.a, source.resolve(place.a, None).commit, clean=False)
    assert log(**source.view(place.a, place.root / "git")).startswith("Say two HEAD")
    assert source.current(place.a) == second


def test_an_env_file_in_a_slot_is_no_way_to_a_file_of_roots(slot: Path, root: Path) -> None:
    secret = root / "of_root.env"
    secret.write_text("TOKEN=s3cr3t\n")
    secret.chmod(0o600)
    assert read_env_file(secret, root) == {"TOKEN": "s3cr3t"}
    (slot / ".env").symlink_to(secret)
    with pytest.raises(EnvFileError, match="Permission denied"):
        read_env_file(slot / ".env", root)
    (slot / ".env").unlink()
    os.mkfifo(slot / ".env")
    with pytest.raises(EnvFileError, match="not a regular file"):
        read_env_file(slot / ".env", root)


@pytest.mark.parametrize("user", [None, USER])
def test_who_probes_keeps_the_groups_that_it_had(root: Path, user: str | None) -> None:
    ended = Shell().run(
        ["id", "-G"],
        directory=root,
        environment=os.environ,
        on_line=lambda _: None,
        on_start=lambda _: None,
        user=user,
        probes=True,
    )
    become = account(user)
    had = {become.gid, *become.groups} if become else {os.getegid(), *os.getgroups()}
    assert set(map(int, ended.tail[-1].split())) == {PROBE_GROUP, *had}


@pytest.mark.parametrize("privilege", ["setgid", "net_admin"])
def test_without_the_privilege_who_probes_runs_as_ever(root: Path, privilege: str) -> None:
    asked = "from substitute.linux.probe_group import as_probe; print(as_probe(None))"
    without = ["setpriv", f"--bounding-set=-{privilege}", f"--inh-caps=-{privilege}"]
    said = subprocess.run(
        [*without, sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=root
    )
    assert said.stdout == "{}\n"
