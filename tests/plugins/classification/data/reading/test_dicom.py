import io
import logging

import numpy as np
import pytest
from PIL import Image

from plugins.classification.data.reading import dicom
from plugins.classification.data.reading.image_io import read_image, read_image_size
from toolkit.errors import DataError

pydicom = pytest.importorskip('pydicom')
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

GREY = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)


def write(path, pixels, photometric='MONOCHROME2', frames=None, bits=None, **tags):
    """A DICOM file: (H, W), (H, W, 3), or with `frames` one of them each."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = tags.pop('syntax', ExplicitVRLittleEndian)
    data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID = 'Doe^Jane', '4711'
    if pixels is not None:
        shape = pixels.shape[1:] if frames else pixels.shape
        data.Rows, data.Columns = shape[:2]
        data.SamplesPerPixel = shape[2] if len(shape) == 3 else 1
        data.PhotometricInterpretation = photometric
        data.BitsAllocated = pixels.dtype.itemsize * 8
        data.BitsStored = bits or data.BitsAllocated
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = int(pixels.dtype.kind == 'i')
        if data.SamplesPerPixel == 3:
            data.PlanarConfiguration = 0
        if frames:
            data.NumberOfFrames = frames
        content = pixels.tobytes()
        data.PixelData = content + b'\0' * (len(content) % 2)
        data['PixelData'].VR = 'OB' if data.BitsAllocated == 8 else 'OW'
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def test_grey_and_its_inverse(tmp_path):
    found = read_image(write(tmp_path / 'a.dcm', GREY))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, GREY / 255, atol=1e-6)
    found = read_image(write(tmp_path / 'b', GREY, 'MONOCHROME1'))  # known by its mark
    np.testing.assert_allclose(found, 1 - GREY / 255, atol=1e-6)
    assert read_image_size(tmp_path / 'b') == (2, 3)


def test_signed_rescaled_and_windowed(tmp_path):
    values = np.array([[-1000, 0], [50, 3000]], dtype=np.int16)
    hounsfield = {'bits': 12, 'RescaleSlope': 1, 'RescaleIntercept': -24}
    found = read_image(write(tmp_path / 'a.dcm', np.minimum(values, 2047), **hounsfield))
    np.testing.assert_allclose(found, (np.minimum(values, 2047) + 2048) / 4095, atol=1e-6)
    window = {'WindowCenter': [26, 0], 'WindowWidth': [101, 1]}
    found = read_image(write(tmp_path / 'b.dcm', values, RescaleSlope=1, **window))
    # From c - 0.5 - (w - 1) / 2 = -24.5 to 75.5.
    np.testing.assert_allclose(found, [[0, 0.245], [0.745, 1]], atol=1e-6)


def test_rgb_ybr_and_palette(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        read_image(write(tmp_path / 'a.dcm', colour, 'RGB')), colour / 255, atol=1e-6
    )
    grey = np.zeros((2, 2, 3), dtype=np.uint8) + np.array([77, 128, 128], dtype=np.uint8)
    found = read_image(write(tmp_path / 'b.dcm', grey, 'YBR_FULL'))
    np.testing.assert_allclose(found, 77 / 255, atol=1e-6)
    tables = {}
    for name, entries in (('Red', [0, 255]), ('Green', [10, 100]), ('Blue', [20, 0])):
        tables[f'{name}PaletteColorLookupTableDescriptor'] = [2, 0, 8]
        tables[f'{name}PaletteColorLookupTableData'] = bytes(entries)
    path = write(tmp_path / 'c.dcm', np.array([[0, 1]], np.uint8), 'PALETTE COLOR', **tables)
    np.testing.assert_allclose(
        read_image(path), np.array([[[0, 10, 20], [255, 100, 0]]]) / 255, atol=1e-6
    )


def test_frames(tmp_path):
    path = write(tmp_path / 'a.dcm', np.stack([GREY, 255 - GREY]), frames=2)
    np.testing.assert_allclose(read_image(path, 1), 1 - GREY / 255, atol=1e-6)
    with pytest.raises(DataError, match='has no frame 2; it has 2'):
        read_image(path, 2)


def test_the_largest_region_of_tissue(tmp_path):
    def region(x0, y0, x1, y1, kind=1):
        item = Dataset()
        item.RegionSpatialFormat, item.RegionDataType = 1, kind
        item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
        item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
        return item

    image = np.zeros((20, 30), dtype=np.uint8)
    regions = [region(0, 0, 3, 3), region(4, 5, 19, 14), region(0, 0, 29, 19, kind=10)]
    path = write(tmp_path / 'a.dcm', image, SequenceOfUltrasoundRegions=regions)
    assert dicom.region(path) == (4, 5, 20, 15)
    assert dicom.region(write(tmp_path / 'b.dcm', image)) is None


def test_burned_in_text_is_warned_of_once(tmp_path, caplog):
    path = write(tmp_path / 'a.dcm', GREY, BurnedInAnnotation='YES')
    with caplog.at_level(logging.WARNING):
        read_image(path)
        read_image(path)
    assert [record.getMessage() for record in caplog.records] == [
        f'{path} says that text is burned into its pixels, maybe of a patient'
    ]


def test_no_tag_of_a_patient_is_read(tmp_path):
    data = dicom._opened(write(tmp_path / 'a.dcm', GREY), 0, pixels=True)
    assert 'Rows' in data
    assert not [element.name for element in data if 'Patient' in element.name]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'pixels': None}, 'holds no pixels'),
        ({'photometric': 'HSV'}, "photometric interpretation 'HSV' is not known"),
        ({'RescaleSlope': 0, 'RescaleIntercept': 0}, 'its rescaling maps all values to 0'),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, change, message):
    arguments = {'pixels': GREY, **change}
    path = write(tmp_path / 'a.dcm', **arguments)
    with pytest.raises(DataError, match=f'a.dcm.*{message}'):
        read_image(path)


def test_a_compression_without_a_decoder_is_named(tmp_path, monkeypatch):
    from pydicom.encaps import encapsulate

    path = write(tmp_path / 'a.dcm', GREY)
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate([b'\xff\xd8\xff\xd9'])
    data['PixelData'].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.save_as(path)
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, '_available', {})
    with pytest.raises(DataError, match='a.dcm is compressed as JPEG-LS Lossless.*pylibjpeg'):
        read_image(path)


def test_cut_and_foreign_files(tmp_path):
    path = write(tmp_path / 'a.dcm', np.zeros((64, 64), np.uint8))
    content = path.read_bytes()
    for length in (140, 400, len(content) - 2000):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match='a.dcm'):
            read_image(path)
    path.write_bytes(b'no DICOM at all')
    with pytest.raises(DataError, match='lacks the mark DICM'):
        read_image(path)


def test_without_pydicom(tmp_path, monkeypatch):
    import sys

    path = write(tmp_path / 'a.dcm', GREY)
    monkeypatch.setitem(sys.modules, 'pydicom', None)
    with pytest.raises(DataError, match=r"pip install 'ablakit\[dicom\]'"):
        read_image(path)


def test_a_dataset_takes_the_region_and_moves_its_boxes(tmp_path):
    from plugins.classification.data.image_files import ManifestImages
    from plugins.classification.tasks import Task
    from plugins.classification.transforms.general import BoxCrop

    item = Dataset()
    item.RegionSpatialFormat = item.RegionDataType = 1
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 4, 5
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 19, 14
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30), dtype=np.uint8)
    write(tmp_path / 'a.dcm', pixels, SequenceOfUltrasoundRegions=[item])
    (tmp_path / 'm.csv').write_text('image,kind,boxes\na.dcm,x,"6,7,10,11"\n')

    def image(size, **options):
        data = ManifestImages(
            str(tmp_path / 'm.csv'), {'kind': Task(('x', 'y'))}, size=size, channels=1, **options
        )
        return data.pool_image(0)[0].numpy()

    region = pixels[5:15, 4:20] / 255
    np.testing.assert_allclose(image(10, region=True, fit='crop'), region[:, 3:13], atol=1e-6)
    box = {'box': BoxCrop(margin=0)}
    for taken in (True, False):
        found = image(4, region=taken, transforms=box)
        np.testing.assert_allclose(found, pixels[7:11, 6:10] / 255, atol=1e-6)


def compress(path, syntax, form, frames=1, share=1.0, **options):
    """A DICOM file whose first compressed frame has lost its end, but for `share`."""
    from pydicom.encaps import encapsulate

    values = [
        np.uint8(np.add.outer(3 * np.arange(64), np.arange(64)) // 2 + 10 * i)
        for i in range(frames)
    ]
    content = []
    for image in values:
        file = io.BytesIO()
        Image.fromarray(image).save(file, form, **options)
        content.append(file.getvalue())
    content[0] = content[0][: int(len(content[0]) * share) // 2 * 2]
    write(
        path, np.stack(values) if frames > 1 else values[0], frames=frames if frames > 1 else None
    )
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate(content)
    data['PixelData'].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path)
    return path


@pytest.mark.parametrize(
    ('syntax', 'form', 'options'),
    [(JPEGBaseline8Bit, 'JPEG', {}), (JPEG2000Lossless, 'JPEG2000', {'no_jp2': True})],
)
def test_compressed_pixels_that_are_cut_are_refused_as_cut(tmp_path, syntax, form, options):
    path = compress(tmp_path / 'whole.dcm', syntax, form, 2, **options)
    assert read_image(path, 1).shape == (64, 64)
    for share in (0.98, 0.6, 0.2):
        cut = compress(tmp_path / 'cut.dcm', syntax, form, 2, share, **options)
        with pytest.raises(DataError, match='cut.dcm is cut: the compressed pixels of frame 0'):
            read_image(cut)
        assert read_image(cut, 1).shape == (64, 64)
    content = path.read_bytes()
    start = content.find(b'\xe0\x7f\x10\x00')
    for share in (0.9, 0.5, 0.05):
        path.write_bytes(content[: start + int(share * (len(content) - start))])
        with pytest.raises(DataError, match='whole.dcm is cut: it ends within its pixels'):
            read_image(path)


def test_damaged_compression_is_not_blamed_on_a_missing_decoder(tmp_path):
    path = write(tmp_path / 'a.dcm', np.uint8(np.add.outer(np.arange(64), np.arange(64)) // 8))
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.PixelData = data.PixelData[:100] + data.PixelData[200:]
    data.save_as(path)
    with pytest.raises(DataError, match='a.dcm .*cut'):
        read_image(path)
