"""Mutants of configs: one change each that makes a right config wrong by construction."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import random
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tests.support.config_places import Path, Place, list_arguments, list_places
from toolkit.config.dump import dump
from toolkit.registry import get_kinds
from toolkit.registry.build import (
    find_object_kind,
    find_slot_kind,
    get_mapping_values,
    get_signature,
    strip_none,
)

# Values that no component can use, by the name of its argument. They are chosen by what the names
# mean, not by the ranges that components state.
IMPOSSIBLE: dict[str, tuple[Any, ...]] = {
    'lr': (-0.1, '.nan', '.inf'),
    'weight_decay': (-1, '.inf'),
    'momentum': (-0.1, 1.5),
    'betas': ([0.9, 1.5], [-0.1, 0.9]),
    'gamma': (-0.5, '.nan'),
    'eta_min': (-1,),
    'start_factor': (0, 3),
    'batch_size': (0, -4),
    'num_workers': (-1, 10**9),
    'prefetch_factor': (0, -1, 10**9),
    'accumulative_counts': (0,),
    'max_epochs': (0, -2, 10**20),
    'max_iters': (0, -2),
    'val_interval': (0, -1),
    'threads': (0, -1, 10**9),
    'seed': (-1, 10**20),
    'interval': (0, -3),
    'every': (-1, '.nan'),
    'count': (-1,),
    'size': (0, -64),
    'crop': (0, -4),
    'length': (0, -1),
    'width': (0, -1),
    'kernel_size': (0, 4, -3, 10**9 + 1),
    'reduction': (0, -1),
    'heads': (0, -1),
    'dropout': (-0.1, 1.5, 1),
    'drop_rate': (-0.1, 2),
    'drop_path': (-0.1, 2),
    'weight': (-1, '.nan'),
    'label_smoothing': (-0.1, 1.5),
    'beta': (0, 1.5),
    'decay': (-0.1, 1),
    'max_norm': (0, -1),
    'probability': (-0.1, 1.1),
    'horizontal': (-0.1, 1.1),
    'vertical': (-0.1, 1.1),
    'degrees': (-1,),
    'patients': (0,),
    'resamples': (0,),
    'temperature': (0,),
    'bands': (0, -4),
    'ratio': (0, -4),
}
LOOK_ALIKES = {'a': 'а', 'e': 'е', 'o': 'о', 'p': 'р', 'c': 'с', 'x': 'х', 'i': 'і'}
# Wrong values for an annotation, as YAML texts.
WRONG_TYPES: dict[Any, tuple[str, ...]] = {
    int: ('many', '1.5', 'true', '[1]', '{a: 1}', "'3'"),
    float: ('much', 'true', '[1.0]', '{a: 1}', "'1e-3'"),
    bool: ('on', '1', '[true]', "'true'"),
    str: ('3', 'true', '[x]', '{a: 1}'),
}


@dataclass(frozen=True)
class Mutant:
    """A config with one change.

    Args:
        operator: name of the change.
        path: what was changed; () for a change of the text itself.
        text: the YAML.
        value: what stands there now, where one value was changed.
    """

    operator: str
    path: Path
    text: str
    value: str = ''


def make_mutants(tree: dict[str, Any], seed: int, count: int) -> Iterator[Mutant]:
    """Yields mutants of a resolved config, of all operators in turn."""
    rng = random.Random(seed)
    operators = list(OPERATORS.items())
    rng.shuffle(operators)
    made = 0
    for number in range(20 * count):
        name, operator = operators[number % len(operators)]
        try:
            found = operator(copy.deepcopy(tree), rng)
        except IndexError:  # the config has nothing of the kind that the operator changes
            continue
        if found is not None:
            path, text = found
            yield Mutant(name, path, text if isinstance(text, str) else dump(text))
            made += 1
        if made == count:
            return


Change = tuple[Path, dict[str, Any] | str] | None


def _misspell(tree: dict[str, Any], rng: random.Random) -> Change:
    place, name, _ = rng.choice(list_arguments(tree))
    i = rng.randrange(len(name))
    wrong = rng.choice([name[:i] + name[i + 1 :], name[:i] + name[i] + name[i:], name.upper()])
    return _rename(tree, place, name, wrong)


def _look_alike(tree: dict[str, Any], rng: random.Random) -> Change:
    place, name, _ = rng.choice(list_arguments(tree))
    letters = [i for i, letter in enumerate(name) if letter in LOOK_ALIKES]
    if not letters:
        return None
    i = rng.choice(letters)
    return _rename(tree, place, name, name[:i] + LOOK_ALIKES[name[i]] + name[i + 1 :])


def _rename(tree: dict[str, Any], place: Place, name: str, wrong: str) -> Change:
    if not wrong or wrong in place.arguments():
        return None
    items = [(wrong if key == name else key, value) for key, value in place.node.items()]
    place.node.clear()
    place.node.update(items)
    return (*place.path, wrong), tree


def _look_alike_type(tree: dict[str, Any], rng: random.Random) -> Change:
    place = rng.choice([p for p in list_places(tree) if p.kind])
    name = place.node['type']
    letters = [i for i, letter in enumerate(name) if letter in LOOK_ALIKES]
    if not letters:
        return None
    i = rng.choice(letters)
    place.node['type'] = name[:i] + LOOK_ALIKES[name[i]] + name[i + 1 :]
    return (*place.path, 'type'), tree


def _drop_type(tree: dict[str, Any], rng: random.Random) -> Change:
    place = rng.choice([p for p in list_places(tree) if p.kind])
    del place.node['type']
    return place.path, tree


def _drop_argument(tree: dict[str, Any], rng: random.Random) -> Change:
    place = rng.choice(list_places(tree))
    required = [
        name
        for name in place.arguments()
        if name in place.node and get_signature(place.cls)[name].default is inspect.Parameter.empty
    ]
    if not required:
        return None
    del place.node[rng.choice(required)]
    return place.path, tree


def _add_argument(tree: dict[str, Any], rng: random.Random) -> Change:
    place = rng.choice(list_places(tree))
    place.node['sparkle'] = rng.choice([1, 'x', {'type': 'Adam'}, None])
    return (*place.path, 'sparkle'), tree


def _give_injected(tree: dict[str, Any], rng: random.Random) -> Change:
    place = rng.choice([p for p in list_places(tree) if p.kind])
    injected = [n for n in get_signature(place.cls) if n in place.kind.injected]
    if not injected:
        return None
    place.node[injected[0]] = 4
    return (*place.path, injected[0]), tree


def _other_kind(tree: dict[str, Any], rng: random.Random) -> Change:
    place = rng.choice([p for p in list_places(tree) if p.kind])
    others = [k for k in get_kinds().values() if k.name not in (place.kind.name, 'command')]
    names = [n for n in rng.choice(others).names() if n not in place.kind]
    if not names:
        return None
    place.node['type'] = rng.choice(names)
    return (*place.path, 'type'), tree


def _wrong_type(tree: dict[str, Any], rng: random.Random) -> Change:
    place, name, annotation = rng.choice(list_arguments(tree))
    plain = strip_none(annotation)
    origin = typing.get_origin(plain)
    component = find_slot_kind(plain) or find_object_kind(plain)
    section = inspect.isclass(plain) and dataclasses.is_dataclass(plain)
    if plain in WRONG_TYPES:
        value = rng.choice(WRONG_TYPES[plain])
    elif origin is Literal:
        value = rng.choice(('[x]', '{a: 1}', '17.5', 'sparkle'))
    elif origin in (list, tuple):
        value = rng.choice(('{a: 1}', 'word', '3'))
    elif component or section or get_mapping_values(plain) is not None:
        value = rng.choice(('[1]', 'sparkle', '3', 'true'))
    else:
        return None
    place.node[name] = '@@'
    text = dump(tree)
    return (*place.path, name), text.replace("'@@'", value, 1)


def _short_list(tree: dict[str, Any], rng: random.Random) -> Change:
    pairs = [
        (place, name)
        for place, name, annotation in list_arguments(tree)
        if typing.get_origin(strip_none(annotation)) is tuple
        and Ellipsis not in typing.get_args(strip_none(annotation))
    ]
    if not pairs:
        return None
    place, name = rng.choice(pairs)
    place.node[name] = place.node[name][:-1]
    return (*place.path, name), tree


def _null(tree: dict[str, Any], rng: random.Random) -> Change:
    place, name, annotation = rng.choice(list_arguments(tree))
    if type(None) in typing.get_args(annotation) or annotation is Any:
        return None
    place.node[name] = None
    return (*place.path, name), tree


def _not_finite(tree: dict[str, Any], rng: random.Random) -> Change:
    floats = [(p, n) for p, n, a in list_arguments(tree) if strip_none(a) is float]
    place, name = rng.choice(floats)
    place.node[name] = float(rng.choice(('nan', 'inf', '-inf')))
    return (*place.path, name), dump(tree)


def _out_of_range(tree: dict[str, Any], rng: random.Random) -> Change:
    found = [
        (p, n)
        for p, n, a in list_arguments(tree)
        if n in IMPOSSIBLE and isinstance(p.node[n], (int, float, list))
    ]
    place, name = rng.choice(found)
    value = rng.choice(IMPOSSIBLE[name])
    if isinstance(value, list) != isinstance(place.node[name], list):
        return None
    place.node[name] = '@@'
    return (*place.path, name), dump(tree).replace("'@@'", str(value), 1)


def _seed_as_text(tree: dict[str, Any], rng: random.Random) -> Change:
    value = rng.choice(("'0'", 'zero', '0.5', '1e3', 'true', '[0]', "'0x10'"))
    tree['randomness'] = {'seed': '@@'}
    return ('randomness', 'seed'), dump(tree).replace("'@@'", value, 1)


def _missing_reference(tree: dict[str, Any], rng: random.Random) -> Change:
    place, name, _ = rng.choice(list_arguments(tree))
    place.node[name] = '@@'
    target = rng.choice(('no.such.key', 'model.sparkle', '.'.join((*place.path, name)), ''))
    return (*place.path, name), dump(tree).replace("'@@'", f'"${{{target}}}"', 1)


def _circle(tree: dict[str, Any], rng: random.Random) -> Change:
    (first, a, _), (second, b, _) = rng.sample(list_arguments(tree), 2)
    one, two = (*first.path, a), (*second.path, b)
    if one == two[: len(one)] or two == one[: len(two)]:
        return None
    first.node[a], second.node[b] = '@1', '@2'
    text = dump(tree).replace("'@1'", f'"${{{".".join(two)}}}"')
    return one, text.replace("'@2'", f'"${{{".".join(one)}}}"')


def _horizon(tree: dict[str, Any], rng: random.Random) -> Change:
    cfg = tree.get('train_cfg')
    if not cfg:
        return None
    length = cfg.get('max_epochs') or cfg.get('max_iters')
    schedules = [n for n, node in (tree.get('param_scheduler') or {}).items() if node]
    kind = rng.choice(('val_begin', 'begin', 'end', 'both'))
    if kind == 'val_begin':
        cfg['val_begin'] = length + rng.randint(1, 9)
        return ('train_cfg', 'val_begin'), tree
    if kind == 'both':
        cfg['max_epochs' if 'max_iters' in cfg else 'max_iters'] = 10
        return ('train_cfg',), tree
    if not schedules:
        return None
    name = rng.choice(schedules)
    node = tree['param_scheduler'][name]
    if node.get('by_epoch', 'max_epochs' in cfg) != ('max_epochs' in cfg):
        return None
    node.pop('end', None)
    node['begin'] = length + rng.randint(0, 9)
    if kind == 'end':
        node['end'] = rng.randint(1, node['begin'])
    return ('param_scheduler', name), tree


def _lines(tree: dict[str, Any]) -> list[str]:
    return dump(tree).splitlines()


def _duplicate_key(tree: dict[str, Any], rng: random.Random) -> Change:
    lines = _lines(tree)
    leaves = [i for i, line in enumerate(lines) if not line.endswith(':')]
    i = rng.choice(leaves)
    lines.insert(i + 1, lines[i])
    return (), '\n'.join(lines) + '\n'


def _indent(tree: dict[str, Any], rng: random.Random) -> Change:
    lines = _lines(tree)

    def depth(i: int) -> int:
        return len(lines[i]) - len(lines[i].lstrip()) if 0 <= i < len(lines) else -1

    # A line with a sibling beside it, so that its depth is no longer that of the sibling.
    moved = [i for i in range(len(lines)) if depth(i) > 0 and depth(i) in (depth(i - 1),)]
    i = rng.choice(moved)
    lines[i] = rng.choice((' ', '\t')) + lines[i]
    return (), '\n'.join(lines) + '\n'


def _base_circle(tree: dict[str, Any], rng: random.Random) -> Change:
    return (), f'_base_: c.yaml\n{dump(tree)}'


OPERATORS: dict[str, Callable[[dict[str, Any], random.Random], Change]] = {
    'misspell': _misspell,
    'look_alike': _look_alike,
    'look_alike_type': _look_alike_type,
    'drop_type': _drop_type,
    'drop_argument': _drop_argument,
    'add_argument': _add_argument,
    'give_injected': _give_injected,
    'other_kind': _other_kind,
    'wrong_type': _wrong_type,
    'short_list': _short_list,
    'null': _null,
    'not_finite': _not_finite,
    'out_of_range': _out_of_range,
    'seed_as_text': _seed_as_text,
    'missing_reference': _missing_reference,
    'circle': _circle,
    'horizon': _horizon,
    'duplicate_key': _duplicate_key,
    'indent': _indent,
    'base_circle': _base_circle,
}
