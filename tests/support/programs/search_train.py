"""A script whose accuracy is a known function of its options, best at x = 0.3 with the kind `b`."""

import argparse
import json
import pathlib
import time

parser = argparse.ArgumentParser()
parser.add_argument('-x', type=float, default=1.0)
parser.add_argument('--kind', default='a')
parser.add_argument('--width', type=int, default=4)
parser.add_argument('--slow', type=float, default=0.0)
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--out', type=pathlib.Path, required=True)
options = parser.parse_args()
best = 1 - abs(options.x - 0.3) - (0 if options.kind == 'b' else 0.2)
options.out.mkdir(parents=True, exist_ok=True)
with open(options.out / 'log.jsonl', 'w') as log:
    for epoch in range(1, 10):
        value = best * (1 - 0.5**epoch) + 1e-3 * options.seed
        print(json.dumps({'epoch': epoch, 'val_acc': value}), file=log, flush=True)
        time.sleep(options.slow)
    print(json.dumps({'test_acc': best + 1e-3 * options.seed}), file=log)
