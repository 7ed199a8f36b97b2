"""How-tos of frameworks are followed with the real ones, on a machine of their own, with requests flowing."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documents import DOCS, Reader
from tests.e2e.servers import published, run, server_with
from tests.e2e.test_documents import BRIEF
from tests.machines import UNAVAILABLE, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
REPOSITORY = Path("/srv/git/shop.git")


@pytest.fixture
def packages() -> Iterator[Path]:
    """A place for what registries give: a machine has no network."""
    place = Path(tempfile.mkdtemp(prefix="packages-", dir="/var/tmp"))  # a machine sees it
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def prepared(app: Callable[[Path], object]) -> None:
    """A repository of what `app` writes into a directory."""
    work = Path("/srv/work/shop")
    work.mkdir(parents=True)
    app(work)
    published(work, REPOSITORY)


def follow(page: str, *, replace: Mapping[str, str] | None = None) -> None:
    """Do what a page says, as root."""
    words = {"https://git.example.com/shop.git": REPOSITORY, **BRIEF, **(replace or {})}
    with Reader(Path("/root/reader"), home=Path("/root"), replace=words) as reader:
        reader.follow(DOCS / page)


def style() -> str:
    """The URL of the page's style sheet."""
    found = re.search(r"/[\w/.~-]+\.css", get("/"))
    assert found
    return found[0]


def get(path: str) -> str:
    return run(
        "curl", "--silent", "--fail", "--header", "Host: shop.example.com", f"http://127.0.0.1:8080{path}"
    )


def visits() -> int:
    found = re.search(r"visit (\d+)", get("/"))
    assert found
    return int(found[1])


def other_styles_are_deployed(file: str) -> None:
    """A page of the version before finds its own; both slots have had the first one, so there are two more."""
    work, root = Path("/root/checkout"), Path("/srv/shop")
    for colour in ("red", "plum"):
        earlier, before = style(), get(style())
        (work / file).write_text(f"body {{ color: {colour} }}\n")
        run("git", "commit", "--quiet", "--all", "--message", colour, cwd=work)
        run("git", "push", "--quiet", cwd=work)
        run("substitute", "deploy", cwd=root)
        assert style() != earlier
        assert colour in get(style())
        assert get(earlier) == before
    run("substitute", "rollback", cwd=root)
    assert style() == earlier


DJANGO = {
    "shop/static/site.css": "body { color: tan }\n",
    "shop/models.py": """\
from django.db import models


class Visit(models.Model):
    pass
""",
    "shop/urls.py": """\
from django.http import HttpResponse
from django.templatetags.static import static
from django.urls import path

from .models import Visit


def home(request):
    Visit.objects.create()
    return HttpResponse(f"{static('site.css')} visit {Visit.objects.count()}\\n")


urlpatterns = [path("", home)]
""",
}


def a_django_project(directory: Path) -> None:
    """As `django-admin startproject` makes it, with a model."""
    run("/usr/bin/python3", "-m", "venv", "/srv/venv")
    run("/srv/venv/bin/pip", "install", "--quiet", "django")
    run("/srv/venv/bin/django-admin", "startproject", "shop", directory)
    for file, text in DJANGO.items():
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text(text)
    settings = directory / "shop" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS.append('shop')\n")
    (directory / "requirements.txt").write_text("django>=5.1\n")
    (directory / "shop" / "migrations").mkdir()
    (directory / "shop" / "migrations" / "__init__.py").touch()
    run("/srv/venv/bin/python", "manage.py", "makemigrations", "shop", cwd=directory)


@pytest.fixture
def wheels(packages: Path) -> Path:
    names = ["django>=5.1", "gunicorn", "whitenoise", "psycopg[binary]"]
    run("/usr/bin/python3", "-m", "pip", "download", "--quiet", "--dest", packages, *names)
    return packages


@pytest.fixture
def django(wheels: Path) -> Iterator[Machine]:
    """A server, and the repository of a Django project."""

    def prepare() -> None:
        Path("/etc/pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
        prepared(a_django_project)

    with server_with(prepare) as machine:
        yield machine


def test_how_to_deploy_a_django_app(django: Machine) -> None:
    def inside() -> None:
        run("systemctl", "start", "postgresql")
        follow("howto/django.md")
        before = visits()
        other_styles_are_deployed("shop/static/site.css")
        assert visits() > before

    django.call(inside)


NEXT = {
    "package.json": """\
{
  "name": "shop",
  "private": true,
  "scripts": {"dev": "next dev", "build": "next build"},
  "dependencies": {"next": "^16", "react": "^19", "react-dom": "^19"}
}
""",
    "app/layout.js": """\
import "./site.css";

export default function Layout({ children }) {
  return <html lang="en"><body>{children}</body></html>;
}
""",
    "app/site.css": "body { color: tan }\n",
    "app/page.js": """\
export const dynamic = "force-dynamic";

export default function Home() {
  return <p>hello from next</p>;
}
""",
    "public/robots.txt": "User-agent: *\n",
}


@pytest.fixture
def next_app(packages: Path) -> Iterator[Machine]:
    """A server, and the repository of a Next.js app; npm has what it needs in its cache."""
    if UNAVAILABLE:
        pytest.skip(UNAVAILABLE)
    work = packages / "app"
    for file, text in NEXT.items():
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        (work / file).write_text(text)
    cache = packages / "cache"
    for command in ("install", "ci"):  # npm asks for other things in a build than when it makes the lock
        run("npm", command, "--silent", "--cache", cache, cwd=work)
    run("chmod", "-R", "a+rwX", cache)
    shutil.rmtree(work / "node_modules")

    def prepare() -> None:
        Path("/etc/skel/.npmrc").write_text(
            f"cache={cache}\noffline=true\nomit-lockfile-registry-resolved=true\n"
        )
        prepared(lambda directory: shutil.copytree(work, directory, dirs_exist_ok=True))

    with server_with(prepare) as machine:
        yield machine


def test_how_to_deploy_a_next_js_app(next_app: Machine) -> None:
    def inside() -> None:
        follow("howto/nextjs.md")
        other_styles_are_deployed("app/site.css")

    next_app.call(inside)


RAILS = {
    "Gemfile": """\
source "https://rubygems.org"
gem "rails", "~> 6.1"
gem "pg"
gem "puma"
gem "sprockets-rails"
""",
    "config/routes.rb": """\
Rails.application.routes.draw do
  root "visits#index"
end
""",
    "app/controllers/visits_controller.rb": """\
class VisitsController < ApplicationController
  def index
    Visit.create!
    render inline: "<%= stylesheet_link_tag 'application' %> visit <%= Visit.count %>\\n"
  end
end
""",
    "app/models/visit.rb": "class Visit < ApplicationRecord\nend\n",
    "app/assets/stylesheets/application.css": "body { color: tan }\n",
    "db/migrate/20260101000000_create_visits.rb": """\
class CreateVisits < ActiveRecord::Migration[6.1]
  def change
    create_table :visits
  end
end
""",
}


def a_rails_app(directory: Path) -> None:
    """As `rails new` makes it, with a model."""
    run(
        "rails",
        "new",
        directory,
        "--minimal",
        "--skip-bundle",
        "--skip-git",
        "--database=postgresql",
        "--name=shop",
    )
    for file, text in RAILS.items():
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text(text)
    run("bundle", "install", "--local", cwd=directory)


@pytest.fixture
def rails() -> Iterator[Machine]:
    """A server, and the repository of a Rails app; the gems are Debian's."""
    if not (shutil.which("rails") and shutil.which("puma") and shutil.which("bundle")):
        pytest.skip("needs Debian's ruby-rails, puma, ruby-pg and bundler")
    with server_with(lambda: prepared(a_rails_app)) as machine:
        yield machine


def test_how_to_deploy_a_rails_app(rails: Machine) -> None:
    system = {
        'BUNDLE_PATH = "vendor/bundle"': 'BUNDLE_PATH__SYSTEM = "true"',
        "BUNDLE_PATH=vendor/bundle": "",
    }

    def inside() -> None:
        run("systemctl", "start", "postgresql")
        follow("howto/rails.md", replace=system)
        before = visits()
        other_styles_are_deployed("app/assets/stylesheets/application.css")
        assert visits() > before

    rails.call(inside)
