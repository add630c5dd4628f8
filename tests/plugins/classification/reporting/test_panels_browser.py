"""The panels of classifiers in a real browser."""

from __future__ import annotations

import pytest

from tests.support import classification_run_folders
from tests.support.browser import DESKTOP, PHONE, opened
from toolkit.report import page as report_page

pytestmark = pytest.mark.slow

CHART = '[data-chart=classifier]'


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    study = classification_run_folders.study(tmp_path_factory.mktemp('study') / 'study')
    assert report_page.write([study], study / 'report.html') == []
    return study / 'report.html'


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('size', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_it_opens_in_silence_and_does_not_scroll_sideways(browser, report, size, scheme):
    with opened(browser, report, size, color_scheme=scheme) as page:
        assert page.evaluate('document.documentElement.scrollWidth') == size[0]
        assert page.locator(f'{CHART} .main-svg').count() > 0
        assert page.locator('table.confusion').count() == 4
        assert page.locator('[data-looks] img').count() == 3
        assert page.locator('.mistakes img').count() > 0


def test_the_chart_follows_its_choices(browser, report):
    with opened(browser, report) as page:
        figure = page.locator(CHART)
        plot = figure.locator('.plot')

        def titles():
            return plot.evaluate('p => [p.layout.xaxis.title.text, p.layout.yaxis.title.text]')

        assert titles() == ['1 − specificity', 'sensitivity']
        names = plot.evaluate('p => p.data.filter((t) => t.name).map((t) => t.name)')
        assert [name.split(',')[0] for name in names] == ['full', 'no_attention']
        assert 'AUC' in names[0]
        assert not figure.locator('[data-role=class]').is_visible()
        traces = plot.evaluate('p => p.data.length')
        figure.locator('[data-role=bands]').uncheck()
        assert plot.evaluate('p => p.data.length') == traces - 4
        figure.locator('[data-role=kind]').select_option('pr')
        assert titles()[1] == 'precision (PPV)'
        figure.locator('[data-role=task]').select_option('shape')
        figure.locator('[data-role=class]').select_option('oval')
        figure.locator('[data-role=kind]').select_option('reliability')
        assert titles() == ['confidence', 'accuracy']
        before = plot.evaluate('p => [...p.data[1].x]')
        figure.locator('[data-role=before]').check()
        assert plot.evaluate('p => [...p.data[1].x]') != before
        ink = plot.evaluate('p => p._fullLayout.font.color')
        page.locator('.theme label', has_text='dark').click()
        assert plot.evaluate('p => p._fullLayout.font.color') != ink


def test_the_same_image_by_all_variants(browser, report):
    with opened(browser, report) as page:
        figure = page.locator('[data-looks]')
        captions = figure.locator('[data-role=row] figcaption b').all_inner_texts()
        assert captions == ['item0', 'full', 'no_attention']
        assert figure.locator('.wrong').count() == 2
        sources = 'e => [...e.querySelectorAll("img")].map((i) => i.src)'
        before = figure.evaluate(sources)
        assert len(set(before)) == 3
        figure.locator('[data-role=layer]').select_option('attention joint spatial')
        after = figure.evaluate(sources)
        assert after[0] == before[0] and after[1] != before[1]
        figure.locator('[data-role=item]').select_option('item1')
        assert 'no label' in figure.locator('figcaption').first.inner_text()
        assert figure.locator('.wrong').count() == 0
        loaded = 'e => [...e.querySelectorAll("img")].every((i) => i.complete && i.naturalWidth)'
        assert figure.evaluate(loaded)


def test_a_line_that_hides_another_is_named(browser, tmp_path):
    study = classification_run_folders.study(tmp_path / 'study')
    numbers = (study / 'runs/full-s0/figures/figures.json').read_text()
    for run in ('full-s1', 'no_attention-s0', 'no_attention-s1'):
        (study / 'runs' / run / 'figures/figures.json').write_text(numbers)
    assert report_page.write([study], tmp_path / 'report.html') == []
    with opened(browser, tmp_path / 'report.html') as page:
        caption = page.locator(CHART).locator('[data-role=caption]').text_content()
    assert 'The lines of full, no_attention are the same; the last one is seen.' in caption
    assert 'or 0.5 where none was' in caption
