"""A program that reads Hydra's overrides (`a.b=c`, `+a=b`) and writes a table of epochs."""

import csv
import sys
from pathlib import Path

config = {'optim.lr': '0.1', 'model.name': 'small', 'hydra.run.dir': '.', 'seed': '0'}
for text in sys.argv[1:]:
    key, _, value = text.partition('=')
    if not key.startswith('+') and key not in config:
        sys.exit(f"Could not override '{key}'. To append to your config use +{key}={value}")
    config[key.lstrip('+')] = value.strip("'")
folder = Path(config['hydra.run.dir'])
with open(folder / 'metrics.csv', 'w', newline='') as file:
    table = csv.writer(file)
    table.writerow(['epoch', 'train/loss', 'test/acc'])
    for epoch in range(3):
        loss = (epoch + 1) * float(config['optim.lr'])
        table.writerow([epoch, loss, ''])
    table.writerow(['', '', len(config['model.name']) + int(config['seed'])])
