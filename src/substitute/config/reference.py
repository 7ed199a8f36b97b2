"""docs/configuration.md, generated from the models. ``python -m substitute.config`` prints it."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, get_args

from substitute.config.literals import literal
from substitute.config.models import SECTIONS, Table, fits_kind
from substitute.config.problems import expected_words
from substitute.config.root import MINIMAL, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

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
_KIND_OF_EXAMPLE = "haproxy"


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
    rows = "".join(
        f"| `{name}` | {_takes(field)} | {_default(field)} | {_text(field)} |\n"
        for name, field in _keys(table)
    )
    return f"### [{'.'.join(header)}]\n\n{table.__doc__}\n\n{_COLUMNS}{rows}"


def _example_table(header: tuple[str, ...], table: type[Table], *, everything: bool) -> Iterator[str]:
    yield f"[{'.'.join('shop' if step == 'NAME' else step for step in header)}]"
    for name, field in _keys(table):
        yield from wrap(
            _text(field), _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
        shown = everything and fits_kind(field, _KIND_OF_EXAMPLE)
        idle = field.default is None and not shown
        yield f"{'# ' if idle else ''}{name} = {literal(_value(field))}"


def _keys(table: type[Table]) -> Iterator[tuple[str, FieldInfo]]:
    """The keys of `table` that are not tables."""
    for name, field in table.model_fields.items():
        if field.description:
            yield field.alias or name, field


def _value(field: FieldInfo) -> object:
    """What the example shows: the default, else an example of what is written there."""
    shown = field.default if not field.is_required() and field.default is not None else None
    return field.examples[0] if field.examples and shown in (None, (), {}) else shown


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{literal(field.default)}`"


def _text(field: FieldInfo) -> str:
    return field.description or ""


def _takes(field: FieldInfo) -> str:
    choices = (f"`{literal(choice)}`" for choice in get_args(field.annotation))
    words = expected_words(field) or ", ".join(choices)
    return words.partition(": ")[0]  # what a duration is stands at the top of the page
