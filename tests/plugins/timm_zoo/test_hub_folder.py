"""Models of a hub in a local folder: weights, statistics and arguments of the folder, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from plugins.timm_zoo.backbone import TimmBackbone

MEAN, STD = [0.1, 0.2, 0.6], [0.5, 0.4, 0.3]
SIZE = 64


def save(folder: Path, model: str = 'test_vit', **changes: Any) -> tuple[Path, Any]:
    """A folder as `timm.models.push_to_hf_hub` lays it out, and its model with a classifier."""
    folder.mkdir()
    torch.manual_seed(3)
    arguments = changes.get('model_args', {})
    made = timm.create_model(model, num_classes=7, img_size=SIZE, **arguments)
    own = {'mean': MEAN, 'std': STD, 'input_size': [3, SIZE, SIZE], 'num_classes': 7}
    record = {'architecture': model, 'num_classes': 7, 'pretrained_cfg': own, **changes}
    (folder / 'config.json').write_text(json.dumps(record))
    save_file(
        {k: v.contiguous() for k, v in made.state_dict().items()}, folder / 'model.safetensors'
    )
    return folder, made.eval()


def build(folder: Path, channels: int = 3, size: int = SIZE, **more: Any) -> TimmBackbone:
    options = {'weights': 'hub', **more}
    return TimmBackbone(channels, size, f'local-dir:{folder}', **options).eval()


@pytest.mark.parametrize('arguments', [{}, {'init_values': 1e-5, 'qkv_bias': False}])
def test_features_are_those_of_the_model_in_the_folder(tmp_path: Path, arguments: Any) -> None:
    more = {'model_args': arguments} if arguments else {}
    folder, model = save(tmp_path / 'encoder', **more)
    image = torch.rand(2, 3, SIZE, SIZE)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        found = build(folder, features='vector')(image)
        features = model.forward_features((image - mean) / std)
        expected: Tensor = model.forward_head(features, pre_logits=True)
    torch.testing.assert_close(found, expected)


def test_without_weights_it_is_random_and_statistics_stay(tmp_path: Path) -> None:
    folder, model = save(tmp_path / 'encoder')
    torch.manual_seed(9)
    bare = build(folder, weights=None)
    assert bare.mean.flatten().tolist() == pytest.approx(MEAN)
    assert not torch.equal(bare.model.patch_embed.proj.weight, model.patch_embed.proj.weight)
    gray = build(folder, channels=1)
    assert float(gray.mean) == pytest.approx(0.3) and float(gray.std) == pytest.approx(0.4)


def test_changed_files_are_noticed(tmp_path: Path) -> None:
    folder, _ = save(tmp_path / 'encoder')
    arguments = {'model': f'local-dir:{folder}', 'weights': 'hub'}
    files = [folder / 'config.json', folder / 'model.safetensors']
    assert TimmBackbone.list_files(arguments) == files
    assert TimmBackbone.list_files({**arguments, 'weights': None}) == files[:1]
    before = build(folder).cache_key()
    record = json.loads(files[0].read_text())
    record['pretrained_cfg']['mean'] = [0.5, 0.5, 0.5]
    files[0].write_text(json.dumps(record))
    assert build(folder).cache_key() != before


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'architecture': 'test_vitt'}, r"no model 'test_vitt'.*did you mean 'test_vit"),
        ({'architecture': None, 'model_type': 'dinov2'}, 'no architecture of timm.*dinov2'),
        ({'pretrained_cfg': {'mean': MEAN}}, r'no pretrained_cfg\.std'),
        # What a stranger may write
        ({'pretrained_cfg': 'hf-hub:a/b'}, "pretrained_cfg is 'hf-hub:a/b', expected a mapping"),
        ({'pretrained_cfg': {'mean': [1e400, 0, 0]}}, r'pretrained_cfg\.mean is \[inf, 0, 0\]'),
        ({'pretrained_cfg': {'mean': MEAN, 'std': [0, 1, 1]}}, r'pretrained_cfg\.std is'),
        ({'pretrained_cfg': {'input_size': [3, 10**9, 8]}}, r'pretrained_cfg\.input_size is'),
        ({'model_args': [1]}, 'model_args is'),
        ({'model_args': {'checkpoint_path': '/x.pth'}}, r'model_args\.checkpoint_path would load'),
        (
            {'model_args': {'pretrained_cfg': 'hf-hub:a/b'}},
            r'model_args\.pretrained_cfg would load',
        ),
    ],
)
def test_configs_that_cannot_be_used(tmp_path: Path, changes: Any, said: str) -> None:
    folder, _ = save(tmp_path / 'encoder')
    record = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**record, **changes}))
    with pytest.raises(ValueError, match=said):
        build(folder)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='no folder'):
        build(tmp_path / 'missing')
    folder, _ = save(tmp_path / 'encoder')
    with pytest.raises(ValueError, match='use hub, or null'):
        build(folder, weights='wheel')
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')
    with pytest.raises(ValueError, match=r'no model\.safetensors.*pytorch_model\.bin may run code'):
        build(folder)
    (folder / 'model.safetensors').write_bytes(b'nothing')
    with pytest.raises(ValueError, match='weights: .*model.safetensors'):
        build(folder)
    (folder / 'config.json').write_text('{')
    with pytest.raises(ValueError, match=r'config\.json cannot be read'):
        build(folder)
    (folder / 'config.json').unlink()
    with pytest.raises(ValueError, match=r'no config\.json.*a folder with config\.json and model'):
        build(folder)
