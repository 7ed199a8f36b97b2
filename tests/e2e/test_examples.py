"""Each example is deployed twice by the real command, as its README says, while requests flow."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from substitute.demo.load import Load
from tests.e2e.traffic import PAUSE
from tests.e2e.visitors import Visitor, Visitors
from tests.ports import free_ports
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.e2e.site import Site

EXAMPLES = Path(__file__).parents[2] / "examples"


VENV = """\
  "python3 -m venv .venv",                 # stays in the slot: the second build is quick
  ".venv/bin/pip install --quiet --requirement requirements.txt",
"""
"""How examples in Python are built."""
LINKED = {VENV: f'  "ln -sfn {sys.prefix} .venv",\n'}
"""A slot's `.venv` is a link to the one of these tests, which is there already."""
BUILDING = 600.0
"""Seconds for a virtual environment, on a machine that has other work."""


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("name", "replaced"),
    [
        pytest.param("node", {}, id="node"),
        pytest.param("gunicorn", LINKED, id="gunicorn, linked", marks=pytest.mark.slow),
        *(pytest.param(name, {}, marks=pytest.mark.long, id=name) for name in ("uvicorn", "gunicorn")),
    ],
)
def test_an_example_is_deployed_and_rolled_back_without_a_failed_request(
    site: Site, name: str, replaced: dict[str, str]
) -> None:
    """`make test-long` builds each as a user does."""
    copied(site, name)
    site.repository.commit("example", app=_app(name))
    configured(site, name, {"[3001, 3002]": str(list(site.ports)), **replaced})

    site.run("deploy", patience=BUILDING)
    site.repository.commit("example 2", app=_app(name))
    # With pauses, or the build beside them would starve.
    with (
        Load(site.url, pause=PAUSE) as get,
        Load(site.url, method="POST", connections=2, pause=PAUSE) as post,
    ):
        for operation in ("deploy", "rollback"):
            for load in (get, post):
                load.wait_for(50)
            site.run(operation, patience=BUILDING)
        for load in (get, post):
            load.wait_for(50)
        reports = [get.stop(), post.stop()]
    assert [failure for report in reports for failure in report.failures] == []
    site.assert_only_serves("a")


def _app(name: str) -> str:
    """What `app.py` is: the repository's own is the sample app, which an example has not."""
    file = EXAMPLES / name / "app.py"
    return file.read_text() if file.exists() else ""


def copied(site: Site, name: str) -> None:
    """The example's files are the repository's."""
    ignored = shutil.ignore_patterns("__pycache__", ".venv", "collected", "data", "media")
    shutil.copytree(EXAMPLES / name, site.repository.directory, dirs_exist_ok=True, ignore=ignored)


def configured(site: Site, name: str, replaced: dict[str, str]) -> None:
    """The example's substitute.toml is the root's, with what a user would have to replace, too."""
    own = {
        "ssh://git@YOUR-HOST/YOUR-APP.git": str(site.repository.directory),
        "127.0.0.1:8080": f"127.0.0.1:{site.port}",
    }
    text = (EXAMPLES / name / "substitute.toml").read_text()
    for its, ours in {**own, **replaced}.items():
        assert its in text
        text = text.replace(its, ours)
    (site.root / "substitute.toml").write_text(text)


def edited(directory: Path, edits: Iterable[tuple[str, str, str]]) -> None:
    """Replace one text by another in files of `directory`."""
    for file, old, new in edits:
        text = (directory / file).read_text()
        assert old in text, f"{file}: {old}"
        (directory / file).write_text(text.replace(old, new))


# -- Django ---------------------------------------------------------------------------------------

DJANGO_2 = [
    (
        "shop/models.py",
        "    attachment =",
        '    gift = models.CharField(max_length=200, blank=True, db_default="")\n    attachment =',
    ),
    ("shop/forms.py", '("text", ', '("text", "gift", '),
    (
        "shop/templates/shop/order.html",
        "<p>{{ order.text }}</p>",
        "<p>{{ order.text }} for {{ order.gift }}</p>",
    ),
    ("shop/static/shop/site.css", "tan", "plum"),
]
DJANGO_2_MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("order", "gift", models.CharField(max_length=200, blank=True, db_default=""))
    ]
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "built", [False, pytest.param(True, marks=pytest.mark.long)], ids=["linked", "built"]
)
def test_the_django_example_keeps_its_data_jobs_and_pages_over_versions(site: Site, *, built: bool) -> None:
    """`built`: as a user builds it."""
    copied(site, "django")
    site.repository.commit("1", app="")
    (site.root / "secret_key").write_text("of the test\n" * 9)
    (site.root / "secret_key").chmod(0o600)
    linked = {} if built else LINKED
    configured(site, "django", {"[3001, 3002]": str(list(site.ports)), **linked})
    site.run("deploy", patience=BUILDING)

    buyer = browser(site, keeps=False)
    first = ordered(buyer, "a chair", attachment=b"\0its picture\xff")

    def looks_as_in(colour: str) -> None:
        assert colour in style(buyer)
        assert "a chair" in page(buyer, first)
        assert buyer.ask("GET", f"{first}attachment").body == b"\0its picture\xff"

    looks_as_in("tan")
    with Visitors(lambda: browser(site), buys) as visitors:
        visitors.wait_for(10)
        edited(site.repository.directory, DJANGO_2)
        (site.repository.directory / "shop/migrations/0002_gift.py").write_text(DJANGO_2_MIGRATION)
        site.repository.commit("2", app="")
        earlier = page(buyer)
        site.run("deploy", patience=BUILDING)
        looks_as_in("plum")
        assert "tan" in style(buyer, earlier)
        gift = ordered(buyer, "a lamp", gift="Ada")
        assert "a lamp for Ada" in page(buyer, gift)
        shown = site.run("cron", "run", "tidy").stdout
        assert "0 jobs deleted" in shown
        visitors.wait_for(10)
        site.run("rollback")
        looks_as_in("tan")
        assert "a lamp" in page(buyer, gift)
        assert "Ada" not in page(buyer, gift)
        visitors.wait_for(10)
    assert visitors.failures == []
    site.assert_only_serves("a")

    shared = site.root / "deploy" / "shop" / "shared"
    orders = one(site, "SELECT count(*) FROM shop_order")
    assert orders == visitors.visits + 2
    eventually(
        lambda: one(site, "SELECT count(*) FROM shop_job WHERE done IS NULL") == 0, "all jobs are done"
    )
    assert one(site, "SELECT count(*) FROM shop_job WHERE attempts = 1") == orders
    assert len(list((shared / "media" / "invoices").iterdir())) == orders


def browser(site: Site, *, keeps: bool = True) -> Visitor:
    """What comes by https, through the proxy that ends it; it keeps its connection or opens one for each request."""
    headers = {"X-Forwarded-Proto": "https", "Referer": "https://shop.example.com/"}
    return Visitor(site.url, headers | ({} if keeps else {"Connection": "close"}))


def page(visitor: Visitor, path: str = "/") -> str:
    return visitor.ask("GET", path).body.decode()


def style(visitor: Visitor, of: str = "") -> str:
    """The style sheet of a page, of the first one if none is given."""
    found = re.search(r'href="(/static/[^"]+\.[0-9a-f]{12}\.css)"', of or page(visitor))
    assert found
    return visitor.ask("GET", found[1]).body.decode()


def ordered(visitor: Visitor, text: str, *, attachment: bytes = b"", gift: str = "") -> str:
    """Order by the form of the page; where it is shown."""
    shown = visitor.ask("GET", "/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', shown.body.decode())
    assert token
    fields = {"csrfmiddlewaretoken": token[1], "text": text, "gift": gift}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode(fields).encode()
    if attachment:
        headers = {"Content-Type": "multipart/form-data; boundary=cut"}
        lines = [
            f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        file = '--cut\r\nContent-Disposition: form-data; name="attachment"; filename="picture.bin"\r\n\r\n'
        body = "".join([*lines, file]).encode() + attachment + b"\r\n--cut--\r\n"
    headers["Cookie"] = shown.head.headers["set-cookie"].partition(";")[0]
    return visitor.ask("POST", "/", body=body, headers=headers, status=302).head.headers["location"]


def buys(visitor: Visitor, number: str) -> None:
    """A page, what it is styled by, an order, and the order's own page."""
    assert "color" in style(visitor, page(visitor))
    assert f"order {number}" in page(visitor, ordered(visitor, f"order {number}"))


def one(site: Site, query: str) -> int:
    """A number of the example's database."""
    file = site.root / "deploy" / "shop" / "shared" / "data" / "db.sqlite3"
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        return int(database.execute(query).fetchone()[0])


# -- Rack -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("puma"), reason="needs Debian's puma")
def test_the_rack_example_answers_with_two_instances_and_does_each_job_once(site: Site) -> None:
    copied(site, "rack")
    site.repository.commit("1", app="")
    ports = [free_ports(2), free_ports(2)]
    configured(site, "rack", {"[3001, 3101]": str(ports)})
    site.run("deploy")

    answered: set[tuple[str, str]] = set()

    def orders(visitor: Visitor, number: str) -> None:
        text = f"order {number}".encode()
        made = visitor.ask("POST", "/", body=text, status=201).head.headers["location"]
        assert visitor.ask("GET", made).body == text
        hello = visitor.ask("GET", "/")
        answered.add((hello.body.decode().strip(), hello.head.headers["x-instance"]))

    def both_answer(hello: str) -> None:
        answered.clear()
        eventually(lambda: answered >= {(hello, "1"), (hello, "2")}, f"both instances say {hello}")

    buyer = Visitor(site.url, {"Connection": "close"})
    first = buyer.ask("POST", "/", body=b"a chair", status=201).head.headers["location"]
    with Visitors(lambda: Visitor(site.url), orders) as visitors:
        both_answer("hello from rack")
        edited(site.repository.directory, [("config.ru", "hello from rack", "hello from version 2")])
        site.repository.commit("2", app="")
        site.run("deploy")
        both_answer("hello from version 2")
        assert buyer.ask("GET", first).body == b"a chair"
        site.run("rollback")
        both_answer("hello from rack")
        assert buyer.ask("GET", first).body == b"a chair"
    assert visitors.failures == []
    site.assert_only_serves("a")

    data = site.root / "deploy" / "shop" / "shared" / "data"
    made = {file.name for file in (data / "orders").iterdir()}
    assert len(made) == visitors.visits + 1
    eventually(lambda: {file.name for file in (data / "done").iterdir()} == made, "all jobs are done")
    invoices = {file.name: file.read_text().count("Invoice") for file in (data / "invoices").iterdir()}
    assert invoices == dict.fromkeys(made, 1)
