"""A program with a subcommand and `--section.key=value`, as LightningCLI's, that reports itself."""

import sys

import toolkit

config = {'model.width': '8', 'trainer.max_epochs': '1', 'trainer.deterministic': 'false'}
config |= {'seed_everything': '0', 'trainer.default_root_dir': '.'}
if sys.argv[1] != 'fit':
    sys.exit(f'error: expected a subcommand, found {sys.argv[1]}')
for text in sys.argv[2:]:
    key, _, value = text.removeprefix('--').partition('=')
    if key not in config:
        sys.exit(f'error: Key "{key}" is not expected')
    config[key] = value
toolkit.report_metrics({'val_acc': int(config['model.width']) + int(config['seed_everything'])})
toolkit.report_metrics({'deterministic': float(config['trainer.deterministic'] == 'true')})
