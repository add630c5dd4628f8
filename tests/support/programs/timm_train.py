"""A program that takes a folder and options as timm's train.py, and only prints its accuracy."""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument('data')
parser.add_argument('--model', default='resnet18')
parser.add_argument('-b', '--batch-size', type=int, default=8)
parser.add_argument('--drop-path', type=float)
parser.add_argument('--seed', type=int, default=42)
options = parser.parse_args()
for epoch in range(2):
    accuracy = options.batch_size + options.seed + epoch / 4
    print(f'Test: [{epoch}/2]  Acc@1: {accuracy:>7.3f} ({accuracy:>7.3f})', end='\r')
print(f'\n*** Best metric: {options.batch_size + options.seed} (epoch 1)')
