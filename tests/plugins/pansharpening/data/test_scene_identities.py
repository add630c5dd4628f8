"""Scenes and references by which training and test are compared: which overlap is the protocol."""

from __future__ import annotations

import pytest

from plugins.fusion_cnns.pnn import PNN
from plugins.pansharpening.data.patches import ManifestPatches, ScenePatches
from plugins.pansharpening.data.scene_set import ManifestScenes
from plugins.pansharpening.data.wald_protocol import ReducedScene
from plugins.pansharpening.data.whole_scenes import WholeScene
from plugins.pansharpening.losses import BandCorrelation, ReferenceMSE
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.system import Pansharpener
from tests.support.manifests import write_manifest, write_scene
from toolkit.engine.overlap import collect_identities, find_overlaps
from toolkit.registry.build import ComponentFactory

SCENE = SyntheticScene(4, 256)
REDUCED = ReducedScene(SCENE)


def find(train, test, loss=ReferenceMSE):
    held = {'train': collect_identities(train), 'test': collect_identities(test)}
    system = Pansharpener(4, 4, ComponentFactory(PNN, {}), losses={'one': loss})
    return {overlap.group for overlap in find_overlaps(held, system, False)}


def patches(scene, region=None):
    return ScenePatches(scene, size=16, region=region)


LOWER = (0.5, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ('train', 'test', 'leaks'),
    [
        # Supervised at reduced resolution: by the place of the test.
        (patches(REDUCED), WholeScene(SCENE, 'reduced'), True),
        (patches(REDUCED, LOWER), WholeScene(SCENE, 'reduced', crop=128), False),
        (patches(REDUCED, LOWER), WholeScene(SCENE, 'reduced', crop=192), True),
        # Its references are inputs of the test at full resolution, and not the answer.
        (patches(REDUCED), WholeScene(SCENE, 'full'), False),
        # Whoever has learned the true image knows the MS too.
        (patches(SCENE), WholeScene(SCENE, 'full'), True),
        (patches(SCENE), WholeScene(SCENE, 'reduced'), True),
        (patches(SCENE), WholeScene(SyntheticScene(4, 256, seed=1), 'full'), False),
    ],
)
def test_references_of_the_test_are_kept_from_losses_that_take_them(train, test, leaks):
    assert find(train, test) == ({'reference'} if leaks else set())
    # Without a reference in a loss, a network is trained on the scene that it sharpens.
    assert find(train, test, BandCorrelation) == set()


def test_scenes_that_a_split_keeps_apart_are_in_one_subset(tmp_path):
    rows = [
        {**write_scene(tmp_path, f's{i}', 64, seed=i), 'split': split}
        for i, split in enumerate(('train', 'test'))
    ]
    manifest = write_manifest(tmp_path / 'm.csv', rows)
    test = ManifestScenes(manifest, 'test')
    assert find(ManifestPatches(manifest, 'train', size=16), test, BandCorrelation) == set()
    for split in ('test', None):
        train = ManifestPatches(manifest, split, size=16)
        assert find(train, test, BandCorrelation) == {'scene'}
    # Without a split the scenes are trained on and sharpened, as one scene is.
    assert find(train, ManifestScenes(manifest), BandCorrelation) == set()
