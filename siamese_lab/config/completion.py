"""Complete options with the Tab key in bash, zsh and fish: `--shell-completion install=SHELL` prints the code for it.

Hydra completes programs such as `siamese-lab-train`, and scripts. The code here also completes
`python -m siamese_lab.train`. PyTorch is not imported, because it takes seconds.
"""

import sys
from collections.abc import Sequence
from typing import Any

import hydra

from siamese_lab.config.data_options import store_data_options
from siamese_lab.config.schema import config_folder, register_schema

INSTALL = "install="
BASH = """siamese_lab_completion() {
    COMPREPLY=()
    local command rest choices
    for command in COMMANDS; do
        rest="${COMP_LINE#* -m siamese_lab.$command }"
        if [ "$rest" != "$COMP_LINE" ]; then
            choices="$(COMP_LINE="$command $rest" ${COMP_LINE%% *} -m siamese_lab.$command -sc query=bash)"
            COMPREPLY=($(compgen -W "$choices" -- "${rest##* }"))
        fi
    done
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -o bashdefault -F siamese_lab_completion python python3"""
ZSH = """autoload -Uz compinit bashcompinit && compinit -u && bashcompinit
siamese_lab_completion() {
    COMPREPLY=()
    local name choices line="$COMP_LINE" rest
    for name in COMMANDS; do
        rest="${line#* -m siamese_lab.$name }"
        if [ "$rest" != "$line" ]; then
            choices="$(COMP_LINE="$name $rest" "${line%% *}" -m siamese_lab.$name -sc query=bash)"
            COMPREPLY=($(compgen -W "$choices" -- "${rest##* }"))
        fi
        rest="${line#siamese-lab-$name }"
        if [ "$rest" != "$line" ]; then
            choices="$(COMP_LINE="$name $rest" siamese-lab-$name -sc query=bash)"
            COMPREPLY=($(compgen -W "$choices" -- "${rest##* }"))
        fi
    done
}
complete -o nospace -o default -F siamese_lab_completion python python3 PROGRAMS"""
FISH = """function siamese_lab_completion
    set -l line (commandline -cp)
    for name in COMMANDS
        set -l rest (string match -gr -- "-m siamese_lab\\.$name (.*)" $line)
        and env COMP_LINE="$name $rest" (string split ' ' $line)[1] -m siamese_lab.$name -sc query=fish
    end
end
for program in python python3
    complete -c $program -n 'string match -qr -- "-m siamese_lab\\.(train|evaluate) " (commandline -cp)' \\
        -f -a '(siamese_lab_completion)'
end"""
CODE = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def complete(command: str, commands: Sequence[str]) -> None:
    """Answer a command line with the flag --shell-completion: print the code for a shell, or complete a word.

    Args:
        command: the command that was started.
        commands: all commands that complete their options.
    """
    asked = [argument.removeprefix(INSTALL) for argument in sys.argv[1:] if argument.startswith(INSTALL)]
    as_module = sys.argv[0].endswith(".py")
    if asked and asked[0] in CODE and (as_module or asked[0] == "zsh"):
        programs = " ".join(f"siamese-lab-{name}" for name in commands)
        print(CODE[asked[0]].replace("COMMANDS", " ".join(commands)).replace("PROGRAMS", programs))
        return

    def nothing(config: Any) -> None:
        """Run no job: Hydra only completes."""

    register_schema()
    store_data_options(None)
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=command)(nothing)()
