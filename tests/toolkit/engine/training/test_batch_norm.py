"""A batch of one sample, by which a batch norm of vectors cannot be trained, is said at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import ToolkitError
from toolkit.run.train import train


@pytest.mark.parametrize(
    ('length', 'batch_size', 'message'),
    [
        (9, 4, '9 samples in batches of 4 leave a batch of one sample, by which vector_norm '),
        (8, 1, 'with batch_size 1, vector_norm '),
    ],
)
def test_a_batch_of_one_sample_and_a_batch_norm_of_vectors(
    config: Any, tmp_path: Path, length: int, batch_size: int, message: str
) -> None:
    data = {'type': 'TinyData', 'length': length}
    options = {'train_dataloader__dataset': data, 'train_dataloader__batch_size': batch_size}
    with pytest.raises(ToolkitError, match=re.escape(message + '(BatchNorm1d)')):
        train(config(model__vector_norm=True, **options), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
    assert train(config(**options), tmp_path / 'plain').status == 'finished'


def test_no_batch_of_one_sample_with_drop_last(config: Any, tmp_path: Path) -> None:
    data = {'type': 'TinyData', 'length': 9}
    run = config(
        model__vector_norm=True, train_dataloader__dataset=data, train_dataloader__drop_last=True
    )
    assert train(run, tmp_path / 'run').status == 'finished'
