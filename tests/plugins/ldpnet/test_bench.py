from __future__ import annotations

import re

import pytest
import torch

from toolkit.cli import main


def test_all_is_timed_and_equal(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ['--size', '32', '--patch', '16', '--batch', '2', '--repeats', '1']
    threads = torch.get_num_threads()
    assert main(['bench', 'ldpnet', *sizes, '--threads', '1']) == 0
    assert torch.get_num_threads() == threads
    said = capsys.readouterr().out
    tables = [block.splitlines() for block in said.split('\n\n')]
    for table, what in zip(tables, ('inference, 32 x 32 x 4', 'training step, batch 2')):
        assert table[0].startswith(what)
        rows = {line.split()[0]: line.split() for line in table[2:]}
        assert set(rows) == {'published', 'fp32', 'bf16'}
        assert all(float(row[1]) > 0 and float(row[2]) > 0 for row in rows.values())
    largest, psnr = (re.findall(pattern, said) for pattern in (r'difference (\S+),', r'(\S+) dB'))
    assert float(largest[0]) < 1e-5
    assert float(psnr[1]) > 40
    assert float(re.findall(r'at most (\S+) of it', said)[1]) < 1e-4


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--size', '30'], 'multiples of 8'),
        (['--batch', '0'], 'at least 1'),
        (['--repeats', '0'], 'at least 1'),
    ],
)
def test_what_cannot_be_measured(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['bench', 'ldpnet', *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')
def test_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['bench', 'ldpnet', '--device', 'cuda']) == 2
    assert 'finds no GPU' in capsys.readouterr().err


def test_device_is_one_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['bench', 'ldpnet', '--device', 'gpu'])
    assert 'invalid choice' in capsys.readouterr().err
