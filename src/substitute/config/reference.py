"""docs/configuration.md, generated from the models. ``python -m substitute.config`` prints it."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from substitute.config.literals import literal
from substitute.config.models import SECTIONS
from substitute.config.root import MINIMAL, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.config.tables import Key, Table

_PAGE = """\
# Configuration

<!-- Generated from src/substitute/config by `python -m substitute.config > docs/configuration.md` -->

Everything is in one file, `substitute.toml`. The directory that holds it is the **root directory**, for short
the root. Commands look for it in the working directory and those above it; or name it with `-C DIR` or
`{variable}`. Relative paths in the file are relative to the root.

This is enough for an app that answers on `$PORT`:

```toml
{minimal}```

`substitute config` prints the configuration with all defaults. `substitute config --json` prints it as one
JSON document, with times in seconds. `substitute config --schema` prints its JSON Schema, for editors. Values
that come from an `env_file` are shown as `***`. If the file has errors, all of them are listed: line, key, what
was found, and what was expected.

**Durations** are `"500ms"`, `"30s"`, `"2m"`, `"1h"`, or a number of seconds.

**`env_file`** holds lines of the form `KEY=VALUE`:

- Blank lines and lines that begin with `#` are skipped. `export` in front is allowed.
- A value in single quotes is taken as it is. In double quotes, `\\n`, `\\t`, `\\r`, `\\"` and `\\\\` have their usual
  meaning. Without quotes, ` #` begins a comment.
- Variables are not expanded: `$HOME` is five characters.
- If a name is set more than once, the last one counts.
- The variables that substitute sets (`PORT`, `HOST`, `BIND` and `SUBSTITUTE_*`) are not allowed, neither here nor in
  `env`. An `ADDRESS` that is set here or in `env` wins over substitute's own.

## Every key

{sections}
## Annotated example

The values are the defaults. A key without a default is in a comment.

```toml
{example}```
"""

_COLUMNS = "| key | takes | default | meaning |\n|---|---|---|---|\n"
_WIDTH = 100
_EXAMPLES = {"NAME": "shop", "PROCESS": "worker", "CRON": "digest"}
_OF_EXAMPLE = {"kind": "haproxy", "source": "git", "order": "start-first"}


def reference_markdown() -> str:
    """The whole page docs/configuration.md."""
    return _PAGE.format(
        variable=VARIABLE,
        minimal=MINIMAL,
        sections="\n".join(_section(header, table) for header, table in _documented()),
        example=annotated_example(),
    )


def annotated_example(*, everything: bool = False) -> str:
    """A substitute.toml with every key, each with its description as a comment.

    Keys without a default are comments themselves, unless `everything` asks for them.
    """
    return "\n".join(
        "\n".join(_example_table(header, table, everything=everything)) + "\n"
        for header, table in _documented()
    )


def _documented() -> Iterator[tuple[tuple[str, ...], type[Table]]]:
    return ((header, table) for header, table in SECTIONS.items() if header)


def _section(header: tuple[str, ...], table: type[Table]) -> str:
    named = {"*NAME*": table.others} if table.others else {}
    rows = "".join(
        f"| {name} | {_takes(key)} | {_default(key)} | {key.description} |\n"
        for name, key in (*named.items(), *((f"`{name}`", key) for name, key in _keys(table)))
    )
    return f"### [{'.'.join(header)}]\n\n{table.__doc__}\n\n{_COLUMNS}{rows}"


def _example_table(header: tuple[str, ...], table: type[Table], *, everything: bool) -> Iterator[str]:
    yield f"[{'.'.join(_EXAMPLES.get(step, step) for step in header)}]"
    if table.others:
        yield from _comment(table.others)
        for name, value in table.others.example.items():
            yield f"{'' if everything else '# '}{name} = {literal(value)}"
    for name, key in _keys(table):
        yield from _comment(key)
        shown = everything and key.fits(_OF_EXAMPLE[key.by])
        idle = key.default is None and not shown
        yield f"{'# ' if idle else ''}{name} = {literal(_value(key))}"


def _comment(key: Key) -> Iterator[str]:
    yield from wrap(
        key.description, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _keys(table: type[Table]) -> Iterator[tuple[str, Key]]:
    """The keys of `table` that are not tables."""
    return ((name, key) for name, key in table.keys.items() if key.description)


def _value(key: Key) -> object:
    """What the example shows: the default, else an example of what is written there."""
    return key.example if key.example and key.default in (..., None, (), {}) else key.default


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.named:
        return "none"
    return "none" if key.default is None else f"`{literal(key.default)}`"


def _takes(key: Key) -> str:
    return key.takes.words.partition(": ")[0]  # what a duration is stands at the top of the page
