"""Values of secrets: asked for once a deployment, kept for their slot, shown nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.masking import Mask
from substitute.core.model.errors import DeploymentFailedError, NothingServesError, SecretError
from substitute.core.model.events import Notice, Output, Warned
from substitute.core.model.secrets import SecretSource
from substitute.core.model.versions import Version
from substitute.core.operate.guests import resume_guest, start_guest, stop_guest
from substitute.core.operate.root import down, up
from substitute.core.state.deployment_log import path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.model.programs import Process
    from tests.unit.fakes.shop import Shop

KEY, URL = SecretSource("op read key"), SecretSource(file="url")


class Manager:
    """A password manager, and who is signed in."""

    def __init__(self, shop: Shop) -> None:
        self.values = {KEY: "s3cret-1", URL: "s3cret-url"}
        self.asked: list[SecretSource] = []
        self.signed_in = True
        shop.host = replace(shop.host, secret=self.tell)
        shop.change(secrets={"sources": {"KEY": KEY, "SAME": KEY, "URL": URL}})

    def tell(self, source: SecretSource, on_start: Callable[[Process], None]) -> str:
        self.asked.append(source)
        if not self.signed_in:
            raise SecretError(f"{source} failed with exit status 1.", fact="  | not signed in")
        return self.values[source]


@pytest.fixture
def manager(shop: Shop) -> Manager:
    return Manager(shop)


def given(shop: Shop, name: str) -> list[str | None]:
    environment = shop.world.programs[name].environment
    return [environment.get(variable) for variable in ("KEY", "SAME", "URL")]


def test_they_are_asked_for_once_a_deployment_and_each_command_once(shop: Shop, manager: Manager) -> None:
    deploy(shop.host, shop.app, "v1")
    assert manager.asked == [KEY, URL]
    assert given(shop, "shop_a") == ["s3cret-1", "s3cret-1", "s3cret-url"]
    manager.values[KEY] = "s3cret-2"
    deploy(shop.host, shop.app, "v2")
    assert given(shop, "shop_b")[0] == "s3cret-2"
    kept = shop.host.kept_secrets("shop_b")
    assert kept.stat().st_mode & 0o777 == 0o600
    shop.change(secrets={"sources": {}})
    deploy(shop.host, shop.app, "v3")
    deploy(shop.host, shop.app, "v4")
    assert given(shop, "shop_b") == [None, None, None]
    assert not kept.exists()


def test_where_one_cannot_be_had_nothing_is_built_and_each_secret_is_named(
    shop: Shop, manager: Manager
) -> None:
    manager.signed_in = False
    with pytest.raises(NothingServesError) as failed:
        deploy(shop.host, shop.app, "v1")
    assert (
        failed.value.what == "The secret KEY of shop cannot be read: `op read key` failed with exit status 1."
    )
    assert failed.value.fact.splitlines() == [
        "  | not signed in",
        "Nor can URL be read: url failed with exit status 1.",
        "  | not signed in",
    ]
    assert "app.shop.secrets.KEY" in failed.value.cure
    assert shop.world.log == ["route 3001=0 3002=0"]  # nothing was fetched, built or started


def test_after_a_reboot_nobody_need_be_signed_in(shop: Shop, manager: Manager) -> None:
    deploy(shop.host, shop.app, "v1")
    manager.signed_in, manager.asked = False, []
    manager.values[KEY] = "another"
    for by_hand in (False, True):
        if by_hand:
            down(shop.host, [shop.app], everything=False)
        else:
            shop.world.crash("shop_a")
        up(shop.host, [shop.app])
        assert given(shop, "shop_a") == ["s3cret-1", "s3cret-1", "s3cret-url"]
    assert manager.asked == []
    shop.world.crash("shop_a")
    shop.host.kept_secrets("shop_a").write_text("damaged")
    with pytest.raises(NothingServesError, match=r"The secret KEY of shop cannot be read.*\n.*not signed in"):
        up(shop.host, [shop.app])
    manager.signed_in = True
    up(shop.host, [shop.app])
    assert given(shop, "shop_a")[0] == "another"


def test_a_rollback_takes_the_new_values_and_the_old_ones_where_there_are_none(
    shop: Shop, manager: Manager
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(secrets={"sources": {"URL": URL}})
    deploy(shop.host, shop.app, "v2")
    manager.values[KEY] = "s3cret-2"
    rollback(shop.host, shop.app)
    assert given(shop, "shop_a") == ["s3cret-2", "s3cret-2", "s3cret-url"]
    rollback(shop.host, shop.app)
    assert given(shop, "shop_b") == [None, None, "s3cret-url"]
    manager.signed_in = False
    rollback(shop.host, shop.app)
    assert given(shop, "shop_a") == ["s3cret-2", "s3cret-2", "s3cret-url"]
    (warning,) = [event.message for event in shop.events if isinstance(event, Warned)]
    assert "not signed in" in warning
    assert "started with the values that it had" in warning


def test_a_value_is_shown_nowhere(shop: Shop, manager: Manager) -> None:
    manager.values[KEY] = "-----BEGIN-----\ns3cret-line\n"
    run = shop.host.commands.run

    def talkative(argv, **options):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202
        for line in ("using s3cret-url", "and s3cret-line."):
            options["on_line"](line)
        return replace(run(argv, **options), status=1, tail=("s3cret-url is wrong",))

    shop.host.commands.run = talkative  # type: ignore[method-assign]
    with pytest.raises(NothingServesError) as failed:
        deploy(shop.host, shop.app, "v1")
    journal = "".join(map(str, shop.host.journal.history("shop")))
    log = path_of(shop.app, 1).read_text()
    told = [str(failed.value), failed.value.reason, journal, log, *map(str, shop.events)]
    assert not [text for text in told if "s3cret" in text]
    assert "using ***" in [event.line for event in shop.events if isinstance(event, Output)]
    assert "*** is wrong" in journal


def test_a_mask_hides_the_longest_first_and_no_word_of_three_letters() -> None:
    mask = Mask(["abcd", "abcdef", "the", "  \n"])
    assert mask.text("the abcdef, abcd, abcde") == "the ***, ***, ***e"


def test_versions_keep_where_they_come_from_and_no_value(shop: Shop, manager: Manager) -> None:
    deploy(shop.host, shop.app, "v1")
    slot = shop.host.journal.app("shop").live_slot
    assert slot
    assert slot.version
    assert slot.version.secrets_from == shop.app.secrets.sources
    assert "s3cret" not in str(slot.version.dump())
    assert Version.load(slot.version.dump()) == slot.version
    assert "s3cret" not in repr(shop.app.with_secrets({"KEY": "s3cret"}))


def test_a_guest_that_runs_as_an_app_gets_them_and_comes_back_with_them(shop: Shop, manager: Manager) -> None:
    start_guest(shop.host, "shop", shop.host.root, 5001, shop.app)
    assert given(shop, "shop")[0] == "s3cret-1"
    manager.signed_in = False
    shop.world.crash("shop")
    (guest,) = shop.host.journal.guests().values()
    resume_guest(shop.host, guest)
    assert given(shop, "shop")[0] == "s3cret-1"
    stop_guest(shop.host, guest)
    assert not shop.host.kept_secrets("shop").exists()


def test_builds_and_hooks_get_what_is_passed_and_the_app_does_not(shop: Shop) -> None:
    shop.host = replace(shop.host, environ={"NPM_TOKEN": "t", "OTHER": "o"})
    shop.change(pass_env=("NPM_TOKEN", "https_proxy"))
    hook = shop.app.state_directory / "hooks" / "pre_start"
    hook.parent.mkdir(parents=True)
    hook.touch()
    seen = {}
    run = shop.host.commands.run

    def note(argv, **options):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202
        environment = options["environment"]
        seen[argv[-1].rsplit("/", 1)[-1]] = [environment.get(name) for name in ("NPM_TOKEN", "OTHER")]
        return run(argv, **options)

    shop.host.commands.run = note  # type: ignore[method-assign]
    deploy(shop.host, shop.app, "v1")
    assert seen == {"make": ["t", None], "pre_start": ["t", None]}
    assert "NPM_TOKEN" not in shop.world.programs["shop_a"].environment
    told = [event.message for event in shop.events if isinstance(event, Notice)]
    assert "Not set here, and so not passed to builds and hooks: https_proxy." in told


def test_what_fails_after_the_secrets_were_read_leaves_the_old_version_with_its_own(
    shop: Shop, manager: Manager
) -> None:
    deploy(shop.host, shop.app, "v1")
    manager.values[KEY] = "s3cret-2"
    shop.world.build_status = 1
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "v2")
    shop.world.crash("shop_a")
    up(shop.host, [shop.app])
    assert given(shop, "shop_a")[0] == "s3cret-1"
