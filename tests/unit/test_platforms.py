from __future__ import annotations

import pytest

from substitute.core import advice
from substitute.probing.platforms import named


@pytest.mark.parametrize(
    ("line", "platform"),
    [
        ("python3 /srv/shop/.venv/bin/gunicorn app:app", "gunicorn"),
        ("gunicorn: master [app:app]", "gunicorn"),
        ("python3 -m uvicorn app:app", "uvicorn"),
        ("python3 gunicorn -k uvicorn.workers.UvicornWorker", "gunicorn"),
        ("puma 6.4.2 (tcp://127.0.0.1:3001) [shop]", "puma"),
        ("puma: cluster worker 0: 812 [shop]", "puma"),
        ("/usr/bin/node www.js", "node"),
        ("java -jar shop.jar", "java"),
        ("ruby /usr/bin/unicorn -c unicorn.rb", "unicorn"),
        ("unicorn master -c unicorn.rb", "unicorn"),
        ("unicorn worker[0] -c unicorn.rb", "unicorn"),
        ("php-fpm: master process (/srv/fpm.conf)", "php-fpm"),
        ("/usr/sbin/php-fpm8.2 -F -y fpm.conf", "php-fpm"),
        ("python3 app.py", ""),
        ("", ""),
    ],
)
def test_a_platform_is_recognized_by_the_command_line(line: str, platform: str) -> None:
    assert named(line.split()) == platform


@pytest.mark.parametrize("platform", advice.Platform)
@pytest.mark.parametrize("signal", ["SIGTERM", "SIGQUIT"])
def test_every_platform_has_its_lines(platform: str, signal: str) -> None:
    for cure in (advice.to_obey, advice.to_refuse, advice.to_end_in_time):
        assert cure("shop", platform, signal).endswith(f"; see {advice.DOCUMENT}")


def test_what_is_not_recognized_is_pointed_to_the_document() -> None:
    assert advice.to_obey("shop", "", "SIGTERM") == f"see {advice.DOCUMENT}"


@pytest.mark.parametrize(
    ("platform", "signal", "line"),
    [
        ("unicorn", "SIGTERM", 'signal = "SIGQUIT" in [app.shop.stop]'),
        ("unicorn", "SIGQUIT", "trap('QUIT')"),
        ("php-fpm", "SIGTERM", 'signal = "SIGQUIT" in [app.shop.stop]'),
        ("gunicorn", "SIGQUIT", 'signal = "SIGTERM" in [app.shop.stop]'),
        ("node", "SIGQUIT", "process.on('SIGQUIT'"),
        ("node", "SIGTERM", "process.on('SIGTERM'"),
    ],
)
def test_what_finishes_its_work_on_another_signal_is_given_that(
    platform: str, signal: str, line: str
) -> None:
    assert line in advice.to_obey("shop", platform, signal)
