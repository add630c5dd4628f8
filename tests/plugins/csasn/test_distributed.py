"""What losses and weightings follow is counted over all processes of a run."""

from __future__ import annotations

import multiprocessing
import os
import socket
from functools import partial
from pathlib import Path

import torch

from plugins.classification.heads import LinearHead
from plugins.classification.system import Classifier
from plugins.classification.task_weighting import DynamicWeightAverage
from plugins.classification.tasks import MISSING
from plugins.csasn.losses import DynamicClassWeights
from tests.support.labelled_images import TASKS, Branch, Labelled
from toolkit.engine.process import distributed

# Of two processes with two samples each; the second one's batches may have no label of `shape`.
KIND = [[0, 1, 1, 1], [0, 0, 1, MISSING], [1, 0, 0, 1], [1, 1, 0, 0]]
SHAPE = [[0, 1, MISSING, MISSING], [2, 1, 0, 2], [1, 1, MISSING, MISSING], [2, 0, 1, 1]]
BATCHES_AN_EPOCH = 2


def batch(number, rows):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(number))
    labels = {'kind': torch.tensor(KIND[number]), 'shape': torch.tensor(SHAPE[number])}
    return {'image': images[rows], 'labels': {name: own[rows] for name, own in labels.items()}}


def followed(rows):
    """The state of losses and weighting after two epochs of this process's rows."""
    torch.manual_seed(0)
    system = Classifier(
        TASKS,
        branches={'cnn': Branch},
        head=LinearHead,
        losses={'dynamic': partial(DynamicClassWeights, class_weights='inverse')},
        task_weighting=DynamicWeightAverage,
        size=16,
    )
    train = Labelled(kind=[0, 1, 1, 1], shape=[0, 1, 2, 2])
    system.prepare({'train': train}, device=torch.device('cpu'), context=None, say=print)
    wrapped = distributed.wrap_system(system, torch.device('cpu'))
    for number in range(len(KIND)):
        if number % BATCHES_AN_EPOCH == 0:
            system.start_epoch(number // BATCHES_AN_EPOCH)
        sum(wrapped(batch(number, rows), 'loss').values()).backward()
    system.start_epoch(len(KIND) // BATCHES_AN_EPOCH)
    parts = {'losses': system.losses, 'weighting': system.task_weighting}
    return {f'{k}.{n}': b for k, part in parts.items() for n, b in part.state_dict().items()}


def join(rank, port, folder):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    with distributed.join_processes(torch.device('cpu')):
        torch.save(followed(slice(2 * rank, 2 * rank + 2)), Path(folder, f'{rank}.pth'))


def test_two_processes_follow_what_one_would(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context('forkserver')
    processes = [context.Process(target=join, args=(r, port, str(tmp_path))) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f'{r}.pth', weights_only=True) for r in range(2))
    alone = followed(slice(0, 4))
    assert first['losses.kind.dynamic.running'].sum() > 0
    assert alone.keys() == first.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        # A mean of batches of unequal numbers of labels is summed in another order.
        torch.testing.assert_close(value, alone[name], rtol=1e-5, atol=1e-7, msg=name)
