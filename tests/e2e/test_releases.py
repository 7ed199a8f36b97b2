"""Versions that come from git and from archives, kept, gone back to and removed, while requests flow."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.traffic import under_load

if TYPE_CHECKING:
    from tests.e2e.site import Site

pytestmark = pytest.mark.slow

BUILD = 'echo "$SUBSTITUTE_COMMIT $PWD" >> "$(dirname "$PWD")/builds"; pwd > where\n'


def builds(site: Site) -> list[list[str]]:
    """The commit of each build, and where it was."""
    return [line.split() for line in (site.root / "builds").read_text().splitlines()]


def directories(site: Site) -> list[str]:
    return sorted(path.name for path in site.root.glob("shop_*") if not path.is_symlink())


class Versions:
    """What was deployed of a site, by the names of its versions."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.commits: dict[str, str] = {}

    def deploy(self, version: str) -> str:
        self.commits[version] = self.site.repository.commit(version, build=BUILD)
        ended = self.site.run("deploy")
        return ended.stdout + ended.stderr

    def kept(self) -> list[str]:
        """As `status` and `history` say, which is the same."""
        found = set(self.site.app()["kept"])
        marked = {one["commit"] for one in self.site.document("history")["deployments"] if one["kept"]}
        assert marked == found
        return [version for version, commit in self.commits.items() if commit in found]

    def live(self) -> tuple[str, str]:
        """The version, and the name of its directory."""
        app = self.site.app()
        slot = app["slots"][app["live"]]
        known = {commit: version for version, commit in self.commits.items()}
        return known[slot["commit"]], Path(slot["directory"]).name


def test_from_two_slots_to_versions_with_a_directory_each_and_back(site: Site) -> None:
    versions = Versions(site)
    commits, deploy, kept, live = versions.commits, versions.deploy, versions.kept, versions.live
    deploy("1")

    def today() -> None:
        deploy("2")
        assert directories(site) == ["shop_a", "shop_b"]

    def more() -> None:
        site.configure(more="releases = 3\n")
        deploy("3")
        assert directories(site) == ["shop_3", "shop_a", "shop_b"]
        assert kept() == ["1", "2", "3"]
        (site.root / "shop_3" / "orders.db").write_text("7")
        assert "shop_a is used no longer" in deploy("4")  # it was built before any were kept
        (site.root / "shop_b" / "mine").write_text("precious")
        deploy("5")
        assert kept() == ["3", "4", "5"]

    def back() -> None:
        site.repository.directory.rename(site.repository.directory.with_name("gone"))
        before = len(builds(site))
        out = site.run("rollback", commits["3"][:7]).stdout
        assert "as it stands" in out
        assert live() == ("3", "shop_3")
        assert (site.root / "shop_current" / "where").read_text().strip() == str(site.root / "shop_3")
        site.run("rollback")
        assert live() == ("5", "shop_5")
        assert len(builds(site)) == before
        site.repository.directory.with_name("gone").rename(site.repository.directory)

    def removed() -> None:
        shutil.rmtree(site.root / "shop_4")
        told = site.run("rollback", commits["4"])  # its files are gone, and that is said
        assert f"no longer holds {commits['4'][:10]}" in told.stdout + told.stderr
        assert "never live" in site.run("rollback", "abcdef", exit_status=2).stderr
        assert "live already" in site.run("rollback", commits["4"], exit_status=2).stderr
        site.configure(more="releases = 2\n")
        site.run("rollback", commits["5"])
        assert kept() == ["4", "5"]

    def lost() -> None:
        for file in (site.root / "deploy").glob("journal.db*"):
            file.unlink()
        site.run("up")
        assert live() == ("5", "shop_5")

    seen = under_load(site, today, more, back, removed, lost)
    assert seen == {"1", "2", "3", "4", "5"}
    # What was built is gone; what was written there since is not, and was told.
    assert [path.name for path in (site.root / "shop_3").iterdir()] == ["orders.db"]
    assert (site.root / "shop_b" / "mine").read_text() == "precious"
    assert (site.root / "shop_b" / "app.py").exists()  # built when none were kept: it was left alone
    assert len({place for _, place in builds(site)}) > 3


def packed(site: Site, version: str) -> Path:
    """What is built of a version, in a file."""
    (site.repository.directory / "version.txt").write_text(version + "\n")
    file = site.root.parent / f"shop-{version}.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name in ("app.py", "version.txt"):
            archive.add(site.repository.directory / name, name)
    return file


def test_what_was_built_elsewhere_is_deployed_gone_back_to_and_restarted(site: Site) -> None:
    site.configure()
    toml = site.root / "substitute.toml"
    lines = [line for line in toml.read_text().splitlines() if not line.startswith(("repo", "build"))]
    toml.write_text("\n".join([*lines, 'source = "archive"', ""]))
    one, two, three = (packed(site, version) for version in "123")
    digests = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in (one, two, three)}

    site.run("deploy", str(one), "--sha256", digests[one])

    def there() -> None:
        refused = site.run("deploy", str(two), "--sha256", digests[one], exit_status=2)
        assert f"Its SHA-256 is {digests[two]}" in refused.stderr
        events = site.events("deploy", str(two))
        assert (events[-1]["commit"], events[-1]["previous"]) == (digests[two], digests[one])

    def back() -> None:
        site.run("rollback")
        for file in (one, two):
            file.unlink()
        site.run("restart")  # its file is gone, and it was kept
        site.assert_only_serves("b")

    def broken() -> None:
        three.write_bytes(three.read_bytes()[:-20])
        refused = site.run("deploy", str(three), exit_status=2)
        assert "is broken" in refused.stderr
        assert "deploy FILE" in site.run("deploy", exit_status=2).stderr

    def directory() -> None:
        built = site.root.parent / "built"
        subprocess.run(["cp", "-r", site.repository.directory, built], check=True)
        (built / "version.txt").write_text("4\n")
        site.run("deploy", str(built))

    assert under_load(site, there, back, broken, directory) == {"1", "2", "4"}
    subjects = [one["subject"] for one in site.document("history")["deployments"]]
    assert subjects[0] == "built"
    assert "shop-2.tar.gz" in subjects
