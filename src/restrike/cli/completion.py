"""`restrike completion`: the script that teaches a shell restrike's verbs, flags and names."""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

from restrike.cli.options import verb
from restrike.cli.render.streams import put

INSTRUCTION = "_RESTRIKE_COMPLETE"
"""The environment variable by which a shell's script asks; the script that `completion` prints sets it."""

_BASH = """\
%(complete_func)s() {
    # The line as it was typed: bash itself would cut stream:TABLE at its colon.
    local line=${COMP_LINE:0:COMP_POINT} type value IFS=$'\\n'
    local word=${line##*[[:space:]]} before=
    [[ $word == *:* && $COMP_WORDBREAKS == *:* ]] && before=${word%%:*}:
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("${value#"$before"}")
                [[ $value == *: ]] && compopt -o nospace ;;
        esac
    done < <(COMP_WORDS=$line COMP_CWORD=-1 %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Takes the line up to the cursor as one text; the number of its last word is then -1."""

    source_template = _BASH

    def source(self) -> str:
        return ShellComplete.source(self)  # without looking which bash is on this machine

    def get_completion_args(self) -> tuple[list[str], str]:
        if os.environ["COMP_CWORD"] != "-1":
            return super().get_completion_args()
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        if not words or line[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": ZshComplete, "fish": FishComplete}


def complete(cli: click.Command, instruction: str) -> int:
    """Answers a shell's question. Whatever goes wrong, nothing is offered and nothing is said."""
    add_completion_class(Bash)
    try:
        return shell_complete(cli, {}, "restrike", INSTRUCTION, instruction)
    except (Exception, SystemExit):
        return 1


@verb(
    examples=(
        'eval "$(restrike completion bash)"                # in ~/.bashrc',
        'eval "$(restrike completion zsh)"                 # in ~/.zshrc, after compinit',
        "restrike completion fish > ~/.config/fish/completions/restrike.fish",
    )
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete verbs, flags, and the names of runs, tables and indexes.

    Names of tables and indexes are asked of AWS with the credentials of that shell, for at most two seconds.
    """
    script = SHELLS[shell](ctx.find_root().command, {}, "restrike", INSTRUCTION).source()
    put(script.rstrip())
