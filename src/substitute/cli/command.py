"""A command as it is declared, once for two readers.

click makes help, completion and errors of it, and converts what needs it. What is typed plainly, as most is, is read
here: the import of click takes longer than all else of a short command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import click

    Function = Callable[..., Any]

_CONVERTING = frozenset({"type", "callback", "multiple"})


class Parameter:
    """An option, or an argument."""

    def __init__(
        self,
        *names: str,
        plain: Callable[[str], bool] | None = None,
        click_type: Callable[[], click.ParamType[Any]] | None = None,
        takes_all: bool = False,
        by_click: bool = False,
        **settings: Any,
    ) -> None:
        """`settings` are what click is told of it; `click_type` makes its `type` without an import of click here.

        An argument that `takes_all` is all that stands behind ``--``, as it is typed, and at least one word.

        What is `by_click` is read by click alone, and kept by its callback: no function is given it.

        `plain` says of a value whether click would take it as it is typed. It need not be said where nothing converts.
        """
        self.names, self.settings, self._click_type = names, settings, click_type
        self.is_option = names[0].startswith("-")
        self.is_flag = bool(settings.get("is_flag"))
        self.takes_all, self.by_click = takes_all, by_click
        self.default = settings.get("default", False if self.is_flag else None)
        converts = click_type is not None or settings.keys() & _CONVERTING
        self.plain = plain or (lambda _: not converts)
        self.is_needed = settings.get("required", not self.is_option) or (
            converts and isinstance(self.default, str)
        )
        """Whether nothing can be done where it is not typed, or click converts its default too."""

    @property
    def variable(self) -> str:
        """What functions call it."""
        said = next((name for name in self.names if not name.startswith("-")), None)
        return (said or max(self.names, key=len)).lstrip("-").replace("-", "_")

    def for_click(self, function: Function) -> Function:
        """Tell click of it, as a parameter of `function`."""
        import click  # noqa: PLC0415

        settings = {**self.settings, "type": self._click_type()} if self._click_type else self.settings
        if self.takes_all:
            settings = {**settings, "nargs": -1, "required": True, "type": click.UNPROCESSED}
        if self.by_click:
            settings = {**settings, "expose_value": False}
        decorate = click.option if self.is_option else click.argument
        return decorate(*self.names, **settings)(function)


class Command:
    """A function, and what can be typed for it."""

    def __init__(self, name: str, function: Function, parameters: Sequence[Parameter]) -> None:
        self.name, self.function, self.parameters = name, function, parameters

    def read(self, words: Sequence[str]) -> dict[str, Any] | None:
        """What `words` say; None where only click can tell, also that it is an error."""
        options = {name: one for one in self.parameters for name in one.names if one.is_option}
        arguments = [one for one in self.parameters if not one.is_option]
        given = [one for one in self.parameters if not one.by_click]
        said: dict[str, Any] = {one.variable: one.default for one in given}
        left = {one.variable for one in given if one.is_needed}
        rest = iter(words)
        for word in rest:
            if word == "--" and arguments and arguments[0].takes_all and words[-1] != "--":
                said[arguments[0].variable] = tuple(rest)
                left.discard(arguments[0].variable)
                break
            one = options.get(word) if word.startswith("-") else arguments.pop(0) if arguments else None
            if one is None or one.takes_all or one.by_click:
                return None
            if not one.is_flag:
                value = next(rest, "") if one.is_option else word
                if not value or value.startswith("-") or not one.plain(value):
                    return None
            said[one.variable] = one.is_flag or value
            left.discard(one.variable)
        return None if left else said

    def for_click(self, around: Callable[[Command, Function], Function] | None = None) -> click.Command:
        """The same command of click's; what is called is what `around` makes of its function."""
        import click  # noqa: PLC0415

        function: Function = click.pass_obj(around(self, self.function) if around else self.function)
        for one in reversed(self.parameters):
            function = one.for_click(function)
        return click.command(self.name)(function)


def declared(parameter: Parameter) -> Callable[[Function], Function]:
    """What gives a command the parameter."""

    def declare(function: Function) -> Function:
        function.__dict__.setdefault("declared", []).insert(0, parameter)
        return function

    return declare


def option(*names: str, **settings: Any) -> Callable[[Function], Function]:
    """Declare an option of a command, or an argument, whose name has no dashes: see `Parameter`."""
    return declared(Parameter(*names, **settings))


argument = option


def command(function: Function) -> Command:
    """Declare a command; what is declared below this line are its parameters."""
    return Command(function.__name__.rstrip("_"), function, function.__dict__.get("declared", ()))
