"""What a shell completes behind `barlow`: commands, flags and their words, from the dataclasses of the commands.

    eval "$(barlow completion bash)"                      in ~/.bashrc; zsh: in ~/.zshrc
    barlow completion fish > ~/.config/fish/completions/barlow.fish

A script holds everything, so that no key press waits for Python.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from barlow.cli.help import first_sentence
from barlow.cli.words import Flag, flags_of
from barlow.errors import unknown
from barlow.modalities import modality_named
from barlow.recipes import RECIPES
from barlow.studies.table import STUDIES


def script(shell: str, commands: Mapping[str, type]) -> str:
    """Return the script of a shell for some commands by name, each with its dataclass."""
    if shell not in SCRIPTS:
        raise unknown("shell", shell, SCRIPTS)
    known = _words()
    found = {name: [_with_words(name, flag, known) for flag in flags_of(kind)] for name, kind in commands.items()}
    return SCRIPTS[shell](found, {name: first_sentence(kind) for name, kind in commands.items()})


def _words() -> dict[tuple[str, str], tuple[str, ...]]:
    """(command or "", field) -> words that are names somewhere; "" stands for every command."""
    recipes = tuple(dict.fromkeys([*(make().method for make in RECIPES.values()), *RECIPES]))
    images = modality_named("images")
    return {
        ("", "recipe"): recipes,
        ("", "recipes"): recipes,
        ("recipes", "name"): recipes,
        ("study", "name"): tuple(STUDIES),
        ("", "method"): tuple(dict.fromkeys(make().method for make in RECIPES.values())),
        ("", "views"): tuple(images.listed("views", "")),
        ("", "backbone"): tuple(images.listed("networks", "")),
    }


def _with_words(command: str, flag: Flag, known: Mapping[tuple[str, str], tuple[str, ...]]) -> Flag:
    words = known.get((command, flag.field)) or known.get(("", flag.field), ())
    return replace(flag, choices=flag.choices or words) if flag.takes == "WORD" else flag


Flags = Mapping[str, list[Flag]]
Said = Mapping[str, str]


def _names(flag: Flag) -> list[str]:
    """A flag as it may be typed."""
    return [flag.name, flag.name.replace("--", "--no-", 1)] if flag.is_switch else [flag.name]


def _named(flags: list[Flag]) -> list[Flag]:
    return [flag for flag in flags if flag.name.startswith("--")]


def _first_words(flags: list[Flag]) -> tuple[str, ...]:
    """Words that the first word without a name may be."""
    return next((flag.choices for flag in flags if not flag.name.startswith("--")), ())


def _bash(commands: Flags, said: Said) -> str:
    cases = []
    for name, flags in commands.items():
        for flag in _named(flags):
            if flag.choices:
                cases.append(f'    "{name} {flag.name}") words="{" ".join(flag.choices)}" ;;')
            elif not flag.is_switch:
                cases.append(f'    "{name} {flag.name}") return ;;')
    typed = [
        f'      {name}) flags="{" ".join(word for flag in _named(flags) for word in _names(flag))} --help"; '
        f'words="{" ".join(_first_words(flags))}" ;;'
        for name, flags in commands.items()
    ]
    return "\n".join([
        "# bash completion of barlow; written by: barlow completion bash",
        "_barlow() {",
        '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="${COMP_WORDS[1]}"',
        '  local flags="" words=""',
        "  COMPREPLY=()",
        "  if (( COMP_CWORD == 1 )); then",
        f'    COMPREPLY=($(compgen -W "{" ".join(commands)} --help --version" -- "$word")); return',
        "  fi",
        '  if [[ $word == "=" ]]; then word=""',
        '  elif [[ $before == "=" ]]; then before="${COMP_WORDS[COMP_CWORD-2]}"; fi',
        '  case "$command $before" in',
        *cases,
        '    *) case "$command" in',
        *typed,
        "    esac",
        '    [[ $word == -* ]] && words="$flags" ;;',
        "  esac",
        '  COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "}",
        "complete -o default -F _barlow barlow",
        "",
    ])  # fmt: skip


def _quoted(text: str) -> str:
    """A text between single quotes, for zsh and fish alike."""
    return "'" + text.replace("\\", "").replace("'", "’") + "'"


def _zsh(commands: Flags, said: Said) -> str:
    described = " ".join(_quoted(f"{name}:{said[name]}") for name in commands)
    values, flags = [], []
    for name, of in commands.items():
        for flag in _named(of):
            if not flag.is_switch:
                act = f"compadd -- {' '.join(flag.choices)}" if flag.choices else "_files"
                values.append(f"    {_quoted(f'{name} {flag.name}')}) {act}; return ;;")
        typed = " ".join(_quoted(f"{word}:{flag.says}") for flag in _named(of) for word in _names(flag))
        words = _first_words(of)
        flags.append(f"    {name}) flags=({typed}) words_=({' '.join(words)}) ;;")
    return "\n".join([
        "#compdef barlow",
        "# zsh completion of barlow; written by: barlow completion zsh",
        "_barlow() {",
        "  local -a commands flags words_",
        "  if (( CURRENT == 2 )); then",
        f"    commands=({described})",
        "    _describe command commands; return",
        "  fi",
        '  case "$words[2] $words[CURRENT-1]" in',
        *values,
        "  esac",
        '  case "$words[2]" in',
        *flags,
        "  esac",
        "  if [[ $words[CURRENT] == -* ]]; then _describe -o flag flags",
        "  else (( $#words_ )) && compadd -- $words_; _files; fi",
        "}",
        "compdef _barlow barlow",
        "",
    ])  # fmt: skip


def _fish(commands: Flags, said: Said) -> str:
    lines = ["# fish completion of barlow; written by: barlow completion fish"]
    for name, flags in commands.items():
        lines.append(f"complete -c barlow -n __fish_use_subcommand -f -a {name} -d {_quoted(said[name])}")
        inside = f"complete -c barlow -n '__fish_seen_subcommand_from {name}'"
        if words := _first_words(flags):
            lines.append(f"{inside} -a {_quoted(' '.join(words))}")
        for flag in _named(flags):
            behind = f" -x -a {_quoted(' '.join(flag.choices))}" if flag.choices else "" if flag.is_switch else " -r -F"
            for word in _names(flag):
                lines.append(f"{inside} -l {word.removeprefix('--')}{behind} -d {_quoted(flag.says)}")
    return "\n".join([*lines, ""])


SCRIPTS: dict[str, Callable[[Flags, Said], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""Shell -> what writes its script."""
