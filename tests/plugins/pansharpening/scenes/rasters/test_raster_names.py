"""GDAL opens what a name asks for, and nothing that hides behind it."""

from __future__ import annotations

import http.server
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from plugins.pansharpening.scenes.open_scene import open_scene, read_image
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.rasters.raster_names import GdalName, find_raster
from tests.support.synthetic_rasters import write_geotiff
from toolkit.cli import main
from toolkit.errors import DataError

BAND = '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>{}</SimpleSource></VRTRasterBand>'


def vrt(source: str, relative: int = 0, size: int = 8) -> str:
    name = f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>'
    return f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}">{BAND.format(name)}</VRTDataset>'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / 'in').mkdir()
    monkeypatch.chdir(tmp_path / 'in')
    image = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    write_geotiff(Path('ms.tif'), image)
    write_geotiff(tmp_path / 'secret.tif', image)
    write_geotiff(Path('pan.tif'), np.ones((1, 16, 16), np.uint16))
    return tmp_path


@pytest.fixture
def requests():
    """Requests that a server on this machine gets."""
    found = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}', found
    server.shutdown()
    server.server_close()


def read(name: str, **options: object) -> np.ndarray:
    return read_image(name, 1, **options).values


def test_content_that_is_not_what_the_name_says_is_not_opened(folder: Path, requests) -> None:
    url, found = requests
    for name in ('a.tif', 'a.img', 'a.png', 'a', 'a.dat'):
        for content in (
            vrt(f'/vsicurl/{url}/x.tif'),
            vrt('../secret.tif', 1),
            f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/x</ServerUrl></Service></GDAL_WMS>',
        ):
            Path(name).write_text(content)
            with pytest.raises(DataError, match=f'{name} is a (VRT|WMS description), though'):
                read(name)
    Path('ms.tif.ovr').write_text(vrt(f'/vsicurl/{url}/x.tif'))
    with pytest.raises(DataError, match=r'ms.tif.ovr is no GeoTIFF'):
        read('ms.tif')
    assert found == []


def test_a_vrt_stays_in_its_folder_unless_it_is_allowed_to_leave(folder: Path, requests) -> None:
    url, found = requests
    Path('a.vrt').write_text(vrt('ms.tif', 1))
    assert read('a.vrt').sum() == 2016
    Path('nested.vrt').write_text(vrt('a.vrt', 1))
    assert read('nested.vrt').sum() == 2016
    (folder / 'b.vrt').write_text(vrt('secret.tif', 1))
    for source, relative in (
        ('../secret.tif', 1),
        (str(folder / 'secret.tif'), 0),
        (f'/vsicurl/{url}/x.tif', 0),
        (f'{url}/x.tif', 1),
        ('&lt;VRTDataset/&gt;', 0),
        ('../b.vrt', 1),
    ):
        Path('c.vrt').write_text(vrt(source, relative))
        with pytest.raises(DataError, match=r'names .* allow it with --outside'):
            read('c.vrt')
    assert found == []
    Path('c.vrt').write_text(vrt('../secret.tif', 1))
    assert read('c.vrt', outside=True).sum() == 2016
    Path('fake.tif').write_text(vrt('../secret.tif', 1))
    Path('c.vrt').write_text(vrt('fake.tif', 1))
    with pytest.raises(DataError, match='fake.tif, which is a VRT in spite of its name'):
        read('c.vrt')
    Path('c.vrt').write_text('<!DOCTYPE x [<!ENTITY a "b">]>' + vrt('ms.tif', 1))
    with pytest.raises(DataError, match='XML entities'):
        read('c.vrt')
    Path('b2.vrt').write_text(vrt('../secret.tif', 1))
    with pytest.raises(DataError, match='outside its folder'):
        _ = open_scene(['b2.vrt'], 'pan.tif', 'generic').bands
    assert RasterScene('b2.vrt', 'pan.tif', 'generic', outside=True).ratio == 2


def test_names_that_gdal_resolves_are_left_to_it(folder: Path, capfd) -> None:
    with zipfile.ZipFile('a.zip', 'w') as archive:
        archive.write('ms.tif', 'deep/ms.tif')
    name = f'/vsizip/{folder}/in/a.zip/deep/ms.tif'
    assert read(name).sum() == 2016
    scene = RasterScene(name, 'pan.tif', 'generic')
    assert (scene.ratio, scene.name) == (2, 'ms')
    assert folder / 'in' / 'a.zip' in scene.files()
    assert capfd.readouterr().err == ''  # of GDAL, about the archive, which is no raster
    assert len(scene.fingerprint()) == 16
    assert read('GTIFF_DIR:1:ms.tif').sum() == 2016
    assert find_raster('s3://bucket/a.tif') == GdalName('s3://bucket/a.tif')
    assert GdalName('https://x.org/a.tif?token=1').suffix == '.tif'
    assert find_raster(f'file://{folder}/in/ms.tif') == folder / 'in' / 'ms.tif'


@pytest.mark.parametrize(
    'output', ['/vsizip/a.zip/o.tif', 'http://127.0.0.1/o.tif', 's3://bucket/o.vrt']
)
def test_an_output_that_is_no_file_of_this_machine_is_refused(
    folder: Path, capsys, output: str
) -> None:
    before = sorted(Path.cwd().iterdir())
    words = f'predict baselines/exp --input ms.tif pan.tif --sensor generic --output {output}'
    assert main(words.split()) == 2
    assert 'in an archive or on another machine' in capsys.readouterr().err
    assert sorted(Path.cwd().iterdir()) == before


@pytest.mark.parametrize('output', ['o.jp2', 'o.img', 'o', 'o.npy', 'o.png'])
def test_an_output_whose_extension_is_another_format_is_refused(
    folder: Path, capsys, output: str
) -> None:
    words = f'predict baselines/exp --input ms.tif pan.tif --sensor generic --output {output}'
    assert main(words.split()) == 2
    assert 'o.tif' in capsys.readouterr().err
    assert not Path(output).exists()
