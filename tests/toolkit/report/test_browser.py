"""The report in a real browser: at the sizes of a desk and of a phone, in light and dark."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.browser import DESKTOP, PHONE, opened
from tests.support.study_folders import fail, finish, study_of, write_run
from toolkit.report import page as report_page

pytestmark = pytest.mark.slow

SCORES = {
    'full': [0.70, 0.72, 0.69],
    'a_variant_with_a_long_name': [0.80, 0.83, 0.78],
    'no_kl': [0.71, None, 0.70],
    'gone': [None, None, None],
}
HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script>'


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """Two studies and a run."""
    folder = tmp_path_factory.mktemp('report')
    first = study_of(folder / 'first', SCORES, study='first')
    for place, run in enumerate(sorted((first / 'runs').iterdir())):
        if (run / 'config.yaml').exists():
            write_run(run, f'model: {{width: {place}}}\n', level=1 + place / 10)
    fail(first / 'runs/gone-s0', HOSTILE)
    second = study_of(folder / 'second', {'full': [0.1, 0.2], HOSTILE: [0.3, 0.5]}, study=HOSTILE)
    finish(second / 'runs/full-s0', {'score': 0.1}, seconds=30.0)
    write_run(folder / 'single')
    report_page.write([first, second, folder / 'single'], folder / 'report.html')
    return folder / 'report.html'


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('size', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_it_opens_in_silence_and_does_not_scroll_sideways(browser, report, size, scheme):
    with opened(browser, report, size, color_scheme=scheme) as page:
        assert page.evaluate('document.documentElement.scrollWidth') == size[0]
        assert page.locator('.plot .main-svg').count() > 0
        assert page.evaluate('document.documentElement.dataset.theme') == scheme
        assert page.locator('article').count() == 3


def test_the_browser_refuses_scripts_that_are_not_of_the_page(browser, report, tmp_path):
    text = report.read_text(encoding='utf-8')
    script = '<main><script>window.bad = 1</script><img src="x" onerror="window.bad = 2">'
    (tmp_path / 'report.html').write_text(text.replace('<main>', script, 1), encoding='utf-8')
    refused = pytest.raises(AssertionError, match='Content Security Policy')
    with refused, opened(browser, tmp_path / 'report.html') as page:
        assert page.evaluate('window.bad === undefined')


def rows(page):
    cells = page.locator('#s1-t1 tbody th').all_inner_texts()
    return [cell.strip().split(' ')[0] for cell in cells]


def test_tables_sort_by_click_and_key_with_missing_values_last(browser, report):
    with opened(browser, report) as page:
        planned = ['full', 'a_variant_with_a_long_name', 'no_kl', 'gone']
        assert rows(page) == planned
        button = page.get_by_role('button', name='score ↑').first
        button.click()
        head = page.locator('#s1-t1 thead th').nth(2)
        # The best first: the highest score, the shortest time.
        assert head.get_attribute('aria-sort') == 'descending'
        assert rows(page) == ['a_variant_with_a_long_name', 'no_kl', 'full', 'gone']
        button.press('Enter')
        assert head.get_attribute('aria-sort') == 'ascending'
        assert rows(page) == ['full', 'no_kl', 'a_variant_with_a_long_name', 'gone']
        page.locator('#s1-t1 thead th', has_text='time').get_by_role('button').click()
        time = page.locator('#s1-t1 thead [aria-sort]')
        assert time.get_attribute('aria-sort') == 'ascending'
        page.get_by_role('button', name='variant').first.press('Space')
        assert rows(page) == ['a_variant_with_a_long_name', 'full', 'gone', 'no_kl']
        assert head.get_attribute('aria-sort') is None


def test_a_wide_table_scrolls_in_its_own_box(browser, report):
    with opened(browser, report, PHONE) as page:
        box = page.locator('.scroll').first
        assert box.evaluate('e => e.scrollWidth > e.clientWidth')
        box.evaluate('e => { e.scrollLeft = 200; }')
        left = page.locator('#s1-t1 tbody th').first.bounding_box()['x']
        assert left == pytest.approx(box.bounding_box()['x'], abs=1)  # names stay in sight


def hover(page, plot, fraction):
    plot.scroll_into_view_if_needed()
    area = plot.locator('.nsewdrag').first.bounding_box()
    for x in range(3):
        page.mouse.move(area['x'] + area['width'] * fraction + x, area['y'] + area['height'] * 0.9)
    return plot.locator('.hoverlayer')


def test_curves_answer_to_the_pointer_smoothing_and_scales(browser, report):
    with opened(browser, report) as page:
        figure = page.locator('[data-chart=curves]').first
        plot = figure.locator('.plot')
        label = hover(page, plot, 0.5).locator('.hovertext')
        label.wait_for()
        assert 'iteration' in label.text_content()
        assert re.search(r'to .*, [23] runs', label.text_content())

        def values():
            return plot.evaluate('p => [...p.data.find((t) => t.hovertemplate).y]')

        before = values()
        figure.locator('[data-role=smoothing]').fill('0.9')
        assert figure.locator('output').inner_text() == '0.90'
        after = values()
        assert before[0] == after[0]
        assert after[-1] > before[-1]  # the loss falls, and its average lags behind
        figure.locator('[data-role=log]').check()
        assert plot.evaluate('p => p._fullLayout.yaxis.type') == 'log'
        traces = plot.evaluate('p => p.data.length')
        figure.locator('[data-role=each]').check()
        assert plot.evaluate('p => p.data.length') != traces
        figure.locator('[data-role=quantity]').select_option('val: score')
        assert plot.evaluate('p => p.layout.yaxis.title.text') == 'val: score'


def test_the_trade_off_follows_its_choices(browser, report):
    with opened(browser, report) as page:
        figure = page.locator('[data-chart=trade]').first
        plot = figure.locator('.plot')
        points = plot.evaluate("p => p.data.filter((t) => t.mode === 'markers').map((t) => t.name)")
        assert figure.locator('[data-role=cost]').input_value() == 'parameters'
        assert points == ['full', 'a_variant_with_a_long_name', 'no_kl']
        # Where costs differ, one that does comes first.
        assert page.locator('#s2 [data-role=cost]').input_value() == 'seconds'
        figure.locator('[data-role=cost]').select_option('seconds')
        assert plot.evaluate('p => p.layout.xaxis.title.text') == 'seconds of a run'


def test_the_theme_is_chosen_and_charts_follow(browser, report):
    with opened(browser, report, color_scheme='light') as page:
        colour = 'getComputedStyle(document.body).backgroundColor'
        ink = "document.querySelector('.plot')._fullLayout.font.color"
        light = page.evaluate(f'[{colour}, {ink}]')
        page.locator('.theme label', has_text='dark').click()
        dark = page.evaluate(f'[{colour}, {ink}]')
        assert light[0] != dark[0]
        assert light[1] != dark[1]
        page.emulate_media(color_scheme='dark')
        page.locator('.theme label', has_text='auto').click()
        page.emulate_media(color_scheme='light')
        page.locator('html[data-theme=light]').wait_for(state='attached')
        assert page.evaluate(f'[{colour}, {ink}]') == light


def test_what_comes_from_configs_and_logs_is_text(browser, report):
    with opened(browser, report) as page:
        assert page.locator('h1').nth(1).inner_text() == HOSTILE
        assert HOSTILE in page.locator('#s1-t3').inner_text()
        assert page.locator('main img').count() == 0
        legend = page.locator('#s2 [data-chart=curves] .legendtext').all_text_contents()
        assert any('onerror' in text for text in legend)


def test_paper_is_light_and_whole(browser, report):
    with opened(browser, report, color_scheme='dark') as page:
        found = page.evaluate(
            """() => {
              dispatchEvent(new Event('beforeprint'));
              const diffs = [...document.querySelectorAll('details:has(.diff)')];
              return [document.documentElement.dataset.theme, diffs.every((d) => d.open),
                      document.querySelector('.main-svg').getAttribute('width')];
            }"""
        )
        assert found == ['light', True, '640']
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.evaluate('document.documentElement.dataset.theme') == 'dark'
        page.emulate_media(media='print')
        assert not page.locator('.theme').is_visible()


def test_without_scripts_tables_are_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator('#s1-t1 tbody tr').count() == 4
    assert 'need JavaScript' in page.locator('noscript').inner_text()
    context.close()


def test_the_page_refuses_requests_by_itself(browser, report):
    """Not only does it make none: its policy stops one that a script would try."""
    context = browser.new_context()
    page = context.new_page()
    said = []
    page.on('console', lambda message: said.append(message.text))
    page.goto(report.as_uri())
    page.evaluate(
        "() => { fetch('https://example.org/').catch(() => 0);"
        "new Image().src = 'https://example.org/a.png'; }"
    )
    page.wait_for_timeout(200)
    assert sum('Content Security Policy' in text for text in said) >= 2, json.dumps(said)
    context.close()
