"""Examples that need a whole machine: a systemd that keeps limits, an nginx of the package, a user of the app.

Each is set up as its README says, and deployed and rolled back while requests flow.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.demo.load import Load
from tests.e2e.servers import committed, published, run, server_with
from tests.e2e.traffic import ENOUGH, flowing
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.machines import Machine

pytestmark = pytest.mark.timeout(300)
EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT, WORK, REPOSITORY = Path("/srv/shop"), Path("/srv/work"), Path("/srv/git/shop.git")


def prepared(name: str) -> None:
    """What a reader has: the example in a repository, its configuration in the root, and the app's user."""
    run("useradd", "--system", "--create-home", "shop")
    shutil.copytree(EXAMPLES / name, WORK)
    published(WORK, REPOSITORY)
    ROOT.mkdir()
    text = (EXAMPLES / name / "substitute.toml").read_text()
    (ROOT / "substitute.toml").write_text(text.replace("ssh://git@YOUR-HOST/YOUR-APP.git", str(REPOSITORY)))


def substitute(*arguments: str) -> str:
    """What the command says."""
    return run("substitute", *arguments, cwd=ROOT)


def pushed(message: str) -> str:
    """Push what is in the working tree as a version; its commit."""
    committed(WORK, message)
    run("git", "push", "--quiet", REPOSITORY, "main", cwd=WORK)
    return head()


def head() -> str:
    """The commit of the newest version."""
    return run("git", "rev-parse", "HEAD", cwd=WORK).strip()


def under_load(url: str, *operations: str) -> set[str]:
    """Do `operations` while GET, POST and slow requests flow; the versions that answered. No request fails."""
    with ExitStack() as stack:
        quick = [flowing(url), flowing(url, method="POST"), flowing(url, keepalive=False)]
        slow = [Load(f"{url}report?seconds=0.5", method=method, connections=1) for method in ("GET", "POST")]
        for load in (*quick, *slow):
            stack.enter_context(load)
        for operation in ("status", *operations):
            substitute(operation)
            for load in quick:
                load.wait_for(ENOUGH)
            for load in slow:
                load.wait_for(2)
        reports = [load.stop() for load in (*quick, *slow)]
    assert [failure for report in reports for failure in report.failures] == []
    return {version for report in reports for version in report.versions}


@pytest.fixture
def php() -> Iterator[Machine]:
    """A server with nginx, and nothing deployed yet."""
    installed = sorted(Path("/usr/sbin").glob("php-fpm?*"))
    if not installed or not shutil.which("cgi-fcgi"):
        pytest.skip("needs Debian's php-fpm and libfcgi-bin")

    def prepare() -> None:
        prepared("php-fpm")
        file = ROOT / "substitute.toml"
        file.write_text(file.read_text().replace("php-fpm8.2", installed[-1].name))
        Path("/etc/nginx/sites-enabled/default").unlink(missing_ok=True)
        shutil.copy(EXAMPLES / "php-fpm" / "nginx.conf", "/etc/nginx/conf.d/shop.conf")
        run("systemctl", "start", "nginx")

    with server_with(prepare) as machine:
        yield machine


NGINX = "http://127.0.0.1/"


@pytest.mark.slow
def test_php_fpm_behind_an_nginx_that_nobody_touches_loses_nothing(php: Machine) -> None:
    def inside() -> None:
        substitute("deploy")
        first, second = head(), pushed("2")
        assert under_load(NGINX, "deploy", "rollback") == {first, second}
        assert Path("/var/log/nginx/error.log").read_text() == ""

    php.call(inside)


@pytest.mark.long
def test_php_fpm_finishes_on_sigquit_what_it_cuts_on_sigterm(php: Machine) -> None:
    def inside() -> None:
        file = ROOT / "substitute.toml"
        text = file.read_text() + '[app.shop.drain]\ntimeout = "1s"\n'  # the request outlasts it
        # A version is stopped by the signal that it was started with.
        file.write_text(text.replace('signal = "SIGQUIT"', 'signal = "SIGTERM"'))
        takes_its_time()
        substitute("deploy")
        file.write_text(text)
        assert answer_while_replaced("2") == "502"
        assert answer_while_replaced("3") == "whole"

    php.call(inside)


NOTES = Path("/srv/notes")


def takes_its_time() -> None:
    """Have /report say that it has begun, and go on until it is told to finish."""
    NOTES.mkdir()
    shutil.chown(NOTES, "shop")
    page = WORK / "public" / "index.php"
    before = "for ($end = microtime(true) + (float) ($_GET['seconds'] ?? 2); microtime(true) < $end;)"
    after = f"for (touch('{NOTES}/begun'); !file_exists('{NOTES}/finish'); clearstatcache())"
    assert before in page.read_text()
    page.write_text(page.read_text().replace(before, after))
    pushed("slow")


def answer_while_replaced(version: str) -> str:
    """What becomes of a request that runs when the live version is told to stop, because `version` is live."""
    found: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{NGINX}report", data=b"whole", timeout=120) as answer:
                found.append(answer.read().decode())
        except urllib.error.HTTPError as error:
            found.append(str(error.code))
            error.close()

    for note in NOTES.iterdir():
        note.unlink()
    old = json.loads(substitute("status", "--json"))["apps"][0]["live"]
    pushed(version)
    asking, deploying = threading.Thread(target=ask), threading.Thread(target=substitute, args=["deploy"])
    asking.start()
    eventually((NOTES / "begun").exists, "the request has begun")
    deploying.start()
    eventually(lambda: "ing ..." in substitute("logs", old), "it was told to stop")  # Finishing, Terminating
    (NOTES / "finish").touch()
    for thread in (asking, deploying):
        thread.join()
    return found[0]


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("go"), reason="needs go")
def test_two_instances_in_go_lose_nothing_and_pass_the_check() -> None:
    def prepare() -> None:
        prepared("go")

    def inside() -> None:
        os.environ["GOTOOLCHAIN"] = "local"  # a machine has no network
        substitute("deploy")
        first, second = head(), pushed("2")
        assert under_load("http://127.0.0.1:8080/", "deploy", "rollback") == {first, second}
        substitute("check", "--strict")
        units = "substitute-*-shop_a_web_*.service"
        assert (
            run("systemctl", "show", "--property=MemoryMax", units).split() == [f"MemoryMax={256 << 20}"] * 2
        )

    with server_with(prepare) as machine:
        machine.call(inside)
