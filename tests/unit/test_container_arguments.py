"""What an entrypoint is given for a line of shell: the shell only where it takes one."""

from __future__ import annotations

import pytest

from substitute.runtimes.containers import arguments


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("", []),
        ("  ", []),
        ("node 'my app.js' -x", ["node", "my app.js", "-x"]),
        ("gunicorn -b :$PORT app", ["/bin/sh", "-c", "exec gunicorn -b :$PORT app"]),
        ("node app.js >/tmp/log", ["/bin/sh", "-c", "exec node app.js >/tmp/log"]),
        ("A=b node app.js", ["/bin/sh", "-c", "exec env A=b node app.js"]),
        ("migrate && serve", ["/bin/sh", "-c", "migrate && serve"]),
        ("cd app", ["/bin/sh", "-c", "cd app"]),
    ],
)
def test_a_shell_is_asked_only_where_the_line_takes_one(command: str, given: list[str]) -> None:
    assert arguments(command) == given
