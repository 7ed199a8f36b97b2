"""Apps that do not get ready, and the line that their message names, typed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_port

if TYPE_CHECKING:
    from tests.e2e.site import Site

GUNICORN = Path(sys.executable).with_name("gunicorn")
CHOOSY = """
def application(environ, start_response):
    known = environ["HTTP_HOST"] == "example.com"
    start_response("200 OK" if known else "400 Bad Request", [("Content-Length", "0")])
    return [b""]
"""


def test_the_lines_that_are_named_mend_a_wrong_address_and_a_refused_host(site: Site) -> None:
    site.repository.commit("1", app=CHOOSY)
    wrong = free_port()
    limits = '[app.shop.health]\ntimeout = "3s"\n'

    site.configure(start=f"{GUNICORN} -b $BIND:{wrong} app:application", more=limits)
    said = site.run("deploy", exit_status=4).stderr
    assert f"it listens on 127.0.0.1:{wrong}, and not on 127.0.0.1:{site.ports[0]}" in said
    line = re.search(r"`gunicorn (.*?)`", said)
    assert line

    start = f"{GUNICORN} {line[1]} app:application"
    site.configure(start=start, more=limits)
    said = site.run("deploy", exit_status=4).stderr
    assert "(last: 400)" in said
    found = re.search(r'set app\.shop\.health\.(host) to one of them, as ("example.com")', said)
    assert found

    site.configure(start=start, more=f'[app.shop.health]\ntimeout = "30s"\n{found[1]} = {found[2]}\n')
    site.run("deploy")
    site.assert_only_serves("a")
