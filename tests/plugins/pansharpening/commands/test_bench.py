from __future__ import annotations

import pytest

from plugins.pansharpening.commands import bench_scene
from toolkit.cli import main


def test_scene_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        bench_scene, '_measure_in_process', bench_scene._measure
    )  # in this process: torch is imported
    arguments = ['--size', '512', '--repeats', '1', '--folder', str(tmp_path)]
    assert main(['bench', 'scene', *arguments, 'WeightedBrovey', 'GSA']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'megapixels/s' in lines[0]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    for name in ('WeightedBrovey', 'GSA'):
        assert float(rows[name][1]) > 0
        assert float(rows[name][-1]) > 0.1  # GB
    assert '512 x 512 PAN pixels' in ' '.join(lines)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_measured(capsys):
    assert main(['bench', 'scene', 'GSAA']) == 2
    assert "did you mean 'GSA'" in capsys.readouterr().err
    assert main(['bench', 'scene', '--size', '10']) == 2
    assert 'multiple of 4' in capsys.readouterr().err
    assert main(['bench']) == 2
    assert 'bench --help' in capsys.readouterr().err


@pytest.mark.parametrize('iterations', ['100', '0'])
def test_overhead_of_too_few_iterations(iterations, capsys):
    assert main(['bench', 'overhead', '--iterations', iterations]) == 2
    assert 'at least 2000' in capsys.readouterr().err
