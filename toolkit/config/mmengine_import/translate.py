"""Rewrites the values of an mmengine config as a config of this toolkit, and says what is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.config.dump import dump
from toolkit.config.mmengine_import.literals import PythonConfig, read_python_config
from toolkit.registry import plugin_index

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LOADER_KEYS = ('dataset', 'batch_size', 'num_workers', 'drop_last', 'pin_memory')
LOADER_KEYS += ('persistent_workers', 'prefetch_factor')
TRAINING_KEYS = ('max_epochs', 'max_iters', 'val_interval', 'val_begin')
OPTIMIZATION_KEYS = ('optimizer', 'accumulative_counts', 'clip_grad', 'paramwise_cfg')
LISTS = ('param_scheduler', 'custom_hooks', 'val_evaluator', 'test_evaluator')
MAPPINGS = (*LOADERS, 'custom_imports', 'randomness', 'train_cfg', 'optim_wrapper', 'default_hooks')
# Keys of a section that have no counterpart, with the reason.
UNIT = dict.fromkeys(('type', 'by_epoch'), 'max_epochs or max_iters says the unit')
WRAPPER = {'type': 'there is one; that of AmpOptimWrapper is runtime.precision: fp16 or bf16'}
IMPORTS = {'allow_failed_imports': 'a plugin that cannot be imported is an error'}
LOGGER = {'type': 'MetricsLog takes the place of LoggerHook'}
CHECKPOINT = {
    'type': 'Checkpoint takes the place of CheckpointHook',
    'by_epoch': 'the interval has the unit of train_cfg',
}
# Sections of mmengine that have no counterpart, with the reason.
LEFT_OUT = {
    'val_cfg': 'validation and test need no loop of their own',
    'test_cfg': 'validation and test need no loop of their own',
    'default_scope': 'a kind has one registry',
    'env_cfg': 'see runtime, and num_workers of the loaders',
    'visualizer': 'see trackers (docs/guides/runs.md)',
    'vis_backends': 'see trackers (docs/guides/runs.md)',
    'log_processor': 'MetricsLog logs by its interval',
    'log_level': 'there is one level',
    'launcher': 'torchrun starts several processes (docs/guides/runs.md)',
    'work_dir': 'toolkit train CONFIG --work-dir DIR',
    'resume': 'toolkit train CONFIG --resume',
    'auto_scale_lr': 'state the learning rate',
    'data_preprocessor': 'the system and its dataset prepare images',
}


def import_config(path: Path) -> str:
    """Translates a Python config of mmengine to YAML, with a comment on each key not taken.

    Raises:
        ToolkitError: see `read_python_config`.
    """
    source = read_python_config(path)
    translator = _Translator(source)
    tree = translator.translate()
    places = {(name,): place for name, place in source.places.items()}
    lines = [f'# From {path}, read and not run. Check it: toolkit check FILE']
    lines += [f'# not taken: {note}' for note in translator.notes]
    lines += [
        f'# no component is named {name!r} ({path}): write one (toolkit new), or choose another '
        '(toolkit list)'
        for name, path in _find_unknown(tree).items()
    ]
    return '\n'.join(line.replace('\r', ' ') for line in lines) + '\n' + dump(tree, places)


class _Translator:
    def __init__(self, source: PythonConfig) -> None:
        self.values = source.values
        self.notes: list[str] = []

    def translate(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key, value in self.values.items():
            if key in LEFT_OUT:
                self._leave(key, LEFT_OUT[key])
            elif (key in MAPPINGS and not isinstance(value, Mapping)) or (
                key in LISTS and not isinstance(value, (Mapping, list))
            ):
                self._leave(key, f'{str(value)[:40]!r} is no section')
            elif key == 'custom_imports':
                imports = self._take(key, value, ('imports',), IMPORTS).get('imports', [])
                tree['plugins'] = imports if isinstance(imports, list) else [imports]
            elif key == 'randomness':
                tree[key] = self._take(key, value, ('seed', 'deterministic'))
            elif key == 'train_cfg':
                tree[key] = self._take(key, value, TRAINING_KEYS, UNIT)
            elif key == 'optim_wrapper':
                tree[key] = self._take(key, value, OPTIMIZATION_KEYS, WRAPPER)
            elif key in LOADERS:
                tree[key] = self._take(key, value, LOADER_KEYS)
            elif key in ('val_evaluator', 'test_evaluator'):
                tree[key] = {'metrics': self._name_entries(key, value)}
            elif key in LISTS:
                tree[key] = self._name_entries(key, value)
            elif key == 'default_hooks':
                tree[key] = self._translate_hooks(value)
            elif key in ('model', 'load_from'):
                tree[key] = value
            else:
                self._leave(key, 'a variable, whose value stands where it is used')
        return tree

    def _leave(self, path: str, reason: str) -> None:
        self.notes.append(f'{path}: {reason}')

    def _take(
        self,
        path: str,
        value: Mapping[str, Any],
        keys: tuple[str, ...],
        reasons: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Takes keys of a section, and names every other one with the reason."""
        for key in value:
            if key not in keys:
                self._leave(f'{path}.{key}', (reasons or {}).get(key, 'there is no such key here'))
        return {key: value[key] for key in keys if key in value}

    def _name_entries(self, path: str, value: Any) -> dict[str, Any]:
        """Names the entries of a list after their types."""
        named: dict[str, Any] = {}
        for position, entry in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(entry, Mapping) or not isinstance(entry.get('type'), str):
                if entry != {}:
                    self._leave(f'{path}[{position}]', f'{str(entry)[:40]!r} has no type')
                continue
            stem = entry['type'].removesuffix('Hook').rpartition('.')[2].lower()
            name, count = stem, 2
            while name in named:
                name, count = f'{stem}{count}', count + 1
            named[name] = entry
        return named

    def _translate_hooks(self, hooks: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {'progress': {'type': 'Progress'}, 'log': {'type': 'MetricsLog'}}
        has_log = False
        for name, hook in hooks.items():
            kind = hook.get('type') if isinstance(hook, Mapping) else None
            path = f'default_hooks.{name}'
            if kind == 'LoggerHook' and not has_log:
                found['log'] |= self._take(path, hook, ('interval',), LOGGER)
                has_log = True
            elif kind == 'CheckpointHook' and 'checkpoint' not in found:
                found['checkpoint'] = {'type': 'Checkpoint', **self._take_checkpoint(path, hook)}
            elif kind in ('LoggerHook', 'CheckpointHook'):
                self._leave(path, f'a second {kind}; the first one was taken')
            else:
                self._leave(path, f'{kind}: the engine does that itself, or see custom_hooks')
        return found

    def _take_checkpoint(self, path: str, hook: Mapping[str, Any]) -> dict[str, Any]:
        taken = self._take(path, hook, ('interval', 'save_best', 'max_keep_ckpts'), CHECKPOINT)
        if 'max_keep_ckpts' in taken:
            taken['keep'] = taken.pop('max_keep_ckpts')
        if taken.get('save_best') == 'auto':
            del taken['save_best']
            self._leave(f'{path}.save_best', "'auto' names no metric; name one")
        # The unit of mmengine's hook is its own, and epochs unless it says otherwise.
        own = 'epochs' if hook.get('by_epoch', True) else 'iterations'
        training = self.values.get('train_cfg')
        by_iter = isinstance(training, Mapping) and 'max_iters' in training
        unit = 'iterations' if by_iter else 'epochs'
        if 'interval' in taken and own != unit:
            reason = f'{taken.pop("interval")} {own}, and train_cfg counts {unit}; state it in them'
            self._leave(f'{path}.interval', reason)
        return taken


def _find_unknown(tree: Mapping[str, Any]) -> dict[str, str]:
    """Finds names of types that no component has -> the first path that has one."""
    index = plugin_index.get_index()
    own = {name for kind in index.kinds for name in index.names(kind.name)}
    found: dict[str, str] = {}
    rest: list[tuple[str, Any]] = [('', tree)]
    while rest:
        path, node = rest.pop(0)
        items = node.items() if isinstance(node, Mapping) else enumerate(node)
        rest += [
            (f'{path}.{key}'.lstrip('.'), value)
            for key, value in items
            if isinstance(value, (Mapping, list))
        ]
        name = node.get('type') if isinstance(node, Mapping) else None
        if isinstance(name, str) and name not in own and not path.startswith(_OF_LIBRARIES):
            found.setdefault(name, path)
    return found


# Names in these sections may be those of torch and mmengine, which `check` knows.
_OF_LIBRARIES = ('optim_wrapper', 'param_scheduler', 'custom_hooks')
