"""The report without a browser: what is in it, what it refuses, and what a panel may do."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from tests.support.study_folders import (
    CAPSULE,
    fail,
    finish,
    planned,
    study_of,
    write,
    write_plan,
    write_run,
)
from toolkit.cli import main
from toolkit.errors import RunError, ToolkitError
from toolkit.io.verification import plugin_trust
from toolkit.registry import PANELS, plugin_index
from toolkit.report import page as report_page

SCORES = {'full': [0.70, 0.72, 0.69], 'other': [0.80, 0.83, None]}
HOSTILE = '</script><script>alert(1)</script>"\'&<u>'


@pytest.fixture
def study(tmp_path):
    return study_of(tmp_path / 'study', SCORES)


def page_of(*folders):
    output = folders[0].parent / 'report.html'
    notes = report_page.write(folders, output)
    return output.read_text(encoding='utf-8'), notes


def without_library(page):
    return re.sub(r'<script type="text/plain" id="library">.*?</script>', '', page, flags=re.S)


def test_it_stands_alone(study):
    page, notes = page_of(study)
    assert notes == []
    assert len(page.encode()) < 2_500_000
    rest = without_library(page)
    assert len(rest) < 120_000
    # No address of anywhere, in whatever attribute or style.
    assert not re.search(r'https?:|//[a-z]|url\(|@import', rest.replace('// ', ''))
    assert "default-src 'none'" in rest
    assert 'plotly.js v' in rest and 'MIT license' in rest


def test_it_says_what_was_asked_found_and_used(study):
    page, _ = page_of(study)
    text = re.sub(r'<[^>]+>', '', without_library(page))
    for expected in (
        '5 of 6 runs have finished, 1 failed.',
        '1 of 1 paired test against full is significant at 5 %',
        'compare_to: full',  # the study file
        '0.703 ± 0.015',
        '2 of 3',
        'loss is not finite',
        '0123456789ab',  # the commit
        'A CPU, 2 cores',
        'torch',
    ):
        assert expected in text, expected


@pytest.mark.parametrize('raw', ['<script>alert', '<u>'])
def test_nothing_from_files_is_markup(tmp_path, raw):
    runs = [planned('full'), planned(HOSTILE, id='x', settings={HOSTILE: HOSTILE}, data=HOSTILE)]
    runs[1]['changes'] = [HOSTILE]
    folder = write_plan(tmp_path / 'study', runs, study=HOSTILE, metrics={HOSTILE: True})
    (folder / 'study.yaml').write_text(HOSTILE)
    for run in runs:
        finish(folder / run['folder'], {HOSTILE: 0.5}, message=HOSTILE)
        write_run(folder / run['folder'], HOSTILE)
        write(
            folder / run['folder'] / 'capsule.json',
            {**CAPSULE, 'device': HOSTILE, 'status': HOSTILE},
        )
        line = json.dumps({'iter': 1, HOSTILE: 1.0})
        (folder / run['folder'] / 'metrics.jsonl').write_text(line + '\n')
    fail(folder / 'runs/x', HOSTILE)
    page, _ = page_of(folder, folder / 'runs/full-s0')
    assert raw not in page
    assert '&lt;u&gt;' in page


def test_several_studies_and_runs(tmp_path, study):
    other = study_of(tmp_path / 'other', {'full': [0.5]}, study='other')
    for name in ('a/run', 'b/run'):
        write_run(tmp_path / name)
        write(
            tmp_path / name / 'metrics.json', {'metrics': {'m': 0.25}, 'directions': {'m': False}}
        )
    page, _ = page_of(study, tmp_path / 'a/run', other, tmp_path / 'b/run')
    assert re.findall(r'<h1>(.*?)</h1>', page) == ['tiny', 'other', 'Single runs']
    assert '<li><a href="#s2">other</a>' in page
    assert 'a/run' in page and 'b/run' in page  # folders of one name are told apart
    single = page[page.index('id="s3"') :]
    assert '0.2500' in single and 'm ↓' in single and '60 s' in single


@pytest.mark.parametrize(
    ('status', 'shown'),
    [('running', 'running'), ('interrupted', 'interrupted'), ('failed: it blew up', 'it blew up')],
)
def test_a_run_that_did_not_finish(tmp_path, status, shown):
    write_run(tmp_path / 'run')
    write(tmp_path / 'run/capsule.json', {**CAPSULE, 'status': status, 'ended': None})
    page, _ = page_of(tmp_path / 'run')
    assert 'Runs without results' in page
    assert f'>{shown}</td>' in page
    assert f'The run {"is running" if status == "running" else "has failed"}.' in page


def test_what_cannot_be_reported(tmp_path, study):
    output = tmp_path / 'out.html'
    (tmp_path / 'empty').mkdir()
    cases = [
        ([], 'which DIR'),
        ([study, study.parent / 'study' / '..' / 'study'], 'is given twice'),
        ([tmp_path / 'nowhere'], 'no folder .*nowhere'),
        ([tmp_path / 'empty'], r'holds neither a study \(plan\.json\) nor a run \(capsule\.json\)'),
    ]
    for folders, message in cases:
        with pytest.raises(ToolkitError, match=message):
            report_page.write(folders, output)
    (study / 'plan.json').write_text('{')
    with pytest.raises(ToolkitError, match=r'plan\.json is damaged'):
        report_page.write([study], output)
    assert not output.exists()


def test_where_it_cannot_be_written(study, tmp_path):
    with pytest.raises(RunError, match=f'it is a folder; give the file: {tmp_path}/report.html'):
        report_page.write([study], tmp_path)
    with pytest.raises(RunError, match='cannot write'):
        report_page.write([study], study / 'plan.json' / 'report.html')
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(RunError, match='it is no regular file'):
        report_page.write([study], tmp_path / 'pipe')


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('capsule.json', '{', 'Expecting'),
        ('capsule.json', '[]', 'it is not an object'),
        ('capsule.json', json.dumps({**CAPSULE, 'seed': [[]]}), 'seed is not an integer'),
        ('capsule.json', json.dumps({**CAPSULE, 'started': 'x'}), 'Invalid isoformat'),
        ('metrics.json', '{"metrics": {"a": "b"}}', 'must be real number'),
        ('metrics.json', '{"metrics": 3}', 'no attribute'),
    ],
)
def test_damaged_runs_are_named(tmp_path, name, content, message):
    write_run(tmp_path / 'run')
    (tmp_path / 'run' / name).write_text(content)
    with pytest.raises(ToolkitError, match=f'run/{name} is damaged: .*{message}'):
        report_page.write([tmp_path / 'run'], tmp_path / 'r.html')


def test_a_damaged_capsule_of_a_study_costs_only_itself(study):
    (study / 'runs/full-s1/capsule.json').write_text('{"packages": 3, "hardware": [1]}')
    page, _ = page_of(study)
    assert 'damaged capsules' in page


# -- the command -----------------------------------------------------------------------------------


def test_the_command(study, tmp_path, monkeypatch, capsys):
    assert main(['report', str(study)]) == 0
    assert capsys.readouterr().out == f'wrote {study / "report.html"}\n'
    assert (study / 'report.html').exists()
    write_run(tmp_path / 'run')
    monkeypatch.chdir(tmp_path)
    assert main(['report', str(study), 'run']) == 0
    assert capsys.readouterr().out == 'wrote report.html\n'
    assert main(['report', 'run', '--output', 'deep/r.html']) == 0
    assert (tmp_path / 'deep/r.html').exists()
    assert main(['report', 'nowhere']) == 2
    assert capsys.readouterr().err == 'no folder nowhere; give folders of studies or runs\n'


# -- panels ----------------------------------------------------------------------------------------

PANEL = '''
from toolkit.registry import PANELS
from toolkit.report.panel import Panel, Rendered


@PANELS.register
class {name}(Panel):
    """A panel."""

    title = 'Panel {name}'
    style = '.mine {{ color: red; }}'
    script = 'window.mine = 1;'

    def render(self, runs, budget):
        {body}
'''


@pytest.fixture
def panel(tmp_path, monkeypatch):
    """Makes a plugin file with a panel; what it registers is gone afterwards."""
    for attribute in ('_roots', '_failures'):
        monkeypatch.setattr(plugin_index, attribute, dict(getattr(plugin_index, attribute)))
    monkeypatch.setattr(plugin_index, '_path_roots', set(plugin_index._path_roots))
    monkeypatch.setattr(plugin_index, '_index', None)
    monkeypatch.setattr(PANELS, '_module_dict', dict(PANELS._module_dict))

    def make(name, body):
        path = tmp_path / f'{name.lower()}_plugin.py'
        path.write_text(PANEL.format(name=name, body=body))
        return path

    yield make


def test_a_panel_is_shown_with_its_style_and_script(study, panel):
    body = "return Rendered('<p>' + ', '.join(f'{r.label}/{r.reference}' for r in runs) + '</p>')"
    plugin_index.add(str(panel('Labels', body)))
    page, notes = page_of(study)
    assert '<p>full/True, full/True, full/True, other/False, other/False, other/False</p>' in page
    assert 'Panel Labels</h2>' in page
    assert page.count('.mine { color: red; }') == page.count('window.mine = 1;') == 1
    assert notes == []


def test_only_scripts_of_the_page_and_its_panels_are_allowed(study, panel):
    """The browser runs a script only if its hash stands in the policy."""
    body = "return Rendered('<script>window.bad = 1;</script>')"
    plugin_index.add(str(panel('Scripted', body)))
    page, _ = page_of(study)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    sources = re.search(r'script-src ([^;]*);', policy)[1].split(' ')
    assert all(source.startswith("'sha256-") for source in sources)
    scripts = re.findall(r'<script>(.*?)</script>', page, flags=re.S)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = [f"'sha256-{found}'" in sources for found in hashes]
    assert [s for s, ok in zip(scripts, allowed) if not ok] == ['window.bad = 1;']
    assert sum(allowed) >= 3


def test_panels_without_content_failing_and_too_large(study, panel):
    plugin_index.add(str(panel('Nothing', 'return None')))
    plugin_index.add(str(panel('Broken', "raise ValueError('no <b>luck')")))
    plugin_index.add(str(panel('Large', "return Rendered('x' * (budget + 1))")))
    plugin_index.add(str(panel('Full', "return Rendered('y' * budget)")))
    page, notes = page_of(study)
    assert 'Panel Nothing</h2>' not in page
    place = r'the panel Broken failed: ValueError at .*\.py:\d+: no &lt;b&gt;luck'
    assert re.search(place, page)
    assert any(note.startswith('Panel Large left out: ') for note in notes)
    assert 'yyyyyyyy' in page
    assert len(page.encode()) <= report_page.LIMIT


def test_panels_of_the_plugins_that_runs_name(study, panel):
    """Each run keeps a copy of its own; the panel is there once. One that is gone does no harm."""
    plugin = panel('Kept', "return Rendered('<p>kept</p>')")
    for run in (study / 'runs').iterdir():
        if (run / 'capsule.json').exists():
            write(run / 'plugins' / plugin.name, None)
            (run / 'plugins' / plugin.name).write_text(plugin.read_text())
            config = {'plugins': [str(plugin), '/gone/other.py']}
            write(run / 'capsule.json', {**CAPSULE, 'config': config})
    plugin.unlink()
    page, notes = page_of(study)
    assert 'kept_plugin.py are not shown: it is code that this user has not run' in notes[0]
    plugin_trust.trust_in_process(study / 'runs' / 'full-s0' / 'plugins' / plugin.name)
    page, notes = page_of(study)
    assert page.count('<p>kept</p>') == 1
    (note,) = notes
    assert 'no plugin file /gone/other.py (of full-s0)' in note
    page, _ = page_of(study)  # a second report of one process
    assert page.count('<p>kept</p>') == 1


def test_a_plugin_that_cannot_be_imported_is_named(study, panel):
    path = panel('Bad', 'return None')
    path.write_text('import nothing_of_that_name\n' + path.read_text())
    plugin_index.add(str(path))
    page, notes = page_of(study)
    (note,) = notes
    assert note.startswith('the panel Bad cannot be used: the plugin bad_plugin failed to import')
    assert 'ModuleNotFoundError' in note
    assert 'the panel Bad cannot be used' in page


def test_the_panel_that_the_docs_show(study, panel, tmp_path):
    docs = Path(__file__).parents[3] / 'docs' / 'guides' / 'reports.md'
    (tmp_path / 'shown_plugin.py').write_text(
        re.search('```python\n(.*?)```', docs.read_text(), re.S)[1]
    )
    plugin_index.add(str(tmp_path / 'shown_plugin.py'))
    (study / 'runs/other-s1/train.log').write_text('first\nlast <line>\n')
    page, _ = page_of(study)
    assert '<pre class="last-lines">other: last &lt;line&gt;</pre>' in page
