"""A program with one JSON file of arguments, as HF Trainer's scripts, and a log of JSON lines."""

import json
import sys
from pathlib import Path

arguments = json.loads(Path(sys.argv[1]).read_text())
folder = Path(sys.argv[sys.argv.index('--output_dir') + 1])
seed = int(sys.argv[sys.argv.index('--seed') + 1])
with open(folder / 'trainer_log.jsonl', 'w') as file:
    for step in (10, 20):
        print(json.dumps({'step': step, 'loss': 1 / step}), file=file)
        accuracy = step * arguments['learning_rate'] + seed
        print(json.dumps({'step': step, 'eval': {'accuracy': accuracy}}), file=file)
    print(json.dumps({'train_runtime': 1.5}), file=file)
