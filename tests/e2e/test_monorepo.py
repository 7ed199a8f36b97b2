"""One repository with two apps: each is built, started and watched where it lives."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.site import APP, Site
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

HOOK = "#!/bin/sh\necho from $(pwd)\n"


class Monorepo(Site):
    """The apps ``web`` and ``admin`` in ``apps/``, and ``lib``, which both use."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.changes(web="1", admin="1")
        top = self.repository.directory
        for directory, hook in (("apps/web", "pre_install"), ("", "pre_install"), ("", "post_install")):
            file = top / directory / ".substitute" / "hooks" / hook
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{HOOK}echo {directory or 'top'}\n")
            file.chmod(0o755)
        self.repository.commit_all("Hooks")

    def configure(self, *, more: str = "", start: str = "", balancer: str = "") -> None:
        """Both apps; `more` is for `web`."""
        super().configure(start=start)
        file = self.root / "substitute.toml"
        general = file.read_text().partition("[app.shop]")[0]
        if not hasattr(self, "more_ports"):
            self.more_ports = (free_port(), free_port())
        apps = "".join(
            f'[app.{name}]\nrepo = "{self.repository.directory}"\ndirectory = "{directory}"\n'
            f'watch = ["apps/{name}", "lib"]\nuser = "root"\nbuild = ["cp version.txt built.txt"]\n'
            f'start = "{sys.executable} -S -E app.py"\nports = {list(ports)}\ndomains = ["{name}.example.com"]\n{more}'
            for name, ports, directory, more in (
                ("web", self.ports, "apps/web", more),
                ("admin", self.more_ports, "./apps//admin/", ""),
            )
        )
        file.write_text(general + apps)

    def changes(self, **versions: str) -> str:
        """Commit new versions of apps, or of something else."""
        for name, version in versions.items():
            directory = self.repository.directory / "apps" / name
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(APP, directory / "app.py")
            (directory / "version.txt").write_text(version + "\n")
        return self.repository.commit_all(f"Version {versions}")

    def lives(self) -> dict[str, str]:
        return {
            app["name"]: app["slots"][app["live"]]["commit"] for app in self.status()["apps"] if app["live"]
        }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Monorepo]:
    made = Monorepo(tmp_path)
    yield made
    made.close()


def outputs(events: list[dict[str, Any]], phase: str) -> list[str]:
    return [event["line"] for event in events if event["event"] == "output" and event["phase"] == phase]


def test_each_app_lives_in_its_directory_and_is_deployed_where_it_changed(site: Monorepo) -> None:
    events = site.events("deploy")
    assert next(event for event in events if event["event"] == "announced")["apps"] == ["web", "admin"]
    place = site.root / "web_a" / "apps" / "web"
    assert (place / "built.txt").read_text() == "1\n"
    assert outputs(events, "hook:pre_install") == [
        *(f"from {place}", "apps/web"),
        *(f"from {site.root / 'admin_a' / 'apps' / 'admin'}", "top"),
    ]
    first = site.repository.head()
    assert site.lives() == {"web": first, "admin": first}

    second = site.changes(web="2")
    assert [event["event"] for event in site.events("deploy", "-a", "admin")][-1] == "unchanged"
    events = site.events("deploy")
    told = {event["event"]: event for event in events}
    assert (told["unchanged"]["app"], told["unchanged"]["chosen"]) == ("admin", second)
    assert (told["announced"]["apps"], told["announced"]["unchanged"]) == (["web"], ["admin"])
    assert site.lives() == {"web": second, "admin": first}

    (site.repository.directory / "README").write_text("of interest to nobody")
    third = site.repository.commit_all("Document")
    assert "changes nothing in apps/web, lib" in site.run("deploy", "-a", "web").stdout
    site.run("deploy", "-a", "web", "--force")
    assert site.lives() == {"web": third, "admin": first}
    site.run("rollback", "-a", "web")
    assert site.lives() == {"web": second, "admin": first}


def test_a_procfile_in_the_directory_starts_the_app(site: Monorepo) -> None:
    site.run("deploy", "-a", "web")
    file = site.root / "substitute.toml"
    file.write_text(
        "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("start"))
    )
    said = site.run("deploy", "-a", "web", "--force", exit_status=1).stderr
    assert "The commit has no apps/web/Procfile, and app.web.start is not written." in said
    procfile = site.repository.directory / "apps" / "web" / "Procfile"
    procfile.write_text(f"web: {sys.executable} -S -E app.py\nworker: exec sleep 600\n")
    commit = site.repository.commit_all("Say how")
    site.run("deploy", "-a", "web")
    assert site.lives()["web"] == commit
    procfile.unlink()
    site.repository.commit_all("Say no more")
    site.run("deploy", "-a", "web", exit_status=1)
    site.run("restart", "-a", "web")
    assert site.lives()["web"] == commit


def test_a_directory_that_is_missing_or_leads_out_fails_before_anything_starts(site: Monorepo) -> None:
    site.run("deploy")
    first = site.repository.head()
    lib = site.repository.directory / "lib"
    lib.mkdir()
    (lib / "page").write_text("of both")
    shutil.rmtree(site.repository.directory / "apps" / "admin")
    second = site.repository.commit_all("Drop admin")
    failed = site.popen("deploy", "--json")
    out = failed.communicate()[0]
    assert failed.returncode == 1
    assert f'"reason": "The commit {second[:10]} has no directory apps/admin.' in out
    assert '"event": "halted"' in out
    assert '"deployed": ["web"], "not_begun": []' in out
    assert site.lives() == {"web": second, "admin": first}

    place = site.repository.directory / "apps" / "web"
    place.rename(site.repository.directory / "moved")
    place.symlink_to("../moved")  # a link that stays in the slot is a directory like another
    third = site.repository.commit_all("Move web")
    site.run("deploy", "-a", "web", "--force")
    place.unlink()
    place.symlink_to(site.root)
    site.repository.commit_all("Lead out")
    said = site.run("deploy", "-a", "web", exit_status=1).stderr
    assert "apps/web leads out of slot b" in said
    assert str(site.root) in said
    assert site.lives()["web"] == third
