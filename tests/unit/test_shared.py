"""What becomes of what is found where both slots are to share something. The files are real."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.model.errors import DeploymentFailedError, SubstituteError
from substitute.core.model.events import Notice, Unchanged, Warned
from substitute.core.model.programs import Process
from substitute.core.model.slots import SlotName
from substitute.core.operate.adoption import adopt
from substitute.core.ports.strangers import Stranger
from substitute.linux.slot_files import SlotFiles
from tests.unit.fakes.shop import make_shop
from tests.unit.fakes.source import FakeSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.unit.fakes.shop import Shop


@dataclass
class Source(FakeSource):
    """Git tracks what is `tracked` in each commit, and makes it anew."""

    tracked: dict[str, str] = field(default_factory=dict)

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        super().update(directory, commit, clean=clean)
        directory.mkdir(exist_ok=True)
        for name, text in self.tracked.items():
            place = directory / name
            for link in [place, *place.parents]:
                if link.is_symlink() and link.is_relative_to(directory):
                    link.unlink()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def restorable(self, directory: Path, name: str) -> bool:
        place = directory / name
        files = [place] if place.is_file() else [one for one in place.rglob("*") if one.is_file()]
        return all(self.tracked.get(str(one.relative_to(directory))) == one.read_text() for one in files)


class Sharing:
    """An app that shares, deployed by `deploy`."""

    def __init__(self, root: Path) -> None:
        self.shop: Shop = make_shop(root)
        self.source = Source(self.shop.world)
        self.host = replace(self.shop.host, files=SlotFiles, source=lambda _: self.source)
        self.app = self.shop.app
        self.a, self.b = root / "shop_a", root / "shop_b"
        self.shared, self.kept = root / "deploy/shop/shared", root / "deploy/shop/kept"

    def share(self, *paths: str) -> None:
        self.app = replace(self.app, shared=paths)

    def deploy(self, commit: str) -> None:
        self.shop.events.clear()
        deploy(self.host, self.app, commit)

    @property
    def told(self) -> list[str]:
        return [event.message for event in self.shop.events if isinstance(event, (Notice, Warned))]

    def was_told(self, text: str) -> bool:
        return any(text in message for message in self.told)


@pytest.fixture
def sharing(tmp_path: Path) -> Sharing:
    """Version 1 is live in slot a, and shares nothing."""
    made = Sharing(tmp_path)
    made.deploy("v1")
    return made


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def texts(directory: Path) -> dict[str, str]:
    return {str(one.relative_to(directory)): one.read_text() for one in directory.rglob("*") if one.is_file()}


def test_what_nobody_has_is_made_if_it_is_a_directory_and_left_to_its_first_writer_if_it_is_a_file(
    sharing: Sharing,
) -> None:
    sharing.share("public/uploads", "db.sqlite3", "conf.d/", ".env")
    sharing.deploy("v2")
    assert (sharing.b / "public/uploads").is_dir()
    assert (sharing.b / "conf.d").is_dir()
    assert sharing.was_told("deploy/shop/shared/db.sqlite3 does not exist yet")
    (sharing.b / "db.sqlite3").write_text("data")
    assert texts(sharing.shared) == {"db.sqlite3": "data"}
    assert all((sharing.b / name).is_symlink() for name in ("public/uploads", "conf.d", "db.sqlite3", ".env"))
    sharing.deploy("v3")
    assert (sharing.a / "db.sqlite3").read_text() == "data"
    assert not sharing.was_told("db.sqlite3")


def test_what_the_repository_tracks_is_the_beginning_once(sharing: Sharing) -> None:
    sharing.source.tracked = {"storage/seed": "1"}
    sharing.share("storage")
    sharing.deploy("v2")
    assert sharing.was_told(
        "deploy/shop/shared/storage is new: it begins with what the commit has at storage."
    )
    sharing.source.tracked = {"storage/seed": "2", "storage/more": "2"}
    sharing.deploy("v3")
    assert texts(sharing.shared) == {"storage/seed": "1"}
    assert not sharing.kept.exists()


def test_what_the_live_version_has_is_what_is_shared_and_the_other_slots_is_kept(sharing: Sharing) -> None:
    sharing.deploy("v2")
    write(sharing.a / "media/old", "a")
    write(sharing.b / "media/new", "b")
    sharing.share("media")
    sharing.deploy("v3")
    assert texts(sharing.shared) == {"media/new": "b"}
    assert list(texts(sharing.kept).values()) == ["a"]
    assert sharing.was_told("Slot a had its own media beside the shared one. It is kept in deploy/shop/kept/")
    assert (sharing.a / "media/new").read_text() == (sharing.b / "media/new").read_text()


def test_what_the_other_slot_alone_has_is_what_is_shared(sharing: Sharing) -> None:
    sharing.deploy("v2")
    write(sharing.a / "media/old", "a")
    sharing.share("media")
    sharing.deploy("v3")
    assert texts(sharing.shared) == {"media/old": "a"}
    assert not sharing.kept.exists()


def test_where_the_live_version_has_only_what_git_has_the_other_slot_is_the_beginning(
    sharing: Sharing,
) -> None:
    sharing.source.tracked = {"media/.keep": ""}
    sharing.deploy("v2")
    write(sharing.a / "media/old", "a")
    sharing.source.tracked = {"media/.keep": "", "media/more": "new"}
    sharing.share("media")
    sharing.deploy("v3")
    assert texts(sharing.shared) == {"media/.keep": "", "media/old": "a", "media/more": "new"}
    assert (sharing.b / "media/old").read_text() == "a", "what the version before writes now is not lost"


def test_what_was_put_there_by_hand_is_what_is_shared_unless_the_live_version_wrote_its_own(
    sharing: Sharing,
) -> None:
    sharing.source.tracked = {"media/.keep": "", "plain.conf": "tracked"}
    sharing.deploy("v2")
    write(sharing.shared / "media/photo", "by hand")
    write(sharing.shared / "plain.conf", "by hand")
    write(sharing.shared / "data/photo", "by hand")
    write(sharing.b / "data/photo", "the live version's")
    sharing.share("media", "plain.conf", "data")
    sharing.deploy("v3")
    assert texts(sharing.shared) == {
        "media/photo": "by hand",
        "plain.conf": "by hand",
        "data/photo": "the live version's",
    }
    assert (sharing.b / "media").is_symlink(), "what it writes from now on is shared"
    assert (sharing.b / "plain.conf").read_text() == "tracked", "what it has read stays as it is"
    assert "by hand" in texts(sharing.kept).values()


def test_a_build_that_makes_its_own_in_place_of_the_link_is_led_back(sharing: Sharing) -> None:
    sharing.share("media")
    sharing.deploy("v2")
    write(sharing.shared / "media/photo", "shared")
    commands, run = sharing.host.commands, sharing.host.commands.run

    def build(argv: Sequence[str], **options: object) -> object:
        (sharing.a / "media").unlink()
        write(sharing.a / "media/photo", "the build's")
        return run(argv, **options)  # type: ignore[arg-type]

    commands.run = build  # type: ignore[method-assign, assignment]
    sharing.deploy("v3")
    assert (sharing.a / "media/photo").read_text() == "shared"
    assert list(texts(sharing.kept).values()) == ["the build's"]


def test_a_link_that_was_made_by_hand_leads_where_it_led(sharing: Sharing) -> None:
    write(sharing.a.parent / "data/media/photo", "theirs")
    sharing.a.mkdir(exist_ok=True)
    (sharing.a / "media").symlink_to("../data/media")
    sharing.share("media")
    sharing.deploy("v2")
    assert (sharing.b / "media/photo").read_text() == "theirs"
    assert (sharing.shared / "media").resolve() == sharing.a.parent / "data/media"
    sharing.deploy("v3")
    assert (sharing.a / "media").resolve() == sharing.a.parent / "data/media"
    assert not sharing.kept.exists()


@pytest.mark.parametrize(
    "where", ["the live slot", "the candidate", "the shared place", "on the way", "the place of it"]
)
def test_a_link_that_leaves_the_root_is_refused(
    sharing: Sharing, tmp_path_factory: pytest.TempPathFactory, where: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write(outside / "photo", "theirs")
    (sharing.b).mkdir()
    sharing.shared.mkdir(parents=True)
    place = {
        "the live slot": sharing.a / "media",
        "the candidate": sharing.b / "media",
        "the shared place": sharing.shared / "media",
        "on the way": sharing.b / "public",
        "the place of it": sharing.shared,
    }[where]
    if where == "the place of it":
        place.rmdir()
    place.symlink_to(outside)
    sharing.share("public/media" if where == "on the way" else "media")
    with pytest.raises(DeploymentFailedError, match=r"out of|outside of") as raised:
        sharing.deploy("v2")
    assert "still serves" in str(raised.value)
    assert texts(outside) == {"photo": "theirs"}


def test_what_is_not_shared_any_more_stays_where_it_is(sharing: Sharing) -> None:
    sharing.share("media", "db")
    sharing.deploy("v2")
    write(sharing.b / "media/photo", "shared")
    sharing.share("db")
    sharing.deploy("v3")
    assert sharing.was_told("media is not shared any more: slot a does not have it.")
    assert not (sharing.a / "media").exists()
    assert texts(sharing.shared) == {"media/photo": "shared"}
    rollback(sharing.host, sharing.app)
    assert (sharing.b / "media/photo").read_text() == "shared", "that version had it"
    sharing.deploy("v4")
    sharing.deploy("v5")
    sharing.deploy("v6")
    assert not sharing.was_told("media"), "no slot has it: it is told no more"


def test_what_an_app_in_a_directory_of_the_repository_shares_is_in_that_directory(sharing: Sharing) -> None:
    sharing.source.tracked = {"apps/web/page": "1"}
    sharing.app = replace(sharing.app, directory="apps/web")
    sharing.deploy("v2")
    write(sharing.b / "apps/web/media/photo", "x")
    sharing.share("media")
    sharing.deploy("v3")
    assert texts(sharing.shared) == {"media/photo": "x"}
    assert (sharing.a / "apps/web/media/photo").read_text() == "x"
    sharing.share()
    sharing.deploy("v4")
    assert sharing.was_told("apps/web/media is not shared any more: slot b does not have it.")
    assert not (sharing.b / "apps/web/media").exists()
    assert texts(sharing.shared) == {"media/photo": "x"}


def test_an_app_that_was_adopted_does_not_begin_with_nothing_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing = Sharing(tmp_path)
    process, write_to = Process(7, 7, "boot"), tmp_path / "old/media/photo"
    write(write_to, "theirs")
    sharing.shop.world.running["shop_a"] = process
    sharing.shop.world.strangers.found[3001] = Stranger(process, tmp_path / "old", None, None)
    monkeypatch.setattr("substitute.core.operate.adoption._require_nothing_runs", lambda *_: None)
    monkeypatch.setattr("substitute.core.operate.adoption._require_good_answers", lambda *_: None)
    adopt(sharing.host, sharing.app, 3001, listed=True)
    sharing.share("media")
    with pytest.raises(SubstituteError, match="cp -a"):
        sharing.deploy("v1")
    (sharing.shared / "media").mkdir()
    sharing.deploy("v1")
    assert texts(sharing.shared) == {}
    assert write_to.exists()


def test_what_cannot_be_moved_fails_the_deployment_with_what_mends_it(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(path: Path, to: Path, _flags: int) -> None:
        raise OSError(18, "Invalid cross-device link", str(path), None, str(to))

    write(sharing.a / "media/photo")
    sharing.share("media")
    monkeypatch.setattr("substitute.linux.slot_files._rename", rename)
    with pytest.raises(DeploymentFailedError, match="Stop the app, move media to"):
        sharing.deploy("v2")
    assert texts(sharing.a) == {"media/photo": "x"}


def test_a_file_of_secrets_that_everybody_can_read_is_told(sharing: Sharing) -> None:
    write(sharing.shared / ".env", "KEY=1")
    (sharing.shared / ".env").chmod(0o644)
    sharing.share(".env")
    sharing.deploy("v2")
    assert sharing.was_told("chmod 600")
    (sharing.shared / ".env").chmod(0o600)
    sharing.deploy("v3")
    assert not sharing.was_told("chmod")


def test_what_is_to_be_shared_from_now_on_is_a_change(sharing: Sharing) -> None:
    sharing.share("media")
    deploy(sharing.host, sharing.app, "v1", if_changed=True)
    assert sharing.host.journal.app("shop").live is SlotName.B
    deploy(sharing.host, sharing.app, "v1", if_changed=True)
    assert isinstance(sharing.shop.events[-1], Unchanged)
