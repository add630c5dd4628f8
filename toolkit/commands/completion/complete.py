"""Program that completes a command line of `toolkit`; a shell runs it at each press of Tab.

It imports nothing but the standard library, and nothing of the toolkit: importing the toolkit and
reading the sources of plugins takes longer than a press of Tab may. The words come from a file that
`toolkit completion --write-words` writes; where they are missing or older than the sources, this
program starts that command behind itself, and completes with what there is.

python complete.py WORD... -- CURRENT
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys

PACKAGE = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
FOLDERS = (PACKAGE, os.path.join(os.path.dirname(PACKAGE), 'plugins'))
SOURCES = ('.py', '.yaml')
# Seconds during which a second press of Tab starts no second writer.
PATIENCE = 60


def words_file() -> str:
    """The file of the words, for this installation and working folder (its ./configs count)."""
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    configs = os.path.join(os.getcwd(), 'configs')
    key = f'{PACKAGE}\n{configs if os.path.isdir(configs) else ""}'
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return os.path.join(cache, 'ablakit', 'completion', f'{name}.json')


def complete(words: dict, before: list[str], current: str) -> list[str]:
    """The words that may stand in place of `current`.

    Args:
        words: as `toolkit.commands.completion.words.collect_words` returns them.
        before: the command line from `toolkit` up to the word that is being typed.
        current: that word, maybe empty.
    """
    command, given = words['commands'], list(before[1:])
    while given and given[0] in command.get('commands', {}):
        command = command['commands'][given.pop(0)]
    previous = before[-1] if before else ''
    if takes := command['options'].get(previous):
        found = takes['choices']
    elif current.startswith('-'):
        found = list(command['options'])
    elif command.get('commands'):
        found = list(command['commands'])
    else:
        found = _complete_argument(words, command, given)
    return sorted({word for word in found if word.startswith(current)})


def _complete_argument(words: dict, command: dict, given: list[str]) -> list[str]:
    free = _free_words(command, given)
    arguments = command['arguments']
    at = min(len(free), len(arguments) - 1)
    if at < 0:
        return []
    if arguments[at] in ('kind', 'name') and 'kind' in arguments:
        kinds = words['components']
        return list(kinds) if arguments[at] == 'kind' else kinds.get(free[0], [])
    if arguments[at] == 'overrides':
        for word in free:
            if paths := words['paths'].get(word) or read_paths(word):
                return paths
        return []
    return words['names'].get(arguments[at], [])


def _free_words(command: dict, given: list[str]) -> list[str]:
    """The words that are neither options nor their values."""
    free, skip = [], False
    for word in given:
        if skip:
            skip = False
        elif word.startswith('-'):
            skip = bool(command['options'].get(word)) and '=' not in word
        else:
            free.append(word)
    return free


def paths_file(config: str) -> str:
    """The file of the paths of a config that is a file."""
    name = hashlib.sha256(os.path.abspath(config).encode()).hexdigest()[:16]
    return f'{words_file()[: -len(".json")]}_{name}.json'


def read_paths(config: str) -> list[str]:
    """The paths of a config that is a file, kept until it changes."""
    if not config.endswith('.yaml') or not os.path.isfile(config):
        return []
    kept = paths_file(config)
    if not os.path.exists(kept) or os.path.getmtime(kept) < os.path.getmtime(config):
        run = [sys.executable, '-m', 'toolkit', 'completion', '--write-paths', config]
        subprocess.run(run, env=_environment(), capture_output=True, check=False, timeout=10)
    with open(kept, encoding='utf-8') as file:
        return json.load(file)


def read_words() -> dict | None:
    """The words, or None; starts their writer where they are missing or older than the sources."""
    path = words_file()
    written = os.path.getmtime(path) if os.path.exists(path) else 0.0
    folders = [*FOLDERS, os.path.join(os.getcwd(), 'configs')]
    if not written or any(_changed_after(written, folder) for folder in folders):
        _start_writer(path)
    if not written:
        return None
    with open(path, encoding='utf-8') as file:
        return json.load(file)


def _changed_after(time: float, folder: str) -> bool:
    stack = [folder]
    while stack:
        try:
            entries = list(os.scandir(stack.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir():
                if entry.name != '__pycache__':
                    stack.append(entry.path)
            elif entry.name.endswith(SOURCES) and entry.stat().st_mtime > time:
                return True
    return False


def _start_writer(path: str) -> None:
    import time

    started = f'{path}.started'
    if os.path.exists(started) and time.time() - os.path.getmtime(started) < PATIENCE:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(started, 'w', encoding='utf-8'):
        pass
    subprocess.Popen(
        [sys.executable, '-m', 'toolkit', 'completion', '--write-words'],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    folder = os.path.dirname(PACKAGE)
    known = os.environ.get('PYTHONPATH')
    return {**os.environ, 'PYTHONPATH': f'{folder}{os.pathsep}{known}' if known else folder}


def main(argv: list[str]) -> int:
    """Prints the words, one a line; a failure prints nothing, since a shell would show it."""
    at = len(argv) - 1 - argv[::-1].index('--')
    before, current = argv[:at], (argv[at + 1 :] or [''])[0]
    try:
        words = read_words()
        found = complete(words, before, current) if words else []
    except Exception:
        # Whatever is wrong with the kept words, the next press writes them anew.
        with contextlib.suppress(OSError):
            os.unlink(words_file())
        return 1
    print('\n'.join(found))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
