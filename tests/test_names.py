"""Names of public classes."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path in sorted(
        file for root in ('toolkit', 'plugins') for file in ROOT.glob(f'{root}/**/*.py')
    ):
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                places[node.name].append(f'{path.relative_to(ROOT)}:{node.lineno}')
    assert len(places) > 300
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
