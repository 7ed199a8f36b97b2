"""Apps that are images, without an engine: what is configured, asked, chosen, noted and removed."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.config import apps, load
from substitute.core.deploy.versions.kept_versions import remove_images
from substitute.core.model import versions
from substitute.core.model.errors import RuntimeFailedError, SourceError, UsageError
from substitute.core.model.programs import Container, Limits, Mount
from substitute.core.model.versions import Version
from substitute.linux.engine import CommandEngine
from substitute.runtimes.docker.logs import nanoseconds
from substitute.sources.image.source import MARKER, Images
from substitute.values import replace
from tests.unit.fakes.shop import changed, make_app
from tests.unit.test_config import loaded, problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.unit.fakes.shop import Shop

PAGE = Path(__file__).parents[2] / "docs" / "containers.md"
BUILT = '[runtime]\nkind = "docker"\n[app.shop]\nrepo = "r"\nports = [1, 2]\n'
FETCHED = BUILT.replace('repo = "r"', 'source = "image"')
FIRST, SECOND = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FETCHED, 'source = "image" needs image'),
        (BUILT + 'image = "r/shop:{commit}"\ndockerfile = "Dockerfile"\n', "remove one of the two"),
        (FETCHED + 'image = "r/shop"\nbuild = ["make"]\n', "brings no files"),
        (FETCHED + 'image = "r/shop"\ndirectory = "web"\n', "brings no files"),
        (FETCHED + 'image = "r/shop:{commit}"\n', "write it without {commit}"),
        (BUILT + 'image = "r/shop:v1"\n', "image needs {commit}"),
        (BUILT + 'dockerfile = "Dockerfile"\nuser = "shop"\n', "user means nothing in a container"),
        (BUILT + 'start = "serve"\ncontainer_port = 80\n', "container_port is that of a container"),
        (BUILT + 'start = "serve"\nbuild_args = { A = "1" }\n', "and there is none"),
        (BUILT + 'dockerfile = "Dockerfile"\nshared = ["media", "db.sqlite3"]\n', "share the directory"),
        (BUILT + 'dockerfile = "../Dockerfile"\n', "a path in the repository"),
        (BUILT + 'dockerfile = "Dockerfile"\ncontainer_port = 0\n', "from 1 to 65535"),
        (BUILT.replace("docker", "supervisord") + 'dockerfile = "Dockerfile"\n', "runtime.kind"),
    ],
)
def test_what_means_nothing_in_a_container_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(problems(tmp_path, text))


def test_a_database_may_be_shared_where_its_log_is_shared_too(tmp_path: Path) -> None:
    for text in (
        'dockerfile = "D"\nshared = ["data.db/", ".env"]\n',
        'start = "s"\nshared = ["db.sqlite3"]\n',
    ):
        assert apps(loaded(tmp_path, BUILT + text), tmp_path)["shop"].shared


def test_each_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    texts = re.findall(r"^```toml substitute\.toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(texts) == 3
    for text in texts:
        (tmp_path / "substitute.toml").write_text(text)
        assert apps(load(tmp_path), tmp_path)["shop"].is_contained


# -- the engine's own command ---------------------------------------------------------------------


def test_what_is_run_names_its_variables_and_mounts_paths_of_any_kind(tmp_path: Path) -> None:
    engine = CommandEngine("docker", tmp_path)
    mounts = (Mount(Path("/a:b"), Path("/app/x")), Mount(Path('/a,"b'), Path("/app/y")))
    argv = engine.running(
        ["/bin/sh", "-c", "echo $KEY"],
        Container("sha256:1", mounts),
        name="run-7",
        variables=["KEY"],
        limits=Limits(),
    )
    prefix = engine.name_of("shop", "1").split("/")[1]
    assert argv == [
        *("docker", "run", "--rm", "--interactive", f"--name={prefix}-run-7", "--network=host"),
        "--mount=type=bind,source=/a:b,target=/app/x",
        '--mount=type=bind,"source=/a,""b",target=/app/y',
        *("--env=KEY", "--entrypoint=/bin/sh", "sha256:1", "-c", "echo $KEY"),
    ]
    held = Limits(memory=1 << 20, cpu=0.5, tasks=9, nofile=333)
    argv = engine.running(["x"], Container("i"), name="n", variables=(), limits=held, terminal=True)
    assert "--tty" in argv
    given = {"--memory=1048576", "--memory-swap=1048576", "--cpus=0.5", "--pids-limit=9"}
    assert given | {"--ulimit=nofile=333:333"} <= set(argv)
    assert engine.entering(["true"], "shop_a") == ["docker", "exec", f"{prefix}-shop_a", "true"]
    assert CommandEngine("docker", tmp_path / "other").name_of("shop", "1") != engine.name_of("shop", "1")


class Script:
    """A command `docker` that knows some images: each name with its id and its registry's digest."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._asked, self._answers = place / "asked", place / "answers"
        self._answers.mkdir()
        program = place / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\necho "$*" >>{self._asked}\nfile="{self._answers}/$(echo "$*" | tr "/ {{}}" "____")"\n'
            'test -e "$file" && exec cat "$file"\n'
            'test -e "$file.refused" && cat "$file.refused" >&2 && exit 1\n'
            'case "$1" in tag|rm) exit 0;; image) test "$2" = inspect || exit 0;; esac\n'
            'echo "Error: No such image: $*" >&2\nexit 1\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def answer(self, asked: str, text: str = "") -> None:
        """Say `text` from now on."""
        (self._answers / re.sub("[/ {}]", "_", asked)).write_text(text)

    def refuse(self, asked: str, text: str) -> None:
        """Fail with `text` from now on."""
        self.answer(f"{asked}.refused", text)

    def knows(self, name: str, identity: str, *digests: str) -> None:
        found = {"Id": f"sha256:{identity}", "RepoDigests": digests, "Config": {"WorkingDir": "/app"}}
        self.answer(f"image inspect {name}", json.dumps([found]))

    def asked(self) -> list[str]:
        return self._asked.read_text().splitlines()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    return Script(tmp_path, monkeypatch)


def images_of(root: Path, image: str = "r.example.com:5000/shop", told: list[str] | None = None) -> Images:
    app = changed(make_app(root), source="image", image={"name": image, "engine": "docker"})
    say = (told if told is not None else []).append
    return Images(app, CommandEngine("docker", root), say, say)


@pytest.mark.parametrize(
    ("image", "commit", "tag"), [("", None, "latest"), (":stable", None, "stable"), (":stable", "v1", "v1")]
)
def test_a_tag_is_pulled_and_is_from_then_on_its_digest(
    tmp_path: Path, script: Script, image: str, commit: str | None, tag: str
) -> None:
    name = "r.example.com:5000/shop"
    script.answer(f"pull {name}:{tag}")
    script.knows(f"{name}:{tag}", FIRST, f"elsewhere/shop@sha256:{FIRST}", f"{name}@sha256:{SECOND}")
    found = images_of(tmp_path, name + image).resolve(tmp_path / "shop_a", commit)
    assert (found.commit, found.tag) == (SECOND, tag), "the digest is that of its own registry"
    held = CommandEngine("docker", tmp_path).name_of("shop", SECOND)
    assert f"tag sha256:{FIRST} {held}" in script.asked()


UNREACHABLE = [
    'Error response from daemon: Get "http://r:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused',
    "Error response from daemon: Get https://r/v2/: dial tcp: lookup r on 1.1.1.1:53: no such host",
    "pinging container registry r: Get https://r/v2/: dial tcp 10.0.0.1:443: i/o timeout",
    "received unexpected HTTP status: 503 Service Unavailable",
]
REFUSED = [
    "Error response from daemon: manifest for r/shop:v1 not found: manifest unknown: manifest unknown",
    "Error response from daemon: Head https://r/v2/shop/manifests/v1: unauthorized: authentication required",
    "Error response from daemon: pull access denied for shop, repository does not exist or may require login",
    "toomanyrequests: You have reached your pull rate limit.",
    "time: retrying: dial tcp: i/o timeout\nError: reading manifest v1 in r/shop: unauthorized",
]


@pytest.mark.parametrize("said", UNREACHABLE)
def test_without_its_registry_the_image_that_is_here_is_used_and_that_is_told(
    tmp_path: Path, script: Script, said: str
) -> None:
    told: list[str] = []
    name = "r.example.com:5000/shop:v1"
    script.refuse(f"pull {name}", said)
    with pytest.raises(SourceError, match="cannot be fetched"):
        images_of(tmp_path).resolve(tmp_path, "v1")
    script.knows(name, FIRST)
    assert images_of(tmp_path, told=told).resolve(tmp_path, "v1").commit == FIRST
    assert "the one that is here already is used" in told[0]


@pytest.mark.parametrize("said", REFUSED)
def test_what_a_registry_refuses_is_not_taken_from_here(tmp_path: Path, script: Script, said: str) -> None:
    name = "r.example.com:5000/shop"
    script.refuse(f"pull {name}:v1", said)
    script.knows(f"{name}:v1", FIRST)
    with pytest.raises(SourceError, match="cannot be fetched") as refused:
        images_of(tmp_path).resolve(tmp_path, "v1")
    assert "docker login r.example.com:5000" in refused.value.cure
    assert "may be an older one" in refused.value.fact
    script.refuse(f"pull {name}@sha256:{SECOND}", said)
    script.knows(f"{name}@sha256:{SECOND}", FIRST)
    assert images_of(tmp_path).resolve(tmp_path, SECOND).commit == SECOND, "a digest is always the same image"


def test_an_image_of_several_digests_is_kept_under_the_one_that_was_asked_for(
    tmp_path: Path, script: Script
) -> None:
    name, engine = "r.example.com:5000/shop", CommandEngine("docker", tmp_path)
    digests = [f"{name}@sha256:{one}" for one in (FIRST, SECOND)]
    for reference in (f"{name}:v1", digests[1]):
        script.answer(f"pull {reference}")
        script.knows(reference, "4" * 64, *digests)
    assert images_of(tmp_path).resolve(tmp_path, SECOND, fetch=False).commit == SECOND
    assert f"tag sha256:{'4' * 64} {engine.name_of('shop', SECOND)}" in script.asked()
    assert images_of(tmp_path).resolve(tmp_path, "v1", sha256=SECOND).commit == FIRST
    with pytest.raises(UsageError, match="and not"):
        images_of(tmp_path).resolve(tmp_path, "v1", sha256="5" * 64)


@pytest.mark.parametrize(
    ("loaded", "several"),
    [("Loaded image: shop:1\n", False), ("Loaded image: shop:1\nLoaded image: shop:2\n", True)],
)
def test_an_archive_leaves_no_name_that_was_not_here_before(
    tmp_path: Path, script: Script, loaded: str, several: object
) -> None:
    archive = tmp_path / "shop.tar"
    archive.touch()
    script.answer(f"load --input {archive}", loaded)
    script.knows("shop:1", FIRST)
    script.knows("shop:2", SECOND)
    if several:
        with pytest.raises(SourceError, match="2 images"):
            images_of(tmp_path).resolve(tmp_path, str(archive))
        assert "image rm shop:2" in script.asked()
    else:
        assert images_of(tmp_path).resolve(tmp_path, str(archive)).commit == FIRST
    assert "image rm shop:1" in script.asked()
    removed = script.asked().count("image rm shop:1")
    script.answer("image ls --no-trunc --format {{.Repository}}:{{.Tag}} {{.ID}}", f"shop:1 sha256:{FIRST}\n")
    with suppress(SourceError):
        images_of(tmp_path).resolve(tmp_path, str(archive))
    assert script.asked().count("image rm shop:1") == removed


def test_what_was_deployed_is_found_by_the_beginning_of_its_digest(tmp_path: Path, script: Script) -> None:
    engine = CommandEngine("docker", tmp_path)
    form = "{{.Repository}}:{{.Tag}} {{.ID}}"
    listed = "".join(f"{engine.name_of('shop', one)} sha256:{one}\n" for one in (FIRST, SECOND))
    script.answer(f"image ls --no-trunc --format {form} {engine.name_of('shop', '*')}", listed)
    images = images_of(tmp_path)
    assert images.resolve(tmp_path, FIRST[:12]).commit == FIRST
    assert images.resolve(tmp_path, f"sha256:{SECOND}", fetch=False).commit == SECOND
    assert not [line for line in script.asked() if line.startswith("pull")]
    with pytest.raises(UsageError, match="and not"):
        images.resolve(tmp_path, FIRST[:12], sha256=SECOND)
    with pytest.raises(SourceError):  # too short to be a digest for sure: it is a tag
        images.resolve(tmp_path, "1111")
    gone = "3" * 64
    script.answer(f"pull r.example.com:5000/shop@sha256:{gone}")
    script.knows(f"r.example.com:5000/shop@sha256:{gone}", FIRST, f"r.example.com:5000/shop@sha256:{gone}")
    assert images.resolve(tmp_path, gone, fetch=False).commit == gone


@pytest.mark.parametrize("wrong", ["-x", "a b", "", "x" * 129])
def test_what_is_no_tag_is_not_given_to_the_engine(tmp_path: Path, script: Script, wrong: str) -> None:
    script.answer("pull r.example.com:5000/shop:latest")
    if wrong:
        with pytest.raises(UsageError, match="no tag"):
            images_of(tmp_path).resolve(tmp_path, wrong)


def test_a_slot_says_which_image_it_stands_for_and_takes_no_other_directory(tmp_path: Path) -> None:
    images, slot = images_of(tmp_path), tmp_path / "slot"
    assert images.current(slot) is None
    images.update(slot, FIRST, clean=False)
    assert images.current(slot) == FIRST
    images.update(slot, SECOND, clean=True)
    assert (slot / MARKER).read_text() == f"{SECOND}\n"
    (slot / MARKER).unlink()
    (slot / "mine").touch()
    with pytest.raises(UsageError, match="holds no image"):
        images.update(slot, FIRST, clean=False)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("2026-01-02T03:04:05.000000006Z", 6),
        ("2026-01-02T04:04:05.000000006+01:00", 6),
        ("2026-01-01T21:34:05.12-05:30", 120_000_000),
        ("2026-01-02T03:04:05Z", 0),
    ],
)
def test_the_time_of_a_line_is_the_same_in_every_time_zone(text: str, after: int) -> None:
    assert nanoseconds(text.encode()) == 1_767_323_045_000_000_000 + after


# -- what the journal knows -----------------------------------------------------------------------


def test_a_version_remembers_its_image_and_one_of_before_has_none(tmp_path: Path) -> None:
    app = changed(make_app(tmp_path), image={"id": f"sha256:{FIRST}", "port": 80})
    version = Version.of(app, {"PATH": "/bin"})
    assert versions.read(versions.written(version, "c"), "c") == version
    back = version.applied_to(changed(app, image={"id": "", "port": None}), {})
    assert (back.image.id, back.image.port) == (app.image.id, 80)
    earlier = Version.of(make_app(tmp_path), {}).dump()
    assert not {"image_id", "container_port"} & earlier.keys(), "an earlier substitute reads it"
    assert Version.load(json.loads(json.dumps(earlier))).image_id == ""
    assert (
        not Version.load(earlier)
        .applied_to(changed(app, image={"id": "", "dockerfile": "D"}), {})
        .is_contained
    )


class Held(CommandEngine):
    """An engine that holds images, and lets go of those that no container needs."""

    def __init__(self, names: Mapping[str, str], needed: Sequence[str] = ()) -> None:
        super().__init__("none", Path("/"))
        self.names, self._needed = dict(names), needed

    def held(self, app: str) -> Mapping[str, str]:
        assert app == "shop"
        return dict(self.names)

    def let_go(self, name: str) -> bool:
        if name in self._needed:
            return False
        del self.names[name]
        return True


def test_images_go_that_no_version_needs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Held({name: f"sha256:{name}" for name in ("live", "before", "old", "runs")}, ["runs"])
    host = replace(shop.host, engine=lambda: engine)
    monkeypatch.setattr(type(host.journal), "images", lambda *_: {"sha256:live", "sha256:before"})
    remove_images(host, shop.app)
    assert len(engine.names) == 4, "an app that is no image has none"
    remove_images(host, changed(shop.app, image={"dockerfile": "Dockerfile"}, remembered=True))
    assert len(engine.names) == 4, "how many are kept is not known"
    remove_images(host, changed(shop.app, image={"dockerfile": "Dockerfile"}))
    assert engine.names.keys() == {"live", "before", "runs"}


def test_an_engine_that_is_not_there_is_told_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeFailedError, match="docker cannot be run"):
        CommandEngine("docker", tmp_path).find("x")
    CommandEngine("docker", tmp_path).end("x")


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///run/x. Is the docker daemon running?",
            "systemctl start",
        ),
        ("dial unix /run/x: connect: no such file or directory", "image ls"),
        ("write /var/lib/docker/x: no space left on device", "docker system df"),
    ],
)
def test_what_an_engine_does_not_do_is_told_with_what_helps(
    tmp_path: Path, script: Script, said: str, cure: str
) -> None:
    engine = CommandEngine("docker", tmp_path)
    script.refuse("image inspect x", said)
    script.refuse(f"tag x {engine.name_of('shop', '1')}", said)
    with pytest.raises(RuntimeFailedError) as failed:
        engine.find("x")
    assert cure in failed.value.cure
    with pytest.raises(RuntimeFailedError) as failed:
        engine.hold("x", "shop", "1")
    assert cure in failed.value.cure
