"""Click's commands and options, made of flags: how they are parsed, and how help shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from restrike.aws.settings import AwsSettings
from restrike.cli.candidates import values_for
from restrike.model.flags import Flag, Group

TITLES: dict[Group, str] = {
    "choose": "Choose items",
    "compare": "Compare",
    "records": "Choose records",
    "exported": "Read an export",
    "write": "Write",
    "deliver": "Deliver",
    "keep": "Keep",
    "pace": "Pace",
    "prove": "Prove",
    "run": "Run",
    "aws": "AWS",
}
"""Group → its heading, in the order of help."""
HELP_WIDTH = 100
_NAME_WIDTH = 34  # of the column of names
_METAVARS = {"text": "VALUE", "integer": "N", "number": "N", "rate": "N|max"}


Maker = Callable[[Callable[..., Any]], "VerbCommand"]


class Number(click.ParamType[float]):
    """A finite number."""

    name = "number"
    expected = "a number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not {self.expected}.", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not {self.expected}: it must be finite.", param, ctx)
        return number


class Rate(Number):
    """A finite number a second, or `max`."""

    name = "rate"
    expected = "a number or max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "max" else super().convert(value, param, ctx)


class FlagOption(click.Option):
    """The option that a flag describes. What is not given is None, or False of a switch: the request has the
    defaults."""

    def __init__(self, flag: Flag) -> None:
        self.flag = flag
        name, settings = flag.name, dict(_SETTINGS[flag.kind])
        if flag.kind == "toggle":
            name += flag.name.replace("--", "/--no-", 1)
        elif flag.kind == "choice":
            settings["type"] = click.Choice(flag.choices)
        super().__init__([name, flag.to], help=flag.help, envvar=flag.variable or None, **settings)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> Any:
        if self.flag.completes:
            return values_for(self.flag.completes, ctx, incomplete)
        return super().shell_complete(ctx, incomplete)

    @property
    def row(self) -> tuple[str, str]:
        """Its line of help: what is typed, and what it means."""
        flag = self.flag
        typed = {"switch": flag.name, "toggle": flag.name.replace("--", "--[no-]", 1)}.get(flag.kind)
        typed = typed or f"{flag.name} {flag.metavar or '|'.join(flag.choices) or _METAVARS[flag.kind]}"
        return typed, flag.help + (f"  [default: {flag.default}]" if flag.default else "")


_SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"type": str},
    "integer": {"type": int},
    "number": {"type": Number()},
    "rate": {"type": Rate()},
    "choice": {},
    "switch": {"is_flag": True, "default": False},
    "toggle": {"is_flag": True, "default": None},
}


class VerbCommand(click.Command):
    """A command whose options are flags. None of them may be given twice, since the last one would silently win, and
    none may be empty.

    `examples` stand at the top of help; the groups in `in_brief` are named there and not explained, each with a few
    words to say where they are.
    """

    def __init__(
        self,
        name: str | None,
        *,
        flags: Iterable[Flag] = (),
        examples: Iterable[str] = (),
        in_brief: Mapping[Group, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self.examples = tuple(examples)
        self.in_brief = in_brief or {}
        self.params += [FlagOption(flag) for flag in flags]

    def make_parser(self, ctx: click.Context) -> Any:
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def once(args: list[str]) -> Any:
            parsed = parse(args)
            if not ctx.resilient_parsing:
                _refuse_twice(parsed[2], ctx)
                _refuse_empty(parsed[0], parsed[2], ctx)
            return parsed

        parser.parse_args = once  # type: ignore[method-assign]
        return parser

    def invoke(self, ctx: click.Context) -> Any:
        """Carries the verb out, and tells what is to be told meanwhile."""
        from restrike.cli.telling import Wanted, telling

        with telling(ctx.find_object(Wanted) or Wanted(), ctx.command_path.partition(" ")[2]):
            return super().invoke(ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        if self.examples:
            formatter.write_paragraph()
            for example in self.examples:
                formatter.write(f"  $ {example}\n")
        self.format_options(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [param for param in self.params if isinstance(param, FlagOption)]
        formatter.write_paragraph()
        for group, title in TITLES.items():
            rows = [option.row for option in options if option.flag.group == group]
            if group in self.in_brief and rows:
                formatter.write_heading(title + self.in_brief[group])
                with formatter.indentation():
                    _write_words(formatter, [typed for typed, _ in rows])
            elif rows:
                self._write_group(formatter, title, rows)
        variables = [option.flag.variable for option in options if option.flag.variable]
        environment = f"Environment: {', '.join(variables)}; and AWS's own. " if variables else ""
        formatter.write_paragraph()
        formatter.write_text(f"{environment}Everywhere: -v, --log FILE, --debug.")

    @staticmethod
    def _write_group(formatter: click.HelpFormatter, title: str, rows: list[tuple[str, str]]) -> None:
        formatter.write_heading(title)
        with formatter.indentation():
            formatter.write_dl([(typed.ljust(_NAME_WIDTH), text) for typed, text in rows], col_max=_NAME_WIDTH)


def _write_words(formatter: click.HelpFormatter, words: list[str]) -> None:
    """Words with commas between, none of them cut in two."""
    indent = " " * formatter.current_indent
    line = ""
    for number, word in enumerate(words, 1):
        word += "," if number < len(words) else ""
        if line and len(indent) + len(line) + 1 + len(word) > formatter.width:
            formatter.write(f"{indent}{line}\n")
            line = ""
        line += f" {word}" if line else word
    formatter.write(f"{indent}{line}\n")


def _refuse_twice(order: list[click.Parameter], ctx: click.Context) -> None:
    seen: set[str] = set()
    for param in order:
        if isinstance(param, click.Option) and param.name is not None:
            if param.name in seen:
                raise click.UsageError(f"{param.opts[0]} is given twice.", ctx)
            seen.add(param.name)


def _refuse_empty(values: Mapping[str, Any], order: list[click.Parameter], ctx: click.Context) -> None:
    """An empty text is a variable that is not set, and never what was meant."""
    for param in order:
        if param.name is not None and values.get(param.name) == "":
            name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            raise click.UsageError(f"{name} is empty. Is the variable that it comes from set?", ctx)


class VerbGroup(click.Group):
    """A group that says what may have been meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = get_close_matches(name, known, cutoff=0.5)
            meant = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(known)}."
            raise click.UsageError(f"There is no verb {name!r}. {meant}", ctx)
        return super().resolve_command(ctx, args)

    def verb(self, name: str, *flags: Flag, examples: Iterable[str] = ()) -> Maker:
        """Makes a command of the group, as `verb` makes one that stands alone."""

        def add(function: Callable[..., Any]) -> VerbCommand:
            made = verb(*flags, name=name, examples=examples)(function)
            self.add_command(made)
            return made

        return add


def verb(
    *flags: Flag, name: str | None = None, examples: Iterable[str] = (), in_brief: Mapping[Group, str] | None = None
) -> Maker:
    """Makes a command of a function that takes the flags' fields as keyword arguments."""
    brief: dict[Group, str] = {"aws": " (as in the AWS CLI)", **(in_brief or {})}
    return click.command(name, cls=VerbCommand, flags=flags, examples=examples, in_brief=brief)


def aws_settings(values: Mapping[str, Any]) -> AwsSettings:
    """Where AWS is, out of a command's values."""
    return AwsSettings(**{field: values[field] for field in AwsSettings.__struct_fields__})
