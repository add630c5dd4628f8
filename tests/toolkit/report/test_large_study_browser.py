"""The report of a study with axes in a real browser: filters, charts, comparisons, downloads."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.support.browser import PHONE, opened
from tests.support.study_folders import fail, finish, planned, write_plan, write_run
from toolkit.report import page as report_page

pytestmark = pytest.mark.slow

VARIANTS, WIDTHS, SEEDS = 5, (8, 16, 32), 2


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    """A study of five variants and three widths, one run of which has failed."""
    folder = tmp_path_factory.mktemp('study')
    runs = []
    for variant in range(VARIANTS):
        for width in WIDTHS:
            for seed in range(SEEDS):
                name = 'full' if variant == 0 else f'v{variant}'
                settings = {'model.width': width}
                runs.append(planned(name, seed, id=f'{name}-w{width}-s{seed}', settings=settings))
    write_plan(folder, runs, metrics={'score': True, 'error': False})
    for place, run in enumerate(runs):
        path, width = folder / run['folder'], run['settings']['model.width']
        score = 0.5 + place / 100
        finish(path, {'score': score, 'error': 1 - score}, seconds=float(width))
        rate = 0.1 if run['variant'] == 'full' else 0.2
        write_run(path, f'model: {{width: {width}}}\nlr: {rate}\nseed: {run["seed"]}\n')
    fail(folder / 'runs/v4-w32-s1', '=1+1, "broken"')
    return folder


@pytest.fixture(scope='module')
def report(study):
    """The report of the study, and of the same study under another name beside it."""
    report_page.write([study], study / 'report.html')
    return study / 'report.html'


def shown(page, table='s1-t1'):
    return page.locator(f'#{table} tbody tr:visible').count()


def test_filters_reach_tables_and_charts(browser, report):
    with opened(browser, report) as page:
        assert shown(page) == 15
        page.locator('.filters select[name="axis:model.width"]').select_option('16')
        assert shown(page) == 5
        assert page.locator('.filters output').inner_text() == '5 of 15 shown'
        page.locator('.filters [type=search]').fill('-full v')
        page.wait_for_function('() => document.querySelector(".filters output").value[0] === "4"')
        plot = page.locator('[data-chart=curves] .plot')
        plot.scroll_into_view_if_needed()
        page.wait_for_timeout(100)
        names = plot.evaluate(
            'p => p.data.filter((t) => t.showlegend !== false).map((t) => t.name)'
        )
        assert names == [f'v{n}, width=16' for n in range(1, 5)]
        page.locator('.filters button').click()
        page.wait_for_function('() => document.querySelector(".filters output").value === ""')
        page.locator('.filters select[name=status]').select_option('failed')
        assert shown(page) == 1
        assert shown(page, 's1-t4') == 1  # of the two runs of its condition
        page.reload()
        page.wait_for_selector('html[data-charts=drawn]', state='attached')
        assert shown(page) == 1  # as it was left


def test_at_most_twelve_curves_and_the_others_by_choice(browser, report):
    with opened(browser, report) as page:
        figure = page.locator('[data-chart=curves]')
        count = 'p => p.data.filter((t) => t.showlegend !== false).length'
        assert figure.locator('.plot').evaluate(count) == 12
        choose = figure.locator('[data-role=choose]')
        assert choose.locator('summary').inner_text() == '12 of 15 drawn'
        choose.locator('summary').click()
        boxes = choose.locator('input')
        free = [i for i in range(15) if not boxes.nth(i).is_checked()]
        assert all(boxes.nth(i).is_disabled() for i in free)
        taken = next(i for i in range(15) if i not in free)
        boxes.nth(taken).uncheck()
        boxes.nth(free[0]).check()
        drawn = 'p => p.data.filter((t) => t.showlegend !== false).map((t) => t.name)'
        labels = choose.locator('label').all_inner_texts()
        names = figure.locator('.plot').evaluate(drawn)
        assert labels[free[0]].strip() in names and labels[taken].strip() not in names


def test_curves_by_epoch_and_time(browser, report):
    with opened(browser, report) as page:
        figure = page.locator('[data-chart=curves]')
        ends = 'p => p.data.find((t) => t.hovertemplate).x.at(-1)'
        plot = figure.locator('.plot')
        assert plot.evaluate(ends) == 40
        figure.locator('[data-role=position]').select_option('epoch')
        assert plot.evaluate(ends) == pytest.approx(4)
        figure.locator('[data-role=position]').select_option('time of training, s')
        assert plot.evaluate(ends) == pytest.approx(0.4)
        figure.locator('[data-role=logx]').check()
        assert plot.evaluate('p => p._fullLayout.xaxis.type') == 'log'


def test_charts_over_axes_show_the_means(browser, report):
    with opened(browser, report) as page:
        cells = page.locator('[data-chart=map] .plot').evaluate('p => p.data[0].z')
        assert len(cells) == 5 and all(len(row) == 3 for row in cells)
        assert cells[0][0] == pytest.approx(0.505)
        assert cells[1][0] == pytest.approx((0.56 + 0.57) / 2)
        lines = page.locator('[data-chart=along] .plot').evaluate(
            'p => p.data.map((t) => [t.name, t.x, t.y[0]])'
        )
        assert len(lines) == 5
        assert lines[0] == ['full', [8, 16, 32], pytest.approx(0.505)]
        assert page.locator('[data-chart=parallel] .plot').evaluate('p => p.data.length') == 15
        points = page.locator('[data-chart=points] .plot').evaluate('p => p.data[0].x')
        assert len(points) == 2


def test_colours_are_of_variants_and_dashes_of_settings(browser, report):
    with opened(browser, report) as page:
        lines = page.locator('[data-chart=curves] .plot').evaluate(
            'p => p.data.filter((t) => t.showlegend !== false)'
            '.map((t) => [t.name, t.line.color, t.line.dash])'
        )
        colours, dashes = {}, {}
        for name, colour, dash in lines:
            variant, width = name.split(', ')
            assert colours.setdefault(variant, colour) == colour
            assert dashes.setdefault(width, dash) == dash
        assert len(set(colours.values())) == len(colours)
        assert len(set(dashes.values())) == 3


def test_two_runs_are_compared(browser, report):
    with opened(browser, report) as page:
        page.locator('#compare').scroll_into_view_if_needed()
        page.locator('[data-compare] [data-role=left]').fill('full-w8-s0')
        page.locator('[data-compare] [data-role=right]').fill('v1-w16-s1')
        page.locator('[data-compare] [data-role=right]').press('Enter')
        page.locator('h2#compare').click()
        text = page.locator('[data-compare] [data-role=found]').inner_text()
        for row in ('model.width 8 16', 'lr 0.1 0.2', 'seed 0 1', 'score 0.5 0.59 0.09'):
            assert row in ' '.join(text.split()), row
        names = page.locator('[data-chart=compared] .plot').evaluate(
            'p => p.data.map((t) => t.name)'
        )
        assert names == ['full-w8-s0', 'v1-w16-s1']
        page.locator('[data-compare] [data-role=left]').fill('nothing')
        page.locator('h2#compare').click()
        assert page.locator('[data-compare] [data-role=left]').evaluate('e => !e.validity.valid')


def test_columns_of_the_config_are_shown_on_demand(browser, report):
    with opened(browser, report) as page:
        head = page.locator('#s1-t1 thead th', has_text='lr')
        assert not head.is_visible()
        menu = page.locator('[data-columns="s1-t1"]')
        menu.locator('summary').click()
        menu.get_by_label('lr').check()
        assert head.is_visible()
        column = head.evaluate('e => e.cellIndex')
        cells = page.locator(f'#s1-t1 tbody tr :nth-child({column + 1})').all_inner_texts()
        assert cells == ['0.1'] * 3 + ['0.2'] * 12


def test_downloads_hold_the_values(browser, report):
    with opened(browser, report, accept_downloads=True) as page:

        def download(kind):
            with page.expect_download() as found:
                page.locator(f'[data-download={kind}]').click()
            return found.value.path().read_text(encoding='utf-8')

        rows = list(csv.DictReader(io.StringIO(download('runs'))))
        assert len(rows) == 30
        first = rows[0]
        assert (first['run'], first['model.width'], first['score'], first['lr']) == (
            ('full-w8-s0', '8', '0.5', '0.1')
        )
        assert rows[-1]['status'] == 'failed' and rows[-1]['score'] == ''
        data = json.loads(download('all'))
        assert data['runs'][1]['metrics'] == {'score': 0.51, 'error': 0.49}
        curves = list(csv.DictReader(io.StringIO(download('curves'))))
        loss = [row for row in curves if (row['run'], row['quantity']) == ('full-w8-s0', 'loss')]
        assert (loss[1]['iteration'], loss[1]['epoch'], loss[1]['value']) == ('2', '0.2', '0.5')


def test_contents_are_at_hand_on_a_phone(browser, report):
    with opened(browser, report, PHONE) as page:
        assert page.evaluate('document.documentElement.scrollWidth') == PHONE[0]
        page.evaluate('window.scrollTo(0, 3000)')
        summary = page.locator('.contents summary')
        assert summary.bounding_box()['y'] < 20
        summary.click()
        page.locator('.contents a', has_text='Training curves').click()
        page.wait_for_timeout(900)
        assert 0 < page.locator('#s1-curves').bounding_box()['y'] < 300
        assert not page.locator('.contents details').evaluate('e => e.open')
