"""Versions that are images of a registry, or of an archive: which one a tag means, and who has it when it is gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.containers import ENGINES, ContainerSite, fill
from tests.e2e.registries import PASSWORD, USER, Registry, registry
from tests.e2e.site import fetch
from tests.e2e.traffic import under_load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.containers import Engine

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


class ImageSite(ContainerSite):
    """Its versions are images of `registry`."""

    def __init__(self, place: Path, engine: Engine, kind: str, registry: Registry) -> None:
        super().__init__(place, engine, kind)
        self.registry = registry
        self.name = f"{registry.address}/shop"
        self.use()

    def use(self, tag: str = "", more: str = "") -> None:
        self.image = f'source = "image"\nimage = "{self.name}{tag}"\n'
        self.configure(more=more)

    def push(self, version: str, *tags: str) -> str:
        """Build a version, push it as each of `tags`, and forget it here; its digest."""
        self.repository.commit(version)
        names = [f"{self.name}:{tag}" for tag in tags]
        note = self.root / "digest"
        for name in names:
            self.engine("build", "--quiet", "--tag", name, str(self.repository.directory))
            self.engine("push", *(["--digestfile", str(note)] if self.kind == "podman" else []), name)
        if self.kind == "podman":  # what is here has another one: its layers are not packed
            self.engine("image", "rm", *names)
            return note.read_text().partition("sha256:")[2]
        told = self.engine("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', names[0])
        self.engine("image", "rm", *names)
        (digest,) = [line for line in told.splitlines() if line.startswith(f"{self.name}@")]
        return digest.partition("@sha256:")[2]

    def live(self) -> str:
        app = self.app()
        found: str = app["slots"][app["live"]]["commit"]
        return found


@pytest.fixture(params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Engine]:
    settings = tmp_path / "registries.conf"  # Podman wants TLS of each registry that is not named there
    settings.write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(settings))
    found: Engine = request.getfixturevalue(request.param)
    fill(found)
    return request.param, found


@pytest.fixture
def site(tmp_path: Path, engine: tuple[str, Engine]) -> Iterator[ImageSite]:
    with registry(tmp_path / "registry") as made:
        site = ImageSite(tmp_path, engine[1], engine[0], made)
        yield site
        site.close()


def assert_only_our_names(site: ImageSite) -> None:
    """An image goes with the last name that it has, so the one that it was fetched by may not stay."""
    names = site.engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert not [name for name in names if name.startswith(f"{site.name}:") and "<none>" not in name]


def history(site: ImageSite) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.document("history")["deployments"]
    return found


def test_a_tag_is_deployed_by_its_digest_wherever_that_moves(site: ImageSite) -> None:
    first, second = site.push("1", "v1", "latest"), site.push("2", "v2", "stable")
    site.run("deploy")
    assert (fetch(site.url), site.live()) == ("version 1\n", first), "latest"
    site.use(":stable")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    assert site.live() == second
    third = site.push("3", "stable")
    assert under_load(site, lambda: site.run("deploy")) == {"2", "3"}
    assert site.live() == third
    assert under_load(site, lambda: site.run("rollback", "latest"), lambda: site.run("rollback")) >= {
        "1",
        "3",
    }
    site.run("deploy", "v2")
    assert (fetch(site.url), site.live()) == ("version 2\n", second)
    told = site.run("deploy", "v9", exit_status=1).stderr
    assert f"{site.name}:v9" in told
    assert "manifest" in told
    assert fetch(site.url) == "version 2\n"
    assert second[:10] in site.run("status").stdout
    shown = site.run("history").stdout
    assert "v2" in shown
    assert second[:10] in shown
    assert_only_our_names(site)


def test_without_its_registry_a_rollback_starts_what_is_here(site: ImageSite) -> None:
    first, _ = site.push("1", "v1"), site.push("2", "v2")
    site.run("deploy", "v1")
    site.run("deploy", "v2")
    site.registry.stop()
    assert under_load(site, lambda: site.run("rollback"), lambda: site.run("restart")) == {"2", "1"}
    assert site.live() == first
    told = site.run("deploy", "v3", exit_status=1).stderr
    assert "cannot be fetched" in told
    assert "refused" in told
    site.run("deploy", first)
    assert fetch(site.url) == "version 1\n"


def test_a_registry_with_a_login_knows_the_one_of_who_deploys(
    tmp_path: Path, engine: tuple[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, run = engine
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with registry(tmp_path / "registry", login=True) as made:
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))  # a registry would heed it, too
        site = ImageSite(tmp_path, run, kind, made)
        try:
            run("login", "--username", USER, "--password-stdin", made.address, input=PASSWORD.encode())
            first = site.push("1", "v1")
            run("logout", made.address)
            told = site.run("deploy", "v1", exit_status=4).stderr
            assert re.search("no basic auth credentials|unauthorized|authentication required", told), told
            assert "login" in told
            run("login", "--username", USER, "--password-stdin", made.address, input=PASSWORD.encode())
            site.run("deploy", "v1")
            assert site.live() == first
            assert fetch(site.url) == "version 1\n"
            run("pull", f"{site.name}:v1")
            run("logout", made.address)
            told = site.run("deploy", "v1", exit_status=1).stderr
            assert "may be an older one, and is not used" in told, "it is refused, though it is here"
            made.stop()
            told = site.run("deploy", "v1").stdout
            assert "the one that is here already is used" in told
            run("image", "rm", f"{site.name}:v1")
        finally:
            site.close()


def test_an_archive_of_an_image_needs_no_registry(site: ImageSite, tmp_path: Path) -> None:
    site.registry.stop()
    for version in ("1", "2"):
        site.repository.commit(version)
        name, archive = f"localhost/archived:{version}", tmp_path / f"{version}.tar"
        site.engine("build", "--quiet", "--tag", name, str(site.repository.directory))
        site.engine("save", "--output", str(archive), name)
    number = site.engine("image", "inspect", "--format", "{{.Id}}", "localhost/archived:2").removeprefix(
        "sha256:"
    )
    site.engine("image", "rm", "localhost/archived:1", "localhost/archived:2")
    site.run("deploy", str(tmp_path / "1.tar"))
    told = site.run("deploy", str(tmp_path / "2.tar"), "--sha256", "0" * 64, exit_status=2).stderr
    assert f"is {number}, and not 0000" in told
    assert under_load(site, lambda: site.run("deploy", str(tmp_path / "2.tar"), "--sha256", number)) == {
        "1",
        "2",
    }
    assert site.live() == number
    (tmp_path / "3.tar").write_text("no image")
    assert "is no image" in site.run("deploy", str(tmp_path / "3.tar"), exit_status=1).stderr
    assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}
    names = site.engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert not [name for name in names if "archived" in name], "an image goes with its last name"


def test_an_archive_of_several_images_is_refused_and_leaves_nothing(site: ImageSite, tmp_path: Path) -> None:
    names = ["localhost/archived:3", "localhost/archived:4"]
    for version, name in zip("34", names, strict=True):
        site.repository.commit(version)
        site.engine("build", "--quiet", "--tag", name, str(site.repository.directory))
    archive = tmp_path / "both.tar"
    several = ["--multi-image-archive"] if site.kind == "podman" else []
    site.engine("save", *several, "--output", str(archive), *names)
    site.engine("image", "rm", names[1])
    told = site.run("deploy", str(archive), exit_status=4).stderr
    assert "holds 2 images" in told
    assert "save --output FILE" in told
    left = site.engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert [name for name in left if "archived" in name] == names[:1], "what was here before stays"
    site.engine("image", "rm", names[0])


def test_a_commit_has_the_image_that_something_else_has_built_of_it(site: ImageSite) -> None:
    def commit(version: str) -> str:
        made = site.repository.commit(version)
        name = f"{site.name}:{made}"
        site.engine("build", "--quiet", "--tag", name, str(site.repository.directory))
        site.engine("push", name)
        site.engine("image", "rm", name)
        return made

    site.image = f'image = "{site.name}:{{commit}}"\n'
    site.configure()
    commit("1")
    site.run("deploy")
    second = commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    assert site.live() == second
    assert_only_our_names(site)
    site.repository.commit("3")
    told = site.run("deploy", exit_status=1)
    assert re.search("not found|manifest unknown", told.stderr), told.stderr
    site.registry.stop()
    assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}


@pytest.mark.parametrize("engine", ["docker"], indirect=True)
def test_as_many_images_stay_as_versions_are_kept_and_what_others_have_named(site: ImageSite) -> None:
    site.image = 'dockerfile = "Dockerfile"\n'
    site.configure(more="releases = 3\n")
    numbers: list[str] = []
    for version in range(1, 6):
        site.repository.commit(str(version))
        site.run("deploy")
        (new,) = set(site.images().values()) - set(numbers)
        numbers.append(new)
        if version == 1:
            site.engine("tag", new, "localhost/somebodys:own")
    assert set(site.images().values()) == set(numbers[2:])
    there = site.engine(
        "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"
    ).splitlines()
    assert f"localhost/somebodys:own {numbers[0]}" in there
    assert numbers[1] not in "\n".join(there), "nobody else needs it"
    assert [line for line in there if line.startswith("localhost/python:test ")]
    commits = [one["commit"] for one in history(site)]
    told = site.run("rollback", commits[2]).stdout
    assert "build" not in told
    assert fetch(site.url) == "version 3\n"
    site.engine("image", "rm", "localhost/somebodys:own")
