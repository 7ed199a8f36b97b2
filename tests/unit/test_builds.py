"""Apps whose images are built here and run in a cluster: what is asked of the registry, and of what builds."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.config import apps
from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.deploy.versions.kept_versions import remove_images
from substitute.core.model.errors import RuntimeFailedError, SourceError, SubstituteError
from substitute.core.ports.engine import Image
from substitute.linux.engine import CommandEngine
from substitute.runtimes.kubernetes.access import Settings
from substitute.runtimes.kubernetes.engine import ClusterEngine
from substitute.runtimes.kubernetes.pods import cure
from substitute.values import replace
from tests.unit.shops import notices
from tests.unit.test_config import loaded, problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.unit.fakes.shop import Shop

PAGE = Path(__file__).parents[2] / "docs" / "kubernetes.md"
CLUSTER = (
    '[runtime]\nkind = "kubernetes"\n[cluster]\nnodes = ["10.0.0.1"]\n'
    '[app.shop]\nrepo = "r"\nports = [30001, 30002]\ncontainer_port = 80\n'
)
NAMED = 'image = "r.example.com/shop:{commit}"\n'


# -- substitute.toml ----------------------------------------------------------------------------------


def test_an_image_says_where_what_is_built_is_pushed(tmp_path: Path) -> None:
    app = apps(loaded(tmp_path, CLUSTER + NAMED + 'dockerfile = "D"\n'), tmp_path)["shop"]
    assert app.is_pushed
    assert app.image_of("1a2b") == "r.example.com/shop:1a2b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CLUSTER + 'dockerfile = "D"\n', "needs image, too: where it is pushed"),
        (CLUSTER + 'dockerfile = "D"\nimage = "r.example.com/shop"\n', "image needs {commit}"),
        (
            CLUSTER.replace('repo = "r"', 'source = "image"')
            + 'dockerfile = "D"\nimage = "r.example.com/shop"\n',
            "brings no files",
        ),
        (CLUSTER.replace("[app", 'builder = "kaniko"\n[app') + NAMED, "podman"),
    ],
)
def test_what_leads_nowhere_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(problems(tmp_path, text))


def two_apps(more: str) -> str:
    """Two that have the same image, and the second one says `more`."""
    other = CLUSTER.partition("[app.shop]")[2].replace("3000", "3001") + NAMED + 'dockerfile = "D"\n' + more
    return CLUSTER + NAMED + f'dockerfile = "D"\n[app.other]\ndomains = ["o.test"]\n{other}'


def test_two_apps_have_one_image_only_where_it_is_built_alike(tmp_path: Path) -> None:
    assert len(loaded(tmp_path, two_apps('start = "work"\n')).app) == 2
    (told,) = problems(tmp_path, two_apps('directory = "web"\n'))
    assert "app.other.image: is that of app.shop, which is built otherwise" in told


@pytest.mark.parametrize(
    ("repo", "more", "tells"),
    [
        ("https://deploy:t0ken@git.example.com/shop.git", "", True),
        ("https://t0ken@git.example.com/shop.git", "", True),
        ("https://git.example.com/shop.git", "", False),
        ("ssh://deploy@git.example.com/shop.git", "", False),
        ("https://t0ken@git.example.com/shop.git", 'directory = "web"\n', False),
    ],
)
def test_a_token_that_would_come_into_the_image_is_refused(
    tmp_path: Path, repo: str, more: str, tells: object
) -> None:
    text = CLUSTER.replace('repo = "r"', f'repo = "{repo}"') + NAMED + 'dockerfile = "D"\n' + more
    if tells:
        (told,) = problems(tmp_path, text)
        assert "app.shop.repo: has a password or token, and so has .git" in told
        assert "t0ken" not in told
    else:
        assert loaded(tmp_path, text).app["shop"].repo == repo


def test_each_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    texts = re.findall(r"^```toml substitute\.toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(texts) == 2
    assert [apps(loaded(tmp_path, text), tmp_path)["shop"].is_pushed for text in texts] == [False, True]


# -- what builds --------------------------------------------------------------------------------------


def cluster_engine(root: Path, builder: str = "") -> ClusterEngine:
    return ClusterEngine(root, Settings(str(root / "kubeconfig")), builder=builder)


def programs(place: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    """Have no others than these, with what each does."""
    (place / "bin").mkdir()
    for name, text in texts.items():
        program = place / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(place / "bin"))


@pytest.mark.parametrize(
    ("here", "configured", "builds"),
    [
        (("podman", "docker"), "", "podman"),
        (("docker",), "", "docker"),
        (("podman", "docker"), "docker", "docker"),
    ],
)
def test_what_is_configured_builds_else_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Sequence[str], configured: str, builds: str
) -> None:
    programs(tmp_path, monkeypatch, **dict.fromkeys(here, "true"))
    assert cluster_engine(tmp_path, configured).builder().name == builds


@pytest.mark.parametrize(("configured", "said"), [("", "no podman and no docker"), ("docker", "no docker")])
def test_where_nothing_builds_that_is_told_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str, said: str
) -> None:
    programs(tmp_path, monkeypatch, **({"podman": "true"} if configured else {}))
    with pytest.raises(SourceError, match=said) as caught:
        cluster_engine(tmp_path, configured).builder()
    assert "apt install podman" in str(caught.value.cure)


@pytest.mark.parametrize(
    "said", ["manifest unknown", "unauthorized: authentication required", "access denied"]
)
def test_what_a_registry_does_not_show_may_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    programs(tmp_path, monkeypatch, skopeo=f"echo '{said}' >&2; exit 1")
    assert cluster_engine(tmp_path).find("r.example.com/shop:1") is None


def test_podman_of_a_user_makes_no_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grouped(uid: int) -> bool:
        monkeypatch.setattr("os.geteuid", lambda: uid)
        argv = CommandEngine("podman", tmp_path).building(
            "shop", tmp_path, tmp_path / "D", tmp_path / "id", arguments={}, secrets=[]
        )
        return any(word.startswith("--cgroup") for word in argv)

    assert (grouped(0), grouped(1000)) == (True, False)


def test_a_registry_that_is_down_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, skopeo="echo 'connection refused' >&2; exit 1")
    with pytest.raises(RuntimeFailedError, match="The registry does not answer") as caught:
        cluster_engine(tmp_path).find("r.example.com/shop:1")
    assert "skopeo inspect" in str(caught.value.cure)


@pytest.mark.parametrize(
    ("said", "helps"),
    [
        (
            "ImagePullBackOff: … pulling from host r failed with status code [manifests sha256:1]: 401 Unauthorized",
            True,
        ),
        ("ErrImagePull: pull access denied, repository does not exist or may require authorization", True),
        ("ImagePullBackOff: r.example.com/shop@sha256:1: not found", False),
        ("CreateContainerConfigError: access denied", False),
    ],
)
def test_nodes_that_a_registry_does_not_know_need_a_login(said: str, helps: object) -> None:
    assert ("imagePullSecrets" in cure(said)) is helps


# -- a deployment -------------------------------------------------------------------------------------


class Builder(CommandEngine):
    """Builds at once. Names are all that it has."""

    def __init__(self, root: Path) -> None:
        super().__init__("docker", root)
        self.names: dict[str, str] = {}
        self.log: list[str] = []
        self.gone: set[str] = set()
        """The images that somebody has removed."""
        self._numbers = itertools.count(1)

    def building(
        self, app: str, directory: Path, file: Path, id_file: Path, **given: object
    ) -> Sequence[str]:
        assert not any(given.values())
        assert (app, file) == ("shop", directory / "Dockerfile")
        id_file.parent.mkdir(parents=True, exist_ok=True)
        id_file.write_text(f"sha256:{next(self._numbers):064x}")
        self.log.append("build")
        return ["docker", "build"]

    def end_builds(self, app: str) -> None:
        pass

    def find(self, reference: str) -> Image | None:
        return None if reference in self.gone else Image(reference)

    def give_name(self, image: str, name: str) -> None:
        self.names[name] = image

    def let_go(self, name: str) -> bool:
        return self.names.pop(name, None) is not None

    def held(self, app: str) -> Mapping[str, str]:
        ours = self.name_of(app, "")
        return {name: image for name, image in self.names.items() if name.startswith(ours)}

    def pushing(self, name: str) -> Sequence[str]:
        assert name in self.names
        self.log.append(f"push {name}")
        return ["docker", "push", name]


class Cluster(ClusterEngine):
    """One whose registry has what was pushed there."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Settings(str(root / "kubeconfig")))
        self.build = Builder(root)
        self.shows = True
        self.here = True

    def builder(self) -> Builder:
        if not self.here:
            raise SourceError("Nothing builds here.")
        return self.build

    def find(self, reference: str) -> Image | None:
        if "@" in reference:
            return Image(reference, reference)
        if not self.shows or f"push {reference}" not in self.build.log:
            return None
        return Image(f"r.example.com/shop@sha256:{reference.rpartition(':')[2]}")


@pytest.fixture
def cluster(shop: Shop) -> Cluster:
    made = Cluster(shop.app.root)
    shop.host = replace(shop.host, engine=lambda: made)
    shop.change(image={"dockerfile": "Dockerfile", "name": "r.example.com/shop:{commit}"})
    return made


def image_of_live(shop: Shop) -> str:
    slot = shop.host.journal.app("shop").live_slot
    assert slot
    assert slot.version
    return slot.version.image_id


def test_a_commit_is_built_and_pushed_once(shop: Shop, cluster: Cluster) -> None:
    deploy(shop.host, shop.app, "c1")
    assert cluster.build.log == ["build", "push r.example.com/shop:c1"]
    assert image_of_live(shop) == "r.example.com/shop@sha256:c1"
    deploy(shop.host, shop.app, "c2")
    before = [*shop.world.log]
    deploy(shop.host, shop.app, "c1")
    restart(shop.host, shop.app)
    assert cluster.build.log[2:] == ["build", "push r.example.com/shop:c2"]
    assert "run make" not in shop.world.log[len(before) :], "what a build needs is not made either"
    assert image_of_live(shop) == "r.example.com/shop@sha256:c1"


def test_a_rollback_asks_nobody(shop: Shop, cluster: Cluster) -> None:
    deploy(shop.host, shop.app, "c1")
    deploy(shop.host, shop.app, "c2")
    cluster.shows = cluster.here = False
    rollback(shop.host, shop.app)
    assert "warning" not in shop.names()
    assert image_of_live(shop) == "r.example.com/shop@sha256:c1"


def test_a_rollback_to_an_image_that_somebody_has_removed_builds_it_again(shop: Shop) -> None:
    engine = Builder(shop.app.root)
    shop.host = replace(shop.host, engine=lambda: engine)
    shop.change(image={"dockerfile": "Dockerfile", "engine": "docker"})
    deploy(shop.host, shop.app, "c1")
    deploy(shop.host, shop.app, "c2")
    rollback(shop.host, shop.app)
    assert engine.log == ["build", "build"], "nothing is built while it is there"
    engine.gone = {f"sha256:{2:064x}"}
    rollback(shop.host, shop.app)
    assert engine.log == ["build"] * 3
    assert "The image of c2 is not here any more: it is fetched and built again." in notices(shop)
    assert image_of_live(shop) == f"sha256:{3:064x}"


def test_here_are_the_images_of_versions_that_are_kept_and_no_other_names(
    shop: Shop, cluster: Cluster
) -> None:
    for commit in ("c1", "c2", "c3"):
        deploy(shop.host, shop.app, commit)
    tags = {name.rpartition(":")[2].partition("-")[0] for name in cluster.build.names}
    assert tags == {"c2", "c3"}
    assert cluster.build.names.keys() == cluster.build.held("shop").keys()


def test_what_was_killed_while_it_was_pushed_goes_with_the_next_version(shop: Shop, cluster: Cluster) -> None:
    theirs = "r.example.com/shop:stable"
    cluster.build.names = {
        cluster.build.name_of("shop", "c0-1"): "i",
        "r.example.com/shop:c0": "i",
        theirs: "i",
    }
    deploy(shop.host, shop.app, "c1")
    remove_images(shop.host, shop.app)
    assert "r.example.com/shop:c0" not in cluster.build.names
    assert theirs in cluster.build.names


def test_without_what_builds_nothing_begins(shop: Shop, cluster: Cluster) -> None:
    cluster.here = False
    with pytest.raises(SubstituteError, match="Nothing builds here"):
        deploy(shop.host, shop.app, "c1")
    assert "run make" not in shop.world.log


def test_an_image_that_the_registry_does_not_show_after_its_push_is_told(
    shop: Shop, cluster: Cluster
) -> None:
    cluster.shows = False
    with pytest.raises(SubstituteError, match="does not show the image") as caught:
        deploy(shop.host, shop.app, "c1")
    assert "allowed to pull it" in str(caught.value.cure)
