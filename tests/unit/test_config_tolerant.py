"""What of a substitute.toml with an error can be used, and what the journal makes of the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.config import read
from substitute.config.resolution import apps
from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.model.errors import ConfigError, NothingServesError, UsageError
from substitute.core.operate.root import up
from substitute.core.state.remembered import remembered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.fakes.shop import Shop

SHOP = '[app.shop]\nrepo = "shop"\nstart = "serve"\nports = [3001, 3002]\n'
BLOG = '[app.blog]\nrepo = "blog"\nstart = "serve"\nports = [3003, 3004]\ndomains = ["blog.test"]\n'
BALANCER = '[balancer]\nlisten = "127.0.0.1:9000"\n'


@pytest.mark.parametrize(
    ("text", "usable", "general"),
    [
        (BALANCER + SHOP + BLOG, {"shop", "blog"}, True),
        (BALANCER + SHOP + BLOG.replace("start", "strat"), {"shop"}, True),
        (BALANCER + SHOP + BLOG.replace("3003", "3001"), set(), True),
        (BALANCER + SHOP + BLOG.replace("domains", "#"), set(), True),
        (BALANCER + SHOP + BLOG.replace("3003", "9000"), {"shop"}, False),
        (BALANCER + SHOP + BLOG + 'env_file = "no such file"\n', {"shop", "blog"}, True),
        (BALANCER.replace("9000", "0") + SHOP + BLOG, {"shop", "blog"}, False),
        (BALANCER.replace("balancer", "balancr") + SHOP + BLOG, {"shop", "blog"}, False),
        ("app = 1", set(), False),
        (SHOP + "[", set(), False),
    ],
)
def test_sections_without_an_error_are_used_and_of_two_that_clash_neither(
    tmp_path: Path, *, text: str, usable: set[str], general: bool
) -> None:
    (tmp_path / "substitute.toml").write_text(text)
    found = read(tmp_path)
    assert (set(found.apps), found.general is not None) == (usable, general)
    assert (found.error is None) == (text == BALANCER + SHOP + BLOG)
    config = found.config({"balancer": {"listen": "127.0.0.1:9001"}})
    assert config.balancer.listen == f"127.0.0.1:{9000 if general else 9001}"
    assert set(config.app) == usable


def test_an_app_whose_env_file_cannot_be_used_says_so_and_others_have_theirs(tmp_path: Path) -> None:
    (tmp_path / "shop.env").write_text("A=1\n")
    named = [SHOP + 'env_file = "shop.env"\n', BLOG + 'env_file = "blog.env"\n']
    (tmp_path / "substitute.toml").write_text("".join(named))
    made = apps(read(tmp_path).config(), tmp_path)
    assert made["shop"].secrets.of_file == {"A": "1"}
    assert made["shop"].secrets.problem == ""
    assert made["blog"].secrets.problem == "blog.env cannot be used: there is no such file."


def test_without_its_env_file_nothing_is_started_and_what_runs_goes_on(shop: Shop) -> None:
    shop.change(secrets={"file": "shop.env"})
    deploy(shop.host, shop.app, "v1")
    shop.change(secrets={"problem": "shop.env cannot be used: there is no such file."})
    up(shop.host, [shop.app])
    shop.world.crash("shop_a")
    with pytest.raises(NothingServesError, match="cannot be used: there is no such file"):
        up(shop.host, [shop.app])
    shop.host = replace(shop.host, secrets=missing)
    with pytest.raises(NothingServesError, match="there is no such file"):
        up(shop.host, [remembered(shop.host.journal, shop.host.root, "shop")])
    shop.host = replace(shop.host, secrets=lambda _: {"MODE": "1"})
    up(shop.host, [remembered(shop.host.journal, shop.host.root, "shop")])
    assert shop.world.programs["shop_a"].environment["MODE"] == "1"


def missing(_file: str) -> dict[str, str]:
    raise ConfigError("shop.env cannot be used.", problems=("there is no such file",))


def test_what_the_journal_remembers_of_an_app_starts_it_again_and_builds_nothing(shop: Shop) -> None:
    shop.change(domains=("shop.test",), env={"MODE": "fast"})
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    known = remembered(shop.host.journal, shop.host.root, "shop")
    assert (known.start, known.domains, known.env) == (
        shop.app.start,
        shop.app.domains,
        shop.app.env,
    )
    assert (known.slots, known.health, known.user) == (shop.app.slots, shop.app.health, shop.app.user)
    shop.world.crash("shop_b")
    up(shop.host, [known])
    assert shop.world.programs["shop_b"].environment["MODE"] == "fast"
    rollback(shop.host, known)
    assert shop.host.journal.app("shop").live == "a"
    shop.host.journal.spoil("shop", known.slots[max(known.slots)].name)
    with pytest.raises(UsageError, match="no longer holds"):
        rollback(shop.host, known)
