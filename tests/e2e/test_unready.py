"""Apps that do not get ready, and the line that their message names, typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_port

if TYPE_CHECKING:
    import pytest

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
    limits = '[app.shop.health]\ntimeout = "8s"\n'

    site.configure(start=f"{GUNICORN} -b $BIND:{wrong} app:application", more=limits)
    said = site.run("deploy", exit_status=4).stderr
    assert f"it listens on 127.0.0.1:{wrong}, not on $PORT ({site.ports[0]})" in said
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


TOOL = f"""#!/bin/sh
if [ -e tmp/server.pid ]; then
    echo "A server is already running. Check $PWD/tmp/server.pid."
    exit 1
fi
exec {sys.executable} -S -E app.py
"""


def test_the_lines_that_are_named_mend_a_path_that_lacks_the_program_and_a_file_that_an_earlier_run_left(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "tools" / "serve-shop"
    tool.parent.mkdir()
    tool.write_text(TOOL)
    tool.chmod(0o755)
    usual = os.environ["PATH"]
    site.configure(start="serve-shop")
    monkeypatch.setenv("PATH", f"{tool.parent}:{usual}")
    site.run("deploy")

    monkeypatch.setenv("PATH", usual)
    site.repository.commit("2")
    ended = site.run("deploy", exit_status=1)
    assert "`start` is `serve-shop`" in ended.stderr
    assert "start: 1: exec: serve-shop: not found" in ended.stderr
    assert "shop_b.sh" not in ended.stderr + ended.stdout
    line = re.search(r'add to \[app\.shop\.env\]: (PATH = ".*?")', ended.stderr)
    assert line
    site.configure(start="serve-shop", more=f"[app.shop.env]\n{line[1]}\n")
    site.run("deploy")
    site.assert_only_serves("b")

    left = site.root / "shop_a" / "tmp" / "server.pid"
    left.parent.mkdir()
    left.write_text("812\n")
    said = site.run("deploy", exit_status=1).stderr
    assert "It names tmp/server.pid, which no commit holds" in said
    line = re.search(r"`(rm .*?)`", said)
    assert line
    subprocess.run(["/bin/sh", "-c", line[1]], check=True)
    site.run("deploy")
    site.assert_only_serves("a")
