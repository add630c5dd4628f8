"""A program with options of argparse, a JSON file of results, and checkpoints to resume from."""

import argparse
import json
import random
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument('--lr', type=float, default=0.1)
parser.add_argument('--widths', type=int, nargs='+', default=[8])
parser.add_argument('--amp', action='store_true')
parser.add_argument('--name', default='')
parser.add_argument('--steps', type=int, default=3)
parser.add_argument('--slow', type=float, default=0.0)
parser.add_argument('--seed', type=int, required=True)
parser.add_argument('--out', type=Path, required=True)
options = parser.parse_args()

options.out.mkdir(parents=True, exist_ok=True)
checkpoint = options.out / 'checkpoint.json'
state = {'step': 0, 'sum': 0.0}
if checkpoint.exists():
    state = json.loads(checkpoint.read_text())
for step in range(state['step'], options.steps):
    noise = random.Random(f'{options.seed}/{step}').random()
    state = {'step': step + 1, 'sum': state['sum'] + options.lr * sum(options.widths) * noise}
    temporary = options.out / 'checkpoint.tmp'
    temporary.write_text(json.dumps(state))
    temporary.replace(checkpoint)
    time.sleep(options.slow)
result = {'test': {'score': state['sum'] + options.amp}, 'loss': 1 / (1 + state['sum'])}
(options.out / 'results.json').write_text(json.dumps({**result, 'name': options.name}))
