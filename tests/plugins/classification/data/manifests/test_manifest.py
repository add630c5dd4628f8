import csv
import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from plugins.classification.data.manifests.manifest import read_manifest
from plugins.classification.data.manifests.manifest_columns import COLUMNS
from plugins.classification.tasks import Task
from tests.support.images_on_disk import write_image
from toolkit.errors import MissingDataError, ToolkitError

TASKS = {'kind': Task(('benign', 'malignant'), 'malignant'), 'shape': Task(('oval', 'round'))}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    for name in 'abc':
        Image.fromarray(np.zeros((10, 20), np.uint8)).save(tmp_path / f'images/{name}.png')
    return tmp_path


def written(folder, text, name='m.csv'):
    (folder / name).write_text(text, encoding='utf-8')
    return folder / name


def read(folder, text, tasks=TASKS, **options):
    return read_manifest(written(folder, text), tasks, **options)


def mistakes(folder, text, tasks=TASKS, **options):
    with pytest.raises(ToolkitError) as caught:
        read(folder, text, tasks, **options)
    return str(caught.value).replace(f'{folder}/', '').split('\n')


def test_all_that_a_row_may_say(folder):
    manifest = read(
        folder,
        'image,id,patient,centre,frame,boxes,kind,shape,age\n'
        'images/a.png,x,p1,north,,"1,2,3,4;5,6,7,8.5",malignant,,41\n'
        'images/b.png,y,y,,0,,,round,\n',
    )
    first, second = manifest.records
    assert (first.id, first.patient, first.centre) == ('x', 'p1', 'north')
    assert first.path == folder / 'images/a.png'
    assert first.boxes == ((1, 2, 3, 4), (5, 6, 7, 8.5))
    assert (first.labels, first.attributes) == ({'kind': 'malignant'}, {'age': '41'})
    assert (second.patient, second.centre, second.labels) == ('y', '', {'shape': 'round'})
    assert manifest.locate(1) == f'{folder}/m.csv:3'


def test_without_ids_the_path_is_one_and_frames_are_told_apart(folder):
    manifest = read(folder, 'image,frame\nimages/a.png,0\nimages/a.png,1\nimages/b.png,\n', {})
    assert [record.id for record in manifest.records] == [
        'images/a.png#0',
        'images/a.png#1',
        'images/b.png',
    ]
    assert [record.patient for record in manifest.records] == [r.id for r in manifest.records]
    assert [record.frame for record in manifest.records] == [0, 1, 0]


def test_a_files_own_names_for_columns_and_classes(folder):
    manifest = read(
        folder,
        'image,case_id,birads,box\nimages/a.png,7,2,"0.1,0.2,0.5,1"\nimages/b.png,7,5,\n'
        'images/c.png,8,x,\n',
        {'kind': TASKS['kind']},
        columns={'patient': 'case_id', 'kind': 'birads', 'relative_boxes': 'box'},
        values={'kind': {'2': 'benign', '5': 'malignant', 'x': None}},
    )
    assert [record.labels for record in manifest.records] == [
        {'kind': 'benign'},
        {'kind': 'malignant'},
        {},
    ]
    assert [record.patient for record in manifest.records] == ['7', '7', '8']
    assert manifest.records[0].boxes == ((2, 2, 10, 10),)  # of 20 x 10 pixels
    assert manifest.records[0].attributes == {}


def test_all_mistakes_are_told_at_once(folder):
    found = mistakes(
        folder,
        'image,frame,boxes,kind,shape\n'
        'images/a.png,,,benign,round\n'
        'images/d.png,,,bening,round\n'
        'images,,,,\n'
        '../x.png,,,,\n'
        'images/b.png,-1,"1,2,3",,\n'
        'images/c.png,,"5,5,2,9",,square,1\n'
        'images/./a.png,,,,\n',
    )
    assert [line.split(': ')[0] for line in found] == [
        f'm.csv:{line}' for line in (3, 3, 4, 5, 6, 6, 7, 8)
    ]
    told = '\n'.join(found)
    for expected in (
        "image: no file images/d.png; did you mean 'a.png' or",
        "kind is 'bening', which is no class of kind; did you mean 'benign'?; there are: benign",
        '../x.png leaves the folder of the manifest',
        "frame: expected a whole number from 0, found '-1'",
        "boxes: expected x0,y0,x1,y1, found '1,2,3'",
        'found 6 values, expected 5, one for each column',
        'the image images/a.png is that of line 2 too; each image has one row',
    ):
        assert expected in told, told


@pytest.mark.parametrize(
    ('text', 'options', 'message'),
    [
        ('picture,kind,shape\n', {}, "m.csv:1: no column 'image'"),
        ('image,kind\n', {}, "m.csv:1: no column for the task 'shape'"),
        ('image,kind,shape,kind\n', {}, "m.csv:1: the column 'kind' is there twice"),
        ('image,kind,shape\n', {}, 'm.csv:1: found no image, expected one row for each'),
        ('image;kind,shape\n', {}, 'separated by'),
        ('image,kind,shape,pacient\n', {}, "is the column 'pacient' meant as 'patient'?"),
        ('image,kind,shape,patient_id\n', {}, "is the column 'patient_id' meant as 'patient'?"),
        ('image,kind,shape,center\n', {}, "is the column 'center' meant as 'centre'?"),
        (
            'image,kind,shape,case_id\n',
            {'columns': {'patient': 'caseid'}},
            "no column 'caseid' for patient; did you mean 'case_id'?",
        ),
        ('', {'columns': {'pateint': 'x'}}, "'pateint' is neither a task nor known; did you mean"),
        ('', {'values': {'kid': {}}}, "values: there is no task 'kid'; did you mean 'kind'?"),
        (
            '',
            {'values': {'kind': {'2': 'malign'}}},
            "values: '2' of kind is 'malign', which is no class; did you mean 'malignant'?",
        ),
        ('', {'tasks': {'patient': TASKS['kind']}}, "a task cannot be named 'patient'"),
        ('image,kind,shape,id\nimages/a.png,,,x\nimages/b.png,,,x\n', {}, "m.csv:3: the id 'x' is"),
        (
            'image,kind,shape,relative_boxes\nimages/a.png,,,"0,0,5,5"\n',
            {},
            'm.csv:2: relative_boxes: expected fractions from 0 to 1, found 5',
        ),
        (
            'image,kind,shape,boxes,relative_boxes\n',
            {},
            'found boxes and relative_boxes; keep one of them',
        ),
    ],
)
def test_mistakes(folder, text, options, message):
    assert message in '\n'.join(mistakes(folder, text, **options))


def test_a_column_may_be_said_not_to_be_meant(folder):
    manifest = read(folder, 'image,center\nimages/a.png,3\n', {}, columns={'centre': None})
    assert manifest.records[0].attributes == {'center': '3'}
    assert manifest.records[0].centre == ''


def test_no_more_mistakes_are_told_than_can_be_read(folder):
    rows = ''.join(f'images/{i}.png\n' for i in range(100))
    found = mistakes(folder, f'image\n{rows}', {})
    assert len(found) == 41
    assert found[-1] == 'and 60 mistakes more like these'


def test_paths_outside_may_be_allowed(folder):
    (folder / 'sub').mkdir()
    path = written(folder / 'sub', f'image\n../images/a.png\n{folder}/images/b.png\n')
    with pytest.raises(ToolkitError, match=r'm.csv:3: image: /.* leaves the folder'):
        read_manifest(path, {})
    assert len(read_manifest(path, {}, outside=True).records) == 2


def test_a_link_counts_as_what_it_leads_to(folder):
    os.symlink(folder / 'images/a.png', folder / 'images/link.png')
    assert 'images/link.png is that of line 2 too' in '\n'.join(
        mistakes(folder, 'image\nimages/a.png\nimages/link.png\n', {})
    )


def test_it_is_found_in_the_data_folder(folder, monkeypatch):
    written(folder, 'image\nimages/a.png\n')
    monkeypatch.setenv('TOOLKIT_DATA', str(folder))
    assert len(read_manifest('m.csv', {}).records) == 1
    with pytest.raises(MissingDataError, match='no file n.csv'):
        read_manifest('n.csv', {})


def test_parquet_is_the_same_as_csv(folder):
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    columns = {
        'image': ['images/a.png', 'images/b.png'],
        'patient': [1.0, 2.0],
        'boxes': [[[1.0, 2.0, 3.0, 4.5]], None],
        'kind': ['benign', None],
        'shape': [None, 'oval'],
    }
    parquet.write_table(pyarrow.table(columns), folder / 'm.parquet')
    found = read_manifest(folder / 'm.parquet', TASKS)
    text = 'image,patient,boxes,kind,shape\nimages/a.png,1,"1,2,3,4.5",benign,\n'
    expected = read(folder, text + 'images/b.png,2,,,oval\n')
    assert found.records == expected.records
    assert found.digest == expected.digest


cell = st.text(st.characters(exclude_categories=['Cs', 'Cc']), max_size=8)


@pytest.mark.parametrize(
    ('one', 'other'),
    [('001', '1'), ('1', '1.0'), ('P1', 'p1'), ('P 1', 'P1'), ('P01', 'P1'), ('a  b', 'a b')],
)
def test_spellings_of_one_patient_are_refused(folder, one, other):
    text = f'image,case\nimages/a.png,{one}\nimages/b.png,Q7\nimages/c.png,{other}\n'
    columns = {'patient': 'case'}
    (found,) = mistakes(folder, text, {}, columns=columns)
    told = f"m.csv:4: the patients '{one}' (line 2), '{other}' (line 4) differ only in case"
    assert found.startswith(told)
    assert '`patients: as_written`' in found
    records = read(folder, text, {}, columns=columns, patients='as_written').records
    assert [record.patient for record in records] == [one, 'Q7', other]


@pytest.mark.parametrize(
    ('one', 'other'), [('1.05', '1.5'), ('1 11', '11 1'), ('10', '1'), ('0', '00a')]
)
def test_different_patients_are_not_taken_for_one(folder, one, other):
    text = f'image,patient\nimages/a.png,{one}\nimages/b.png,{other}\n'
    records = read(folder, text, {}).records
    assert [record.patient for record in records] == [one, other]


def test_a_blank_patient_is_a_mistake_of_its_line(folder):
    text = 'image,case\nimages/a.png,\nimages/b.png,1\nimages/c.png, \n'
    found = mistakes(folder, text, {}, columns={'patient': 'case'})
    assert [line.split('; ')[0] for line in found] == [
        'm.csv:2: case is blank',
        'm.csv:4: case is blank',
    ]
    records = read(folder, text, {}, columns={'patient': None}).records
    assert [record.patient for record in records] == [record.id for record in records]


@pytest.mark.parametrize('name', ['NA', 'nan', 'Unknown', '?'])
def test_unknown_patients_are_not_one_patient(folder, name):
    text = f'image,patient\nimages/a.png,{name}\nimages/b.png,1\nimages/c.png,{name}\n'
    (found,) = mistakes(folder, text, {})
    assert found.startswith(f"m.csv:4: patient is '{name}', as in line 2: that is how tables write")
    assert len(read(folder, text, {}, patients='as_written').records) == 3
    assert len(read(folder, text.replace(f'c.png,{name}', 'c.png,2'), {}).records) == 3


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp('manifest')
    count = data.draw(st.integers(1, 4))
    names = [column for column in ('patient', 'centre', 'note') if data.draw(st.booleans())]
    rows = []
    for number in range(count):
        (folder / f'{number}.png').touch()
        row = {'image': f'{number}.png', 'kind': data.draw(st.sampled_from(['', 'benign']))}
        row |= {name: data.draw(cell) for name in names if name != 'patient'}
        if 'patient' in names:
            row['patient'] = data.draw(cell.filter(str.strip))
        rows.append(row)
    columns = data.draw(st.permutations(list(rows[0])))
    file = io.StringIO(newline='')
    writer = csv.DictWriter(
        file,
        columns,
        lineterminator=data.draw(st.sampled_from(['\n', '\r\n'])),
        quoting=data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    writer.writeheader()
    writer.writerows(rows)
    mark = data.draw(st.sampled_from(['', '\ufeff']))
    (folder / 'm.csv').write_text(mark + file.getvalue(), encoding='utf-8', newline='')
    manifest = read_manifest(folder / 'm.csv', {'kind': TASKS['kind']}, patients='as_written')
    for row, record in zip(rows, manifest.records, strict=True):
        assert record.path == folder / row['image']
        assert record.patient == (row.get('patient', '').strip() or row['image'])
        assert record.centre == row.get('centre', '').strip()
        assert record.labels == ({'kind': 'benign'} if row['kind'] else {})
        assert record.attributes == {n: row[n].strip() for n in names if n not in COLUMNS}


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=60), head=st.sampled_from([b'', b'image,kind\n', b'image\n']))
def test_whatever_the_file_holds_it_is_read_or_explained(tmp_path_factory, content, head):
    path = tmp_path_factory.mktemp('manifest') / 'm.csv'
    path.write_bytes(head + content)
    with pytest.raises(ToolkitError):
        read_manifest(path, {'kind': TASKS['kind']})


def test_paths_with_backslashes_are_read(tmp_path):
    write_image(tmp_path / 'images/0.png', 0)
    text = 'image;patient\nimages\\\\0.png;1\n'.replace('\\\\', '\\')
    (tmp_path / 'windows.csv').write_text(text)
    (record,) = read_manifest(tmp_path / 'windows.csv', {}).records
    assert record.path == tmp_path / 'images/0.png'
    (tmp_path / 'windows.csv').write_text(text.replace('images', '..'))
    with pytest.raises(ToolkitError, match='leaves the folder'):
        read_manifest(tmp_path / 'windows.csv', {})
