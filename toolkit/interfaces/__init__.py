"""Interfaces of the shared kinds: abstract classes that components implement.

Shapes: B batch, C bands or channels, H and W pixels of the (PAN) image, N tokens, D features.
Images are float32 in [0, 1] unless a dataset says otherwise.
"""

from toolkit.interfaces.data import Dataset, FileReader, Identities, Sampler, Transform
from toolkit.interfaces.data_commands import Auditor, Splitter
from toolkit.interfaces.evaluation import Metric, Visualizer
from toolkit.interfaces.network import (
    Attention,
    Backbone,
    Degradation,
    Head,
    Loss,
    Neck,
    features_to_map,
    map_to_features,
)
from toolkit.interfaces.prediction import PredictOptions, Predictor
from toolkit.interfaces.system import Batch, Mode, System

__all__ = [
    'Attention',
    'Auditor',
    'Backbone',
    'Batch',
    'Dataset',
    'Degradation',
    'FileReader',
    'Head',
    'Identities',
    'Loss',
    'Metric',
    'Mode',
    'Neck',
    'PredictOptions',
    'Predictor',
    'Sampler',
    'Splitter',
    'System',
    'Transform',
    'Visualizer',
    'features_to_map',
    'map_to_features',
]
