"""Archives as they come: made by tar and zip, made by hand to do harm, and broken on their way."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import SourceError, UsageError
from substitute.sources.archive import room
from substitute.sources.archive.source import Archives
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 5_000


class Place:
    """A root with two slots, what was built, and what was said."""

    def __init__(self, root: Path) -> None:
        self.root = root / "root"
        self.built = root / "built"
        self.a, self.b = self.root / "shop_a", self.root / "shop_b"
        self.notices: list[str] = []
        (self.root / "deploy").mkdir(parents=True)
        self.build("one")

    @property
    def source(self) -> Archives:
        return Archives(self.root, self.root / "deploy" / "shop", self.notices.append)

    def build(self, page: str) -> None:
        """Have `built` hold a program, its page, a link and what is empty."""
        shutil.rmtree(self.built, ignore_errors=True)
        (self.built / "bin").mkdir(parents=True)
        (self.built / "empty").mkdir()
        (self.built / "bin" / "serve").write_text("#!/bin/sh\n" + "# more\n" * SIZE)
        (self.built / "bin" / "serve").chmod(0o4775)
        (self.built / "page").write_text(page)
        (self.built / "page").chmod(0o600)
        (self.built / "index").symlink_to("bin/../page" if page == "badly linked" else "./page")
        os.utime(self.built / "page", (1_000_000_000, 1_000_000_000))

    def packed(self, name: str) -> Path:
        """What is built, in an archive of that name."""
        file = self.built.with_name(name)
        file.unlink(missing_ok=True)
        if name.endswith(".zip"):
            command = ["zip", "--quiet", "--recurse-paths", "--symlinks", str(file), "."]
        else:
            command = ["tar", "--create", "--auto-compress", f"--file={file}", "."]
        subprocess.run(command, cwd=self.built, check=True)
        return file

    def deploy(self, path: Path, *, clean: bool = False, sha256: str | None = None) -> str:
        """Have slot a hold what is in `path`."""
        commit = self.source.resolve(self.a, str(path), sha256=sha256).commit
        self.source.update(self.a, commit, clean=clean)
        return commit

    def files(self) -> list[str]:
        """What slot a holds, but the marker."""
        found = (str(path.relative_to(self.a)) for path in self.a.rglob("*"))
        return sorted(name for name in found if not name.startswith(".substitute"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


NAMES = ("shop.tar", "shop.tar.gz", "shop.tar.bz2", "shop.tar.xz", "shop.tar.zst", "shop.zip")


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_is_unpacked_as_it_was_packed(place: Place, name: str) -> None:
    file = place.packed(name)
    digest = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout.split()[0]
    commit = place.deploy(file, sha256=digest.upper())
    assert commit == digest == place.source.current(place.a)
    assert place.files() == ["bin", "bin/serve", "empty", "index", "page"]
    assert (place.a / "page").read_text() == "one" == (place.a / "index").read_text()
    assert (place.a / "bin" / "serve").stat().st_mode & 0o7777 == 0o755  # no setuid, and nobody else writes
    assert (place.a / "page").stat().st_mode & 0o7777 == 0o600
    assert abs((place.a / "page").stat().st_mtime - 1_000_000_000) <= 1
    revision = place.source.resolve(place.b, commit[:8])  # from what is kept
    assert (revision.commit, revision.subject) == (commit, name)


def test_a_directory_is_named_by_its_content_alone(place: Place) -> None:
    commit = place.deploy(place.built)
    assert place.files() == ["bin", "bin/serve", "empty", "index", "page"]
    assert (place.a / "page").stat().st_mtime == 1_000_000_000
    os.utime(place.built / "page")
    (place.built / "page").chmod(0o644)
    assert place.source.resolve(place.a, str(place.built)).commit == commit
    shutil.copytree(place.built, copy := place.built.with_name("copy"), symlinks=True)
    assert place.source.resolve(place.a, str(copy)).commit == commit
    for change in (
        lambda: (copy / "page").write_text("two"),
        lambda: (copy / "page").chmod(0o755),
        lambda: (copy / "page").rename(copy / "pages"),
        (copy / "more").mkdir,
    ):
        change()
        assert place.source.resolve(place.a, str(copy)).commit != commit


def test_what_the_archive_does_not_hold_stays_and_what_it_held_before_goes(place: Place) -> None:
    place.deploy(place.packed("shop.tar"))
    (place.a / "data").mkdir()
    (place.a / "data" / "orders").write_text("7")
    (place.a / "bin" / "cache").write_text("warm")
    place.build("two")
    shutil.rmtree(place.built / "bin")
    place.deploy(place.packed("shop.tar"))
    assert place.files() == ["bin", "bin/cache", "data", "data/orders", "empty", "index", "page"]
    assert (place.a / "page").read_text() == "two"
    assert place.source.untracked(place.a, ["page", "data", "bin", "none"]) == ["data", "bin"]
    place.deploy(place.packed("shop.tar"), clean=True)
    assert place.files() == ["empty", "index", "page"]


def test_a_link_that_the_app_made_is_replaced_and_not_followed(place: Place, tmp_path: Path) -> None:
    place.deploy(place.packed("shop.tar"))
    (outside := tmp_path / "outside").mkdir()
    (outside / "serve").write_text("precious")
    shutil.rmtree(place.a / "bin")
    (place.a / "bin").symlink_to(outside)
    place.build("two")
    place.deploy(place.packed("shop.tar"))
    assert (outside / "serve").read_text() == "precious"
    assert (place.a / "bin" / "serve").read_text().startswith("#!")


@pytest.mark.parametrize("mine", ["page/orders", "bin"])
def test_a_file_of_the_apps_in_the_way_is_told_and_nothing_changes(place: Place, mine: str) -> None:
    (place.built / "bin" / "serve").unlink()
    (place.built / "bin").rmdir()
    (place.built / "page").unlink()
    place.deploy(place.packed("shop.tar"))
    (place.a / mine).parent.mkdir(exist_ok=True)
    (place.a / mine).write_text("7")
    before = place.source.current(place.a)
    place.build("two")
    with pytest.raises(SourceError, match=f"{mine} is not of an archive"):
        place.deploy(place.packed("shop.tar"))
    assert place.source.current(place.a) == before
    assert (place.a / mine).read_text() == "7"


def test_an_update_that_was_killed_is_no_version_and_is_mended_by_the_next(place: Place) -> None:
    commit = place.deploy(place.packed("shop.tar"))
    place.build("two")
    other = place.source.resolve(place.a, str(place.packed("shop.tar"))).commit
    kept = place.root / "deploy" / "shop" / "archives" / other
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="is broken"):
        place.source.update(place.a, other, clean=False)
    assert place.source.current(place.a) is None
    place.source.update(place.a, commit, clean=False)
    assert place.source.current(place.a) == commit
    assert place.files() == ["bin", "bin/serve", "empty", "index", "page"]


def test_only_what_is_still_needed_is_kept_and_the_rest_is_told_to_be_gone(place: Place) -> None:
    first = place.deploy(place.packed("shop.tar"))
    place.build("two")
    second = place.deploy(place.packed("shop.tar"))
    place.source.retain({second})
    with pytest.raises(SourceError, match=r"no longer kept.*\n.*from its file"):
        place.source.resolve(place.a, first, fetch=False)
    assert place.source.resolve(place.a, second, fetch=False).commit == second
    with pytest.raises(UsageError, match="There is no file or directory"):
        place.source.resolve(place.a, first)


# -- hostile and broken ones ----------------------------------------------------------------------


def tar(*members: tuple[str, bytes, str | bytes]) -> bytes:
    """A tar file with these members: name, type, and its content or where it leads."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, kind, given in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(given, bytes):
                info.size = len(given)
                archive.addfile(info, io.BytesIO(given))
            else:
                info.linkname = given
                archive.addfile(info)
    return made.getvalue()


def zipped(name: str, content: bytes = b"x", mode: int = 0o100644) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def sparse() -> bytes:
    """A few bytes that say they are a terabyte."""
    made = tar(("page", tarfile.REGTYPE, b"x"))
    header = bytearray(made[:512])
    header[156:157] = tarfile.GNUTYPE_SPARSE
    size = (1 << 40).to_bytes(11, "big")
    header[386:410] = b"00000000000\0" + b"00000000001\0"
    header[483:495] = b"\x80" + size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + made[512:]


def zeros(size: int) -> bytes:
    """A tar file of one that is all zeros, compressed without ever being whole."""
    info = tarfile.TarInfo("page")
    info.size = size
    with tempfile.TemporaryFile() as made:
        command = ["zstd", "--quiet", "-1"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=made) as zstd:
            assert zstd.stdin
            zstd.stdin.write(info.tobuf())
            for _ in range(size >> 24):
                zstd.stdin.write(bytes(1 << 24))
            zstd.stdin.write(bytes(10240))
        made.seek(0)
        return made.read()


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "an absolute path": (lambda: tar(("/etc/cron.d/x", FILE, b"x")), "does not lie in the slot"),
    "a path that leads upwards": (lambda: tar(("a/../../x", FILE, b"x")), "does not lie in the slot"),
    "such a path in a zip": (lambda: zipped("../x"), "does not lie in the slot"),
    "an absolute path in a zip": (lambda: zipped("/etc/x"), "does not lie in the slot"),
    "a link to a file of the system": (lambda: tar(("x", LINK, "/etc/passwd")), "may lie outside"),
    "a link upwards": (lambda: tar(("a/x", LINK, "../../x")), "may lie outside"),
    "a link behind a link": (lambda: tar(("here", LINK, "."), ("x", LINK, "here/..")), "may lie outside"),
    "a link in a zip": (lambda: zipped("x", b"../x", 0o120777), "may lie outside"),
    "a file below a link": (lambda: tar(("x", LINK, "y"), ("x/z", FILE, b"z")), "'x' is a link"),
    "a file below a file": (lambda: tar(("x", FILE, b"y"), ("x/z", FILE, b"z")), "'x' is a file"),
    "a hard link upwards": (lambda: tar(("x", HARD, "../x")), "which is no file in it"),
    "a hard link to what comes later": (lambda: tar(("x", HARD, "y"), ("y", FILE, b"")), "no file in it"),
    "a hard link to a link": (lambda: tar(("y", LINK, "z"), ("x", HARD, "y")), "no file in it"),
    "a hard link to itself": (lambda: tar(("x", FILE, b""), ("x", HARD, "x")), "no file in it"),
    "a device": (lambda: tar(("null", tarfile.CHRTYPE, b"")), "no file, directory or link"),
    "a FIFO": (lambda: tar(("pipe", tarfile.FIFOTYPE, b"")), "no file, directory or link"),
    "a FIFO in a zip": (lambda: zipped("pipe", b"", 0o010644), "no file, directory or link"),
    "the marker": (lambda: tar((".substitute-archive", FILE, b"{}")), "a name that is taken"),
    "a long name": (lambda: tar(("x" * 300, FILE, b"")), "no name of a file"),
    "a terabyte that is not there": (sparse, "bomb"),
    "many megabytes of nothing": (lambda: zeros(48 << 20), "bomb"),
    "nothing": (lambda: tar(("empty", tarfile.DIRTYPE, b"")), "It is empty"),
    "no bytes": (lambda: b"", "neither a tar file"),
    "something else": (lambda: b"hello " * 1000, "neither a tar file"),
    "half of it": (lambda: tar(("x", FILE, b"y" * 9000))[:5000], "It is broken"),
    "no end": (lambda: tar(("x", FILE, b"y" * 512))[:1024], "its end is missing"),
    "half of a zip": (lambda: zipped("x", os.urandom(9000))[:5000], "It is broken"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_hostile_or_broken_is_refused_before_the_slot_changes(
    place: Place, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_SMALL", 32 << 20)
    commit = place.deploy(place.packed("shop.tar"))
    make, why = HOSTILE[what]
    file = place.built.with_name("hostile")
    file.write_bytes(make())
    with pytest.raises(UsageError, match="hostile cannot be deployed") as refused:
        place.source.resolve(place.a, str(file))
    assert why in refused.value.fact
    assert refused.value.cure
    assert place.source.current(place.a) == commit
    assert [path.name for path in (place.root / "deploy" / "shop" / "archives").iterdir()] in (
        [commit, f"{commit}.json"],
        [f"{commit}.json", commit],
    )
    assert sorted(path.name for path in place.root.iterdir()) == ["deploy", "shop_a"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "shop.tar"])
def test_a_byte_that_changed_on_its_way_is_noticed(place: Place, name: str) -> None:
    file = place.packed(name)
    damaged = bytearray(file.read_bytes())
    for at in range(len(damaged) // 2 - 20, len(damaged) // 2 + 20):
        damaged[at] ^= 0x55
    file.write_bytes(damaged)
    with pytest.raises(UsageError, match="cannot be deployed"):
        place.source.resolve(place.a, str(file))
    file = place.packed(name)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UsageError, match="cannot be deployed"):
        place.source.resolve(place.a, str(file))


def test_another_sha256_than_was_meant_is_refused(place: Place) -> None:
    with pytest.raises(UsageError, match=r"Its SHA-256 is [0-9a-f]{64}, and not abc"):
        place.source.resolve(place.a, str(place.packed("shop.tar")), sha256="abc")
    assert not place.a.exists()


def test_what_is_not_there_or_not_said_is_told_with_what_to_type(place: Place) -> None:
    for given in (None, "shop-1.5.tar", "abcdef12"):
        with pytest.raises(UsageError, match="substitute deploy FILE"):
            place.source.resolve(place.a, given)
    with pytest.raises(UsageError, match="root of substitute"):
        place.source.resolve(place.a, str(place.root.parent))
    place.a.mkdir()
    (place.a / "mine").write_text("precious")
    with pytest.raises(UsageError, match=r"is not empty.*\n.*Move it away"):
        place.source.resolve(place.a, str(place.built))
    (place.a / ".git").mkdir()
    with pytest.raises(UsageError, match="holds a git clone"):
        place.source.resolve(place.a, str(place.built))


def test_a_directory_that_holds_what_no_slot_may_is_refused(place: Place) -> None:
    place.build("badly linked")
    with pytest.raises(UsageError, match="may lie outside"):
        place.source.resolve(place.a, str(place.built))
    place.build("one")
    os.mkfifo(place.built / "pipe")
    with pytest.raises(UsageError, match="no file, directory or link"):
        place.source.resolve(place.a, str(place.built))


def test_that_all_lies_in_one_directory_is_said(place: Place) -> None:
    file = place.built.with_name("shop.tar")
    subprocess.run(["tar", "--create", f"--file={file}", "built"], cwd=place.built.parent, check=True)
    place.source.resolve(place.a, str(file))
    assert "lies in one directory, built" in place.notices[0]


def test_what_the_app_wrote_is_told_from_what_was_unpacked_and_built(place: Place) -> None:
    place.deploy(place.packed("shop.tar"))
    assert not place.source.is_marked(place.a)
    (place.a / "compiled").write_text("by the build")
    place.source.mark(place.a)
    assert place.source.is_marked(place.a)
    assert place.source.written(place.a) == []
    assert place.source.restorable(place.a, "bin")
    assert place.source.restorable(place.a, "index")
    assert not place.source.restorable(place.a, "compiled"), "it is of no archive"
    marked, probe = (place.a / ".substitute-archive").stat().st_ctime_ns, place.root / "probe"
    eventually(lambda: probe.write_text("x") and probe.stat().st_ctime_ns > marked, "files get a later time")

    (place.a / "data").mkdir()
    (place.a / "data" / "orders").write_text("7")
    (place.a / "__pycache__").mkdir()
    (place.a / "__pycache__" / "serve.pyc").write_text("made again")
    (place.a / "page").write_text("edited by the app")
    (place.a / "coming").write_text("mine")
    wrote = ["coming", "data/orders", "page"]
    assert place.source.written(place.a) == wrote
    assert not place.source.restorable(place.a, "page")
    (place.a / "bin" / "cache").write_text("mine")
    assert not place.source.restorable(place.a, "bin")
    (place.a / "bin" / "cache").unlink()
    (place.a / "index").unlink()
    (place.a / "index").symlink_to("./data")
    assert not place.source.restorable(place.a, "index")

    place.build("two")
    (place.built / "coming").write_text("of the archive")
    commit = place.source.resolve(place.a, str(place.packed("shop.tar"))).commit
    assert place.source.overwrites(place.a, commit, wrote) == ["coming", "page"]
    place.source.mark(place.a, ["data/orders"])  # the others were taken away to be kept
    place.source.update(place.a, commit, clean=False)
    (place.a / "compiled").write_text("again")
    place.source.mark(place.a)
    assert place.source.written(place.a) == ["data/orders"]
    assert not place.source.restorable(place.a, "data")
    assert place.source.restorable(place.a, "page")
    assert not place.source.restorable(place.b, "page"), "no archive is there"


def test_of_a_version_that_is_kept_no_longer_only_what_was_written_there_stays(place: Place) -> None:
    place.deploy(place.packed("shop.tar"))
    place.source.mark(place.a)
    place.source.seal(place.a)
    place.source.mark(place.a, [])  # as when it is live no more, and what it wrote is told
    (place.a / "orders").write_text("7")
    assert place.source.remove(place.a) == ["orders"]
    assert place.files() == ["orders"]
    (place.a / "orders").unlink()
    place.a.rmdir()
    place.deploy(place.packed("shop.tar"))
    place.source.seal(place.a)
    place.source.mark(place.a)
    assert place.source.remove(place.a) == []
    assert not place.a.exists()
