"""A run keeps the user's plugins, and is repeated with them after they have changed."""

from __future__ import annotations

import subprocess
import sys

PLUGIN = """
from torch import nn

from plugins.pansharpening.interfaces import GENERATORS, Generator



@GENERATORS.register
class Mine(Generator):
    halo = 0

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(bands, bands, 1)

    def forward(self, lrms_up, pan):
        return self.layer(lrms_up) {more}
"""
CONFIG = """
_base_: ldpnet/ldpnet_2022_synthetic
plugins: [{plugin}]
model: {{generator: {{_delete_: true, type: Mine}}}}
train_dataloader: {{batch_size: 1, dataset: {{size: 64, length: 2}}}}
train_cfg: {{max_epochs: 1}}
test_dataloader: {{dataset: {{scene: {{size: 256}}}}}}
"""


def toolkit(folder, *argv):
    return subprocess.run(
        [sys.executable, '-m', 'toolkit', *argv], cwd=folder, capture_output=True, text=True
    )


def test_rerun_after_a_plugin_has_changed(tmp_path):
    (tmp_path / 'mine.py').write_text(PLUGIN.format(more=''))
    (tmp_path / 'c.yaml').write_text(CONFIG.format(plugin='mine.py'))
    done = toolkit(tmp_path, 'train', 'c.yaml', '--work-dir', 'run')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'plugins' / 'mine.py').read_text() == PLUGIN.format(more='')
    (tmp_path / 'mine.py').write_text(PLUGIN.format(more='+ pan'))
    again = toolkit(tmp_path, 'rerun', 'run')
    assert again.returncode == 0, again.stdout + again.stderr
    assert 'run-rerun equals run' in again.stdout
