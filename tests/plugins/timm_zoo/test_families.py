"""Tests one model of each timm family: it gives features, or a clear error."""

from __future__ import annotations

import functools

import pytest
import timm
import torch
from timm.models import get_pretrained_cfg, list_modules

from plugins.classification.heads import LinearHead
from plugins.classification.system import Classifier
from plugins.classification.tasks import Task
from plugins.timm_zoo.attention import SE
from plugins.timm_zoo.backbone import TimmBackbone
from toolkit.bench.cost import measure_costs

# Their recurrent or very large layers take minutes even on the meta device.
SLOW = {'sequencer', 'gemma4_vit', 'csatv2'}
# Parameters of a model that is not built in memory here, to save time.
LARGE = 30e6
WITHOUT_MAP = {'coat', 'crossvit', 'efficientvim', 'pit'}


def families() -> list[tuple[str, str]]:
    """Lists the modules of timm, each with the model that has the shortest name."""
    found = []
    for module in list_modules():
        models = timm.list_models(module=module)
        if models and module not in SLOW:
            found.append((module, min(models, key=len)))
    return found


def get_trained_size(model: str) -> int:
    config = get_pretrained_cfg(model)
    return config.input_size[-1] if config else 224


@pytest.mark.slow
@pytest.mark.parametrize(('module', 'model'), families(), ids=str)
def test_every_family_gives_features_or_a_clear_error(module: str, model: str) -> None:
    size = get_trained_size(model)
    image = torch.zeros(2, 3, size, size, device='meta')
    with torch.device('meta'):
        vector = TimmBackbone(3, size, model, features='vector')
        assert vector(image).shape == (2, vector.out_channels)
        if module in WITHOUT_MAP:
            with pytest.raises(ValueError, match='set features: vector'):
                TimmBackbone(3, size, model)
            return
        try:
            mapped = TimmBackbone(3, size, model, attention=SE, attention_after=[-1])
        except ValueError as error:
            assert any(t in str(error) for t in ('no stages', 'not called', 'no attention fits'))
            mapped = TimmBackbone(3, size, model)
        cells = mapped(image)
        assert cells.shape[:2] == (2, mapped.out_channels)
        assert cells.shape[2] == cells.shape[3]
        assert mapped.stride == round(size / cells.shape[2])


@pytest.mark.slow
@pytest.mark.parametrize(('module', 'model'), families(), ids=str)
def test_every_family_is_built_in_memory_and_its_costs_are_counted(module: str, model: str) -> None:
    """Its own size, as `--shapes`, `--plan` and a training do."""
    size = get_trained_size(model)
    branch = functools.partial(TimmBackbone, model=model, features='vector')
    system = functools.partial(
        Classifier,
        size=size,
        tasks={'a': Task(('x', 'y'))},
        branches={'one': branch},
        head=LinearHead,
    )
    rows = {row.name: row for row in measure_costs(system)}
    assert rows['branches.one'].macs > 0
    assert rows['branches.one'].parameters > 0
    if rows['branches.one'].parameters > LARGE:
        return
    built = branch(3, size)
    assert not any(tensor.is_meta for tensor in (*built.parameters(), *built.buffers()))
