"""What follows a document for a test does what a reader would, and stops where a reader would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.documents import Reader, assert_shows

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = """\
# A page

```sh
mkdir -p /srv/shop
cd /srv/shop
export GREETING=hello
```

A file, and what reads it:

```ini shop.ini
port = 8080
```

```sh
echo "$GREETING from $PWD"; cat shop.ini
cat    # reads from no terminal
```

```text
hello from /srv/shop
port = 8080
```

```ini
for = "the reader"
```

## What fails

```sh
false
true
```
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(DOCUMENT)
    return path


def test_commands_are_typed_files_saved_and_output_compared(document: Path, tmp_path: Path) -> None:
    replace = {"/srv": tmp_path / "srv", "8080": 28080}
    with (
        Reader(tmp_path, replace=replace) as reader,
        pytest.raises(AssertionError, match=r"one of these commands failed:\nfalse"),
    ):
        reader.follow(document)
    assert (tmp_path / "srv" / "shop" / "shop.ini").read_text() == "port = 28080\n"
    assert (tmp_path / "notes" / "printed").read_text() == ""


def test_one_section_is_followed_alone(document: Path, tmp_path: Path) -> None:
    replace = {"/srv": tmp_path / "srv"}
    failing = pytest.raises(AssertionError, match="one of these commands failed")
    with Reader(tmp_path, replace=replace) as reader, failing:
        reader.follow(document, only="What fails")
    assert not (tmp_path / "srv").exists()


@pytest.mark.parametrize("overlooked", ["```\nls\n```\n", "1. Type:\n\n   ```sh\n   ls\n   ```\n"])
def test_a_block_that_would_not_be_typed_is_refused(tmp_path: Path, overlooked: str) -> None:
    (tmp_path / "page.md").write_text(overlooked)
    with Reader(tmp_path) as reader, pytest.raises(AssertionError, match="each block begins at the margin"):
        reader.follow(tmp_path / "page.md")


@pytest.mark.parametrize(
    "expected",
    [
        "shop is live in slot b: 0e24fe77ab -> bdcd30d192 in 1.8 s",
        "shop is live … in 1.8 s\n\nslot a: 0 requests in flight finished",
        "shop is live … in 1 m 24 s",
        "a  live  3000  32022",
        "2026-01-01 10:00  deploy",
    ],
)
def test_what_differs_from_run_to_run_may_differ(expected: str) -> None:
    assert_shows(
        "shop is live in slot b: aaaaaaaa11 -> bbbbbbbb22 in 700 ms\n"
        "slot a: 0 requests in flight finished, none cut\n  a   live 28000   4711\n2026-11-26 18:09 deploy",
        expected,
    )


@pytest.mark.parametrize("expected", ["slot b", "3 requests", "second\nfirst", "first second"])
def test_what_is_not_printed_or_in_another_order_is_told(expected: str) -> None:
    with pytest.raises(AssertionError, match="not printed, or not in this order"):
        assert_shows("slot a\n4 requests\nfirst\nsecond", expected)
