"""Converts weights between the layout of the authors' code and the one of this toolkit.

The authors' network is one module with `extractor1`, `extractor2`, `content`, `rec`, `gray` and
`reblur`. Here the first four belong to the generator, and the other two are slots of the system.
Their files are pickled models, which are not opened here: save the model's `state_dict()` in the
environment of their code, then load that.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from toolkit.errors import ToolkitError

# Prefix in the published state dict -> prefix in the system's.
_PREFIXES = {
    'extractor1.': 'generator.extractor1.',
    'extractor2.': 'generator.extractor2.',
    'content.': 'generator.content.',
    'rec.': 'generator.rec.',
    'gray.': 'gray.',
    'reblur.0.': 'reblur.conv.',
}


def load_published(system: nn.Module, published: Mapping[str, Tensor]) -> None:
    """Copies published weights into a system of `LDPNet`, `ConvReblur` and `ChannelGray`.

    Args:
        system: a `Pansharpener` of the same bands and width.
        published: the flat state dict of the authors' network.
    Raises:
        ToolkitError: weights are missing, unknown or of another shape; nothing is copied then.
    """
    expected = get_published_state(system)
    problems = [f'missing: {name}' for name in expected if name not in published]
    problems += [f'not known: {name}' for name in published if name not in expected]
    problems += [
        f'{name} has shape {tuple(published[name].shape)}, the system needs {tuple(own.shape)}'
        for name, own in expected.items()
        if name in published and published[name].shape != own.shape
    ]
    if problems:
        more = f'; and {len(problems) - 5} more' if len(problems) > 5 else ''
        raise ToolkitError(
            f'published LDP-Net weights do not fit this system: {"; ".join(problems[:5])}{more}. '
            'Check the bands and the width of the generator, and the size of the reblur kernel'
        )
    system.load_state_dict({_rename(name, _PREFIXES): value for name, value in published.items()})


def get_published_state(system: nn.Module) -> dict[str, Tensor]:
    """Gets the system's weights under the published names.

    Raises:
        ToolkitError: the system has weights that the published network does not.
    """
    inverse = {ours: theirs for theirs, ours in _PREFIXES.items()}
    return {_rename(name, inverse): value for name, value in system.state_dict().items()}


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    for prefix, replacement in prefixes.items():
        if name.startswith(prefix):
            return replacement + name[len(prefix) :]
    raise ToolkitError(
        f'{name} has no place in the published LDP-Net, which has '
        f'{", ".join(prefixes)}; build the system of LDPNet, ConvReblur and ChannelGray'
    )
