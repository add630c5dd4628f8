"""Weights of `LDPNet` that come with the package, for any number of bands.

`python -m plugins.ldpnet.shipped_weights RUN FILE` writes such a file from a run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.io.verification.hashing import read_digest

if TYPE_CHECKING:
    from plugins.ldpnet.generator import LDPNet

FOLDER = Path(__file__).parent / 'weights'
# A safetensors file has no checksums: what is read must be what was shipped.
SHA256 = {'plus': '749d5def56384cfe4c54877e4c71a54c797eb59963f49e6be96f54ec57da3e32'}
# What the system of a run calls the network.
PREFIXES = ('generator.network.', 'generator.')
# Weights whose last input channels, and whose outputs, are the bands.
INPUTS = ('extractor1.conv1.weight', 'extractor1.conv2.weight')
OUTPUTS = ('rec.final_conv.weight', 'rec.final_conv.bias')


def find_shipped(name: str) -> Path:
    """Returns the file of shipped weights."""
    return FOLDER / f'{name}.safetensors'


def load_shipped(network: LDPNet, name: str) -> None:
    """Loads shipped weights into a network.

    A network of other bands gets the mean of the bands' weights in each band; the first layers'
    are scaled by the quotient of the numbers of bands, so that gray images give the same features.
    A tailor, which the file has none of, keeps its own.

    Raises:
        ValueError: the network has another width or other weights than the file, or the file is
            damaged or was changed.
    """
    path = find_shipped(name)
    try:
        digest = read_digest(path)
        if digest != SHA256[name]:
            raise ValueError(
                f'weights: {path} is not the file that was shipped: its sha256 is '
                f'{digest[:12]}..., expected {SHA256[name][:12]}...; install again'
            )
        with safe_open(path, 'pt') as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f'weights: {path} cannot be read: {error}; install again') from error
    own = network.state_dict()
    bands = len(own['rec.final_conv.bias'])
    fitted = fit_bands(tensors, bands)
    fitted |= {key: value for key, value in own.items() if key.startswith('tailor.')}
    other = [key for key in own if key not in fitted or own[key].shape != fitted[key].shape]
    if other or len(own) != len(fitted):
        width = len(tensors['extractor1.conv4.bias'])
        raise ValueError(
            f"weights: '{name}' are of width {width}, with residual: true and pan: single; "
            f'this network differs in {", ".join(other[:3])}: set these, or weights: null'
        )
    if not any(value.is_meta for value in own.values()):  # shapes alone are asked for
        network.load_state_dict(fitted)


def fit_bands(tensors: Mapping[str, Tensor], bands: int) -> dict[str, Tensor]:
    """Fits weights to another number of bands; equal numbers leave them as they are.

    Args:
        tensors: weights of an `LDPNet` whose PAN is single.
        bands: C.
    """
    found = len(tensors['rec.final_conv.bias'])
    fitted = dict(tensors)
    if found == bands:
        return fitted
    for key in INPUTS:
        features, of_bands = tensors[key].split([tensors[key].shape[1] - found, found], 1)
        mean = of_bands.mean(1, keepdim=True).expand(-1, bands, -1, -1)
        fitted[key] = torch.cat([features, mean * (found / bands)], 1)
    for key in OUTPUTS:
        mean = tensors[key].mean(0, keepdim=True)
        fitted[key] = mean.expand(bands, *mean.shape[1:]).clone()
    return fitted


def write_weights(run: Path, path: Path) -> int:
    """Writes the weights of the network of a run, with its name and iterations as metadata.

    Args:
        run: folder of the run.
        path: safetensors file to write.
    Returns:
        Number of weights.
    Raises:
        ToolkitError: no run or checkpoint, a system without an `LDPNet`, or a file that cannot be
            written.
    """
    source = checkpoint.find_best_or_last(run)
    if source is None:
        raise ToolkitError(f'{run} holds no checkpoint; train ldpnet/ldpnet_plus_synthetic into it')
    content = checkpoint.load(source)
    state = checkpoint.extract_weights(content, source)
    prefix = next((prefix for prefix in PREFIXES if f'{prefix}rec.conv1.bias' in state), None)
    if prefix is None:
        raise ToolkitError(f'{source} holds no weights of an LDPNet')
    tensors = {
        key.removeprefix(prefix): value.contiguous()
        for key, value in state.items()
        if key.startswith(prefix)
    }
    facts = {'iterations': content['meta']['iter'], 'run': run.name}
    atomic_write.write(path, save(tensors, {'facts': json.dumps(facts)}))
    return sum(tensor.numel() for tensor in tensors.values())


def main() -> int:
    """Writes the weights of a run that is named on the command line."""
    parser = argparse.ArgumentParser(description='write the weights of an LDPNet for shipping')
    parser.add_argument('run', type=Path, help='folder of the run')
    parser.add_argument('file', type=Path, help='safetensors file to write')
    arguments = parser.parse_args()
    try:
        count = write_weights(arguments.run, arguments.file)
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(f'{count:,} weights in {arguments.file}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
