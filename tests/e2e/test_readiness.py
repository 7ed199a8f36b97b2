"""What a good answer is, and by what an app is stopped: keys of substitute.toml, on real apps."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.site import Site

TO_HTTPS = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        secure = self.headers.get("X-Forwarded-Proto") == "https"
        body = b'{"status": "%s"}' % open("state.txt", "rb").read().strip() if secure else b""
        self.send_response(200 if secure else 301)
        if not secure:
            self.send_header("Location", "https://shop.example.com" + self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answers).serve_forever()
"""


def commit(site: Site, state: str) -> None:
    (site.repository.directory / "state.txt").write_text(f"{state}\n")
    site.repository.commit(state, app=TO_HTTPS)


def health(site: Site, keys: str, *, start: str = "", timeout: str = "4s") -> None:
    site.configure(more=f'[app.shop.health]\ntimeout = "{timeout}"\n{keys}', start=start)


def test_an_app_that_redirects_everything_or_says_that_it_is_down_does_not_get_ready(site: Site) -> None:
    commit(site, "down")
    health(site, 'status = "200-299"\n')
    said = site.run("deploy", exit_status=4).stderr
    assert "did not answer 200-299" in said
    assert "(last: 301 to https://shop.example.com/)" in said
    assert 'headers = { X-Forwarded-Proto = "https" }' in said

    keys = 'status = "200-299"\nheaders = { X-Forwarded-Proto = "https" }\nexpect = \'"up"\'\n'
    health(site, keys)
    said = site.run("deploy", exit_status=4).stderr
    assert "(last: 200 without the expected text)" in said
    assert '  > {"status": "down"}' in said

    commit(site, "up")
    health(site, f'{keys}warm = ["/front", "/gone"]\n', timeout="30s")
    events = site.events("deploy")
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    assert phases[phases.index("ready") :][:3] == ["ready", "warm", "admit"]
    told = [event["line"] for event in events if event["event"] == "output" and event["phase"] == "warm"]
    shown = [line.partition(",")[0] for line in told if line.startswith("GET ")]
    assert shown == ["GET /front: 200", "GET /gone: 200"]
    site.assert_only_serves("a")
    site.run("status", "--check")
    found = json.loads(site.run("check", "--json", exit_status=1).stdout)  # it has no handler
    assert "is answered at once (301)" not in json.dumps(found), "the check asks with the headers too"


HEALTHY = """#!/bin/sh
echo "$SUBSTITUTE_SLOT on $PORT in $PWD: $MODE"
if [ "$MODE" = hanging ]; then sleep 1000 & sleep 1000; fi
[ -e ../database ]
"""


def test_a_command_decides_and_is_shown_and_none_is_left_behind(site: Site) -> None:
    script = site.repository.directory / "healthy"
    script.write_text(HEALTHY)
    script.chmod(0o755)
    site.repository.commit("1")
    keys = 'command = "./healthy"\n[app.shop.env]\nMODE = "{}"\n'
    health(site, keys.format("quick"))
    said = site.run("deploy", exit_status=4).stderr
    assert "did not pass `./healthy` within 4s (last: exit status 1)" in said
    assert f"  > a on {site.ports[0]} in {site.root}/shop_a: quick" in said

    health(site, keys.format("hanging"), timeout="4s")
    said = site.run("deploy", exit_status=4).stderr
    assert "(last: no end within 4 s)" in said
    eventually(lambda: not any("sleep" in name(pid) for pid in site.pids()), "the command is gone")

    (site.root / "database").touch()
    health(site, keys.format("quick"), timeout="30s")
    site.run("deploy")
    site.assert_only_serves("a")
    site.run("status", "--check")
    (site.root / "database").unlink()
    site.run("status", "--check", exit_status=4)


def name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def test_a_version_that_listens_elsewhere_or_everywhere_is_told_of(site: Site) -> None:
    wrong = free_port()
    server = f"{sys.executable} -m http.server"
    health(site, "", start=f"{server} -b $HOST {wrong}", timeout="10m")
    with site.popen("deploy") as deploy:  # nobody has to wait for its end to know
        assert deploy.stdout
        warned = next((line for line in deploy.stdout if "warning" in line), "")
        deploy.send_signal(signal.SIGINT)
        deploy.communicate(timeout=60)
    told = f"it listens on 127.0.0.1:{wrong}, not on $PORT ({site.ports[0]})"
    assert f"warning: Slot a runs, and {told}. Make the app listen" in warned

    health(site, "", start=f"{server} -b 0.0.0.0 $PORT", timeout="30s")
    said = site.run("deploy").stdout
    every = f"listens on port {site.ports[0]} of all IPv4 addresses, though app.shop.host is 127.0.0.1"
    assert said.count(every) == 1
    assert "`python3 -m http.server -b $HOST $PORT`" in said


# -- the stop signal ------------------------------------------------------------------------------

ON_QUIT = """
import os, signal, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            open("asked", "w").close()
            stopping.wait(60)
        body = open("version.txt", "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
    def log_message(self, *_):
        pass
stopping = threading.Event()
class Server(ThreadingHTTPServer):
    daemon_threads = False
server = Server((os.environ["HOST"], int(os.environ["PORT"])), Answers)
def finish(*_):
    server.socket.close()
    threading.Timer(0.2, stopping.set).start()
    threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGQUIT, finish)
signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
try:
    server.serve_forever(poll_interval=0.05)
except (OSError, ValueError):
    pass
server.server_close()
"""
STOP = '[app.shop.drain]\ntimeout = "0s"\n[app.shop.check]\nslow = "/slow"\n[app.shop.stop]\nsignal = "{}"\n'


def test_an_app_that_finishes_its_requests_on_sigquit_is_stopped_so_as_it_was_proven(site: Site) -> None:
    site.repository.commit("1", app=ON_QUIT)
    site.configure(more=STOP.format("SIGTERM"))
    found = json.loads(site.run("check", "--json", exit_status=1).stdout)
    assert found["signal"] == "SIGTERM"
    assert "after SIGTERM" in json.dumps(found)

    site.configure(more=STOP.format("SIGQUIT"))
    found = json.loads(site.run("check", "--json").stdout)
    assert (found["signal"], found["result"]) == ("SIGQUIT", "passed")
    assert "SIGTERM" not in json.dumps(found)

    site.run("deploy")
    site.assert_only_serves("a")
    (site.root / "shop_a" / "asked").unlink()
    answers: list[str] = []
    slow = Thread(target=lambda: answers.append(urllib.request.urlopen(f"{site.url}slow").read().decode()))
    slow.start()
    eventually((site.root / "shop_a" / "asked").exists, "a request is under way")
    site.repository.commit("2", app=ON_QUIT)
    site.configure(more=STOP.format("SIGTERM"))  # for the next version
    said = site.run("deploy").stdout
    slow.join()
    assert answers == ["1\n"]
    assert "It gets SIGQUIT now" in said


@pytest.mark.skipif(shutil.which("unicorn") is None, reason="unicorn is not here")
def test_unicorn_is_recognized_and_passes_with_the_signal_that_is_named(site: Site) -> None:
    rack = "run lambda { |env| sleep 2 if env['PATH_INFO'] == '/slow'; [200, {}, ['ok']] }\n"
    (site.repository.directory / "config.ru").write_text(rack)
    site.repository.commit("1")
    start = "unicorn -E none -l $ADDRESS config.ru"
    slow = '[app.shop.check]\nslow = "/slow"\n'
    site.configure(start=start, more=slow)
    found = json.loads(site.run("check", "--json", exit_status=1).stdout)
    (finish,) = (one for one in found["checks"] if one["name"] == "finish")
    assert (found["platform"], finish["passed"]) == ("unicorn", False)
    assert 'signal = "SIGQUIT" in [app.shop.stop]' in finish["cure"]
    site.configure(start=start, more=f'{slow}[app.shop.stop]\nsignal = "SIGQUIT"\n')
    found = json.loads(site.run("check", "--json", exit_status=1).stdout)
    (finish,) = (one for one in found["checks"] if one["name"] == "finish")
    assert finish["passed"] is True
