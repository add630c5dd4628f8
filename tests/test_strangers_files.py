"""Files of strangers: no code of them runs, memory stays bounded, and one line says why."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import struct
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import torch

from plugins.classification.data.medmnist import read_arrays
from plugins.classification.data.reading.image_io import read_image
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from toolkit.analysis.results import load as load_study
from toolkit.config import load as load_config
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError, explain_exhaustion
from toolkit.io.tables import csv_text
from toolkit.io.tables.manifest_reader import ManifestReader
from toolkit.io.tables.read_table import read_table
from toolkit.io.verification import integrity, packed_arrays
from toolkit.run import capsule
from toolkit.run.work_dir import check_links
from toolkit.study.planning.plan import make_plan
from toolkit.study.study_file import read_study


class Evil:
    """Writes a file where a pickle of it is loaded without care."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, 'w')


class Rows(ManifestReader):
    noun = 'image'

    def check_columns(self, line, columns):
        pass

    def parse_row(self, line, cells):
        return self.resolve_file(line, 'image', cells['image'])


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def evil(folder):
    return pickle.dumps(Evil(folder / 'ran'))


def torch_file(folder, content):
    torch.save(content, folder / 'c.pth')
    return checkpoint.load(folder / 'c.pth')


def npz(folder, **arrays):
    np.savez_compressed(folder / 'a.npz', **arrays)
    return folder / 'a.npz'


def lying_npy(shape):
    """An `.npy` file whose header states more values than follow."""
    stream = io.BytesIO()
    header = {'descr': '<f4', 'fortran_order': False, 'shape': shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + bytes(16)


def lying_npz(folder):
    with zipfile.ZipFile(folder / 'a.npz', 'w') as archive:
        for name in ('ms', 'pan'):
            archive.writestr(f'{name}.npy', lying_npy((400_000, 400_000)))
    return folder / 'a.npz'


def png(width, height, data=b''):
    def chunk(kind, body):
        return (
            struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        )

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b'')


def packed_pth(folder):
    """A checkpoint whose record unpacks to a thousand times its size."""
    with zipfile.ZipFile(folder / 'c.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('c/data.pkl', b'')
        archive.writestr('c/data/0', bytes(20 << 20))
    return folder / 'c.pth'


def overlapping_pth(folder):
    """A checkpoint that names one record a thousand times."""
    with zipfile.ZipFile(folder / 'c.pth', 'w') as archive:
        archive.writestr('c/data/0', bytes(10_000))
        archive.filelist.extend(archive.filelist * 999)
    return folder / 'c.pth'


def link(folder, name, target):
    (folder / name).symlink_to(target)
    return name


def second_name(folder, name):
    """A run's log that is another file of the user, too."""
    other = write(folder, 'mine.txt', 'mine')
    (folder / 'run').mkdir()
    (folder / 'run' / name).hardlink_to(other)
    return folder / 'run'


def other_run(folder):
    """A run whose checkpoints are those of another run."""
    for name in ('mine', 'received'):
        (folder / name / 'checkpoints').mkdir(parents=True)
        write(folder / name, 'capsule.json', '{}')
    (folder / 'received' / 'checkpoints').rmdir()
    link(folder / 'received', 'checkpoints', folder / 'mine' / 'checkpoints')
    return folder / 'received'


def config(folder, text):
    return load_config(write(folder, 'c.yaml', text))


def manifest(folder, cell):
    reader = Rows(write(folder, 'm.csv', f'image\n{cell}\n'), outside=False)
    reader.read_rows(['image'])
    reader.raise_mistakes()


def study(folder, **keys):
    content = {'study': 's', 'base': 'ldpnet/ldpnet_2022_synthetic', 'variants': {'a': {}}, **keys}
    return make_plan(read_study(write(folder, 's.yaml', json.dumps(content))), open_data=False)


def objects(count=2):
    return np.array([{'a': 1}] * count, dtype=object)


MED = [f'{s}_{w}' for s in ('train', 'val', 'test') for w in ('images', 'labels')]

# name: (what opens the hostile file, what the one line says)
CORPUS = {
    # pickles in the clothes of other files
    'pickle.pth': (lambda f: checkpoint.load(write(f, 'c.pth', evil(f))), 'c.pth'),
    'object.pth': (lambda f: torch_file(f, {'state_dict': Evil(f / 'ran')}), 'refused: loading'),
    'optimizer.pth': (
        lambda f: torch_file(f, {'optimizer': {'state': {0: Evil(f / 'ran')}}}),
        'refused: loading it could run code',
    ),
    'pickle_in_zip.pth': (
        lambda f: (
            zipfile.ZipFile(f / 'c.pth', 'w').writestr('c/data.pkl', evil(f)),
            checkpoint.load(f / 'c.pth'),
        ),
        'c.pth',
    ),
    'pickle.npz': (lambda f: ArrayScene(write(f, 'a.npz', evil(f))), 'a.npz cannot be read'),
    'objects.npz': (lambda f: ArrayScene(npz(f, ms=objects(), pan=objects())), 'Python objects'),
    'objects_medmnist': (
        lambda f: read_arrays(npz(f, **{name: objects() for name in MED})),
        'Python objects',
    ),
    'pickle.npy': (
        lambda f: ArrayScene(write(f, 'a.npy', evil(f)), write(f, 'b.npy', evil(f))),
        'a.npy cannot be read',
    ),
    'objects.npy': (
        lambda f: (np.save(f / 'a.npy', objects()), read_image(f / 'a.npy')),
        'a.npy cannot be read',
    ),
    'pickle.mat': (lambda f: MatScene(write(f, 'a.mat', evil(f))).bands, 'a.mat cannot be read'),
    'pickle.png': (lambda f: read_image(write(f, 'a.png', evil(f))), 'a.png is no image'),
    'pickle.csv': (lambda f: read_table(write(f, 'm.csv', evil(f)), ['a']), 'm.csv'),
    # YAML that would make objects, or has no end
    'apply.yaml': (
        lambda f: config(f, f'a: !!python/object/apply:open ["{f}/ran", "w"]'),
        'c.yaml:1: a: the tag .* is refused',
    ),
    'name.yaml': (lambda f: config(f, 'a: !!python/name:os.system'), 'c.yaml:1: a: the tag'),
    'own_tag.yaml': (lambda f: config(f, 'a: !run x'), 'c.yaml:1: a: the tag'),
    'deep.yaml': (lambda f: config(f, 'a: ' + '[' * 500), 'nested more than 100 deep'),
    'nul.yaml': (lambda f: config(f, 'b: 1\na: \0\n'), r'c.yaml:2: the character U\+0000'),
    # names that leave a folder
    'up.csv': (lambda f: manifest(f, '../../etc/passwd'), 'm.csv:2: .*leaves the folder'),
    'root.csv': (lambda f: manifest(f, '/etc/passwd'), 'm.csv:2: .*leaves the folder'),
    'long_name.csv': (lambda f: manifest(f, 'x' * 300), 'm.csv:2: .*cannot be read: File name too'),
    'link.csv': (
        lambda f: manifest(f, link(f, 'a.png', '/etc/passwd')),
        'm.csv:2: .*a.png is a link that leaves the folder',
    ),
    'folder_link.csv': (
        lambda f: manifest(f, link(f, 'etc', '/etc') + '/passwd'),
        'm.csv:2: .*etc/passwd is a link that leaves the folder',
    ),
    # links in a received run, which would lead what is written to other places
    'link.log': (
        lambda f: check_links(write(f, link(f, 'train.log', f / 'rc'), 'x').parent),
        'train.log is a link to .*rc: a run writes its files itself',
    ),
    'dangling.log': (
        lambda f: link(f, 'metrics.jsonl', f / 'new') and check_links(f),
        'metrics.jsonl is a link to',
    ),
    'hard_link.log': (
        lambda f: check_links(second_name(f, 'test.log')),
        'test.log has a second name elsewhere',
    ),
    'checkpoints_of_another': (
        lambda f: check_links(other_run(f)),
        'checkpoints is a link into another run, .*mine',
    ),
    'nul_name.csv': (lambda f: manifest(f, 'a\0b'), 'm.csv'),
    'study_name': (lambda f: study(f, study='../../evil'), 's.yaml:.*cannot name a folder'),
    # sizes that are not what they seem
    'bomb.png': (
        lambda f: read_image(write(f, 'a.png', png(60_000, 60_000))),
        'a.png is too large',
    ),
    'lying.npz': (lambda f: ArrayScene(lying_npz(f)), 'a.npz: ms states 640000000000 bytes'),
    'lying.npy': (
        lambda f: ArrayScene(
            write(f, 'a.npy', lying_npy((4, 9**6, 9**6))),
            write(f, 'b.npy', lying_npy((9**6, 9**6))),
        ),
        'a.npy cannot be read',
    ),
    'bomb.npz': (
        lambda f: ArrayScene(npz(f, ms=np.zeros((4, 800, 800)), pan=np.zeros((3200, 3200)))),
        'a.npz: ms takes .* and unpacks to',
    ),
    'bomb.pth': (
        lambda f: checkpoint.load(packed_pth(f)),
        'c.pth is refused: it takes 0.0 MB and unpacks to',
    ),
    'overlap.pth': (
        lambda f: checkpoint.load(overlapping_pth(f)),
        'c.pth is damaged: its records state 10000000 bytes, and it has',
    ),
    'bomb.csv.gz': (
        lambda f: read_table(write(f, 'm.csv.gz', gzip.compress(b'a,b\n' * 500_000)), ['a']),
        'm.csv.gz holds more than 1 MB',
    ),
    # damaged
    'empty.png': (lambda f: read_image(write(f, 'a.png', b'')), 'a.png'),
    'cut.png': (lambda f: read_image(write(f, 'a.png', png(64, 64, bytes(99)))), 'a.png cannot'),
    'text.png': (lambda f: read_image(write(f, 'a.png', 'no image')), 'a.png is no image'),
    'empty.pth': (lambda f: checkpoint.load(write(f, 'c.pth', b'')), 'c.pth'),
    'empty.mat': (lambda f: MatScene(write(f, 'a.mat', b'')).bands, 'a.mat cannot be read'),
    'cut.npz': (
        lambda f: ArrayScene(write(f, 'b.npz', npz(f, ms=np.ones(999)).read_bytes()[:80])),
        'b.npz cannot be read',
    ),
    'deep.json': (lambda f: capsule.read(write(f, 'capsule.json', '[' * 9999).parent), 'too deep'),
    'deep_plan.json': (
        lambda f: load_study(write(f, 'plan.json', '{"a":' * 9999).parent),
        'plan.json is damaged: values are nested too deep',
    ),
}


def test_the_corpus_is_large():
    assert len(CORPUS) >= 30


@pytest.mark.parametrize('name', CORPUS)
def test_a_hostile_file_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr(packed_arrays, 'LARGE', 1 << 20)
    monkeypatch.setattr(integrity, 'LARGEST', 1 << 20)
    monkeypatch.setattr(csv_text, 'LARGEST', 1 << 20)
    opened, message = CORPUS[name]
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ToolkitError, match=message) as caught:
            opened(tmp_path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'ran').exists()
    assert peak < 300e6
    assert time.process_time() - start < 5


def test_an_error_of_the_disk_is_explained_in_one_line(monkeypatch, capsys):
    from toolkit import cli

    def fail(argv):
        with open('/no/such/folder/file'):
            pass

    monkeypatch.setattr(cli, '_parse', fail)
    assert cli.main([]) == 1
    assert capsys.readouterr().err == '/no/such/folder/file: No such file or directory\n'
    with pytest.raises(OSError):
        cli.main(['--traceback'])


def test_the_pickle_would_run_where_it_is_loaded_without_care(tmp_path):
    pickle.loads(evil(tmp_path)).close()
    assert (tmp_path / 'ran').exists()


def test_a_packed_image_of_the_usual_kind_is_read(tmp_path):
    rng = np.random.default_rng(0)
    images = {'ms': (4, 16, 16), 'pan': (64, 64)}
    arrays = {n: rng.integers(1, 2000, shape, np.uint16) for n, shape in images.items()}
    scene = ArrayScene(npz(tmp_path, **arrays), sensor='IKONOS')
    assert scene.read_ms().shape == (4, 16, 16)


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (MemoryError(), 'out of memory: MemoryError; choose a smaller batch_size'),
        (torch.OutOfMemoryError('CUDA out of memory. Tried\nmore'), 'out of memory: CUDA out of'),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), 'out of memory: Default'),
        (
            RuntimeError('DataLoader worker (pid 3) is killed by signal: Killed. '),
            'a process that loads data ended: .*fewer num_workers',
        ),
        (RuntimeError('DataLoader worker (pid(s) 3) exited unexpectedly'), 'a process that loads'),
        (RuntimeError('shapes differ'), ''),
    ],
)
def test_no_memory_is_explained_in_one_line(error, message, monkeypatch, capsys):
    from toolkit import cli

    def fail(argv):
        raise error

    monkeypatch.setattr(cli, '_parse', fail)
    if not message:
        assert explain_exhaustion(error) == ''
        with pytest.raises(RuntimeError, match='shapes differ'):
            cli.main([])
        return
    assert cli.main([]) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and re.match(message, said), said
