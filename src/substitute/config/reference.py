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

Everything is in one file, `substitute.toml`. The directory that holds it is the **root**: it is found
upward from the working directory, or named by `-C DIR` or `{variable}`. Relative paths in the file are
relative to the root.

This is enough for an app that answers on `$PORT`:

```toml
{minimal}```

`substitute config` prints the configuration with every default filled in, `substitute config --json` the
same as one JSON document (times in seconds), and `substitute config --schema` its JSON Schema for editors.
Values that come from an `env_file` are shown as `***`. Whatever is wrong is listed at once, with line, key,
what was found and what was expected.

**Durations** are `"500ms"`, `"30s"`, `"2m"`, `"1h"`, or a number of seconds.

**`env_file`** holds `KEY=VALUE` lines. Blank lines and lines that begin with `#` are skipped, `export` may
stand in front, and a value may stand in single quotes (as it is) or in double quotes (with `\\n`, `\\t`,
`\\r`, `\\"`, `\\\\`). Without quotes, ` #` begins a comment. Nothing is expanded: `$HOME` is five characters.
When a name is set more than once, the last one counts. The variables that substitute sets, `PORT`, `HOST`,
`BIND` and `SUBSTITUTE_*`, may be neither here nor in `env`.

## Every key

{sections}
## Annotated example

Values are the defaults, where there is one. A key that has none stands in a comment.

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
        yield from wrap(_text(field), _WIDTH, initial_indent="# ", subsequent_indent="# ")
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
