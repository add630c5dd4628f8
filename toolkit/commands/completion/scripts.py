"""Functions of bash, zsh and fish that ask `complete.py` for the words."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name('complete.py')
# {ask} is the command that prints the words. A path of a config is not finished by its `=`, so no
# space follows. Where there is no word, the shell completes files.
TEMPLATES = {
    'bash': """\
_toolkit() {
  local word
  COMPREPLY=()
  while IFS= read -r word; do
    [[ -n $word ]] && COMPREPLY+=("$word")
  done < <({ask} "${COMP_WORDS[@]:0:COMP_CWORD}" -- "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
  [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *= ]] && compopt -o nospace
}
complete -o default -F _toolkit toolkit
""",
    'zsh': """\
#compdef toolkit
_toolkit() {
  local -a found
  found=(${(f)"$({ask} "${(@)words[1,CURRENT-1]}" -- "$words[CURRENT]" 2>/dev/null)"})
  if (( $#found == 0 )); then
    _files
  elif [[ $#found == 1 && $found[1] == *= ]]; then
    compadd -S '' -- $found
  else
    compadd -- $found
  fi
}
(( $+functions[compdef] )) || { autoload -U compinit && compinit }
compdef _toolkit toolkit
""",
    'fish': """\
complete -c toolkit -a '({ask} (commandline -opc) -- (commandline -ct) 2>/dev/null)'
""",
}


def make_script(shell: str) -> str:
    """Makes what a shell is to read; it names the Python and the installation that run now."""
    ask = shlex.join([sys.executable, '-I', '-S', str(PROGRAM)])
    return TEMPLATES[shell].replace('{ask}', ask)
