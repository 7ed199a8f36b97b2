from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Program
from substitute.runtimes.command_line import is_simple
from substitute.runtimes.supervisord.launcher import render


def program(command: str, environment: dict[str, str]) -> Program:
    return Program("shop_a", command, Path("/"), environment, Path("/dev/stdout"), 30.0)


@pytest.mark.parametrize(
    "command",
    [
        "node www.js",
        "node www.js --port $PORT",
        "FOO=1 BAR='a b' node www.js",
        "gunicorn -b $HOST:$PORT app:app",
        "node www.js > out.txt",
        "node www.js >> out.txt 2>&1",
        "node www.js >&2 2>&-",
        "node 'a;b'",
        'python3 -c "print(1); print(2)"',
    ],
)
def test_a_single_simple_command_replaces_the_shell(command: str) -> None:
    assert is_simple(command)


@pytest.mark.parametrize(
    "command",
    ["a; b", "a && b", "a | b", "cd x && node www.js", "(a)", "a &", "if a; then b; fi", "cd x", "ulimit -n 9",
     "a 2>&1 &", "a \\>& b", "a &> b",
     "a\nb", "node $(cat file)", "node `cat file`", "FOO=1", "'unfinished"],
)  # fmt: skip
def test_anything_else_runs_as_written(command: str) -> None:
    assert not is_simple(command)


def test_leading_assignments_reach_the_program(tmp_path: Path) -> None:
    script = tmp_path / "x.sh"
    code = "import os; print(os.environ['FOO'])"
    script.write_text(render(program(f'FOO=bar {sys.executable} -c "{code}"', {})))
    done = subprocess.run(["/bin/sh", str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "bar\n"


@settings(deadline=None)  # it starts a program, and the machine may be busy
@given(
    st.dictionaries(
        st.from_regex(r"X[A-Z0-9_]{0,8}", fullmatch=True), st.text().filter(lambda t: "\0" not in t)
    )
)
def test_every_value_is_carried_faithfully(environment: dict[str, str]) -> None:
    environment = {
        name: value.encode(errors="surrogatepass").decode(errors="replace")
        for name, value in environment.items()
    }
    text = render(program("env -0", {"PATH": "/usr/bin:/bin", **environment})).replace(
        ">>/dev/stdout 2>&1", ""
    )
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=True, env={})
    seen = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: seen.get(name) for name in environment} == environment


def test_a_name_that_no_shell_can_export_is_refused() -> None:
    with pytest.raises(RuntimeFailedError):
        render(program("env", {"A-B": "1"}))
