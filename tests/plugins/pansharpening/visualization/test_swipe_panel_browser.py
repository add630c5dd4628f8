"""The swipe panel in a real browser: pointer, wheel, keys and fingers."""

from __future__ import annotations

import re

import pytest

from tests.support.browser import DESKTOP, PHONE, opened
from tests.support.scene_run_folders import draw, two_variants
from toolkit.report import page as report_page

pytestmark = pytest.mark.slow


@pytest.fixture
def report(tmp_path):
    study = two_variants(tmp_path / 'study')
    for seed in (0, 1):
        for variant in ('full', 'other'):
            draw(study / f'runs/{variant}-s{seed}', 'tall', seed=seed, size=(90, 120))
    report_page.write([study], study / 'report.html')
    return study / 'report.html'


class Viewer:
    """The viewer of a page, as tests ask for it."""

    def __init__(self, page):
        self.page = page
        self.stage = page.locator('.swipe .stage')
        self.divider = page.locator('.swipe .divider')
        self.stage.scroll_into_view_if_needed()

    def role(self, name):
        return self.page.locator(f'.swipe [data-role={name}]')

    def transforms(self):
        """Of both pictures: left, top, scale."""
        found = [self.role(f'{side}-image').get_attribute('style') for side in ('left', 'right')]
        return [
            tuple(float(x) for x in re.findall(r'[(, ](-?[\d.e-]+)(?:px|\))', s)) for s in found
        ]

    @property
    def transform(self):
        left, right = self.transforms()
        assert left == right  # in step, always
        return left

    @property
    def split(self):
        return int(self.divider.get_attribute('aria-valuenow'))

    def at(self, across, down):
        box = self.stage.bounding_box()
        return box['x'] + across * box['width'], box['y'] + down * box['height']

    def drag(self, start, end):
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=4)
        self.page.mouse.up()


@pytest.mark.parametrize('size', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_swipe_by_pointer_and_keys(browser, report, size):
    with opened(browser, report, size) as page:
        viewer = Viewer(page)
        assert viewer.split == 50
        viewer.drag((0.5, 0.3), (0.25, 0.3))
        assert viewer.split == pytest.approx(25, abs=1)
        assert 'inset(0px 75' in viewer.page.locator('.pane').first.get_attribute('style')
        viewer.drag((0.9, 0.9), (0.8, 0.9))  # anywhere, while there is nothing to move to
        assert viewer.split == pytest.approx(80, abs=1)
        viewer.divider.press('ArrowLeft')
        assert viewer.split == pytest.approx(78, abs=1)
        viewer.divider.press('Home')
        assert viewer.split == 0
        viewer.divider.press('End')
        assert viewer.split == 100
        assert page.evaluate('document.documentElement.scrollWidth') == size[0]


def test_zoom_and_move_by_keys_in_step(browser, report):
    with opened(browser, report) as page:
        viewer = Viewer(page)
        left, top, whole = viewer.transform
        assert (left, top) == pytest.approx((0, 0), abs=1e-6)
        viewer.stage.press('+')
        viewer.stage.press('+')
        x, y, scale = viewer.transform
        assert scale == pytest.approx(whole * 1.4**2, rel=1e-3)
        assert viewer.role('zoom').inner_text() == '2×'
        viewer.stage.press('ArrowRight')
        viewer.stage.press('ArrowDown')
        moved = viewer.transform
        assert moved[0] < x and moved[1] < y and moved[2] == scale
        for _ in range(20):
            viewer.stage.press('ArrowLeft')
        assert viewer.transform[0] == pytest.approx(0, abs=0.01)  # not beyond the edge
        viewer.stage.press('-')
        assert viewer.transform[2] == pytest.approx(whole * 1.4, rel=1e-3)
        viewer.stage.press('0')
        assert viewer.transform == pytest.approx((left, top, whole), abs=1e-6)
        for _ in range(30):
            viewer.stage.press('+')
        assert viewer.transform[2] == pytest.approx(24 * whole, rel=1e-3)
        assert 'pixelated' in viewer.role('left-image').get_attribute('style')


def test_zoom_by_wheel_stays_under_the_pointer_and_lets_the_page_scroll(browser, report):
    with opened(browser, report) as page:
        viewer = Viewer(page)
        _, _, whole = viewer.transform
        page.mouse.move(*viewer.at(0.25, 0.5))
        before = page.evaluate('scrollY')
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(300)
        assert viewer.transform[2] == whole  # not in use: the page scrolls
        assert page.evaluate('scrollY') < before
        viewer.stage.scroll_into_view_if_needed()
        page.mouse.click(*viewer.at(0.25, 0.5))
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(300)
        x, y, scale = viewer.transform
        assert scale > 2 * whole
        width = viewer.stage.bounding_box()['width']
        # The pixel at a quarter of the width is still there.
        assert (0.25 * width - x) / scale == pytest.approx(0.25 * width / whole, rel=0.01)


def test_zoomed_pictures_are_dragged_and_the_divider_by_its_handle(browser, report):
    with opened(browser, report) as page:
        viewer = Viewer(page)
        for _ in range(3):
            viewer.role('in').click()
        x, y, scale = viewer.transform
        viewer.drag((0.3, 0.4), (0.35, 0.45))
        moved = viewer.transform
        box = viewer.stage.bounding_box()
        assert moved[0] - x == pytest.approx(0.05 * box['width'], abs=1)
        assert moved[1] - y == pytest.approx(0.05 * box['height'], abs=1)
        assert viewer.split == 50
        viewer.drag((0.5, 0.5), (0.7, 0.5))
        assert viewer.split == pytest.approx(70, abs=1)
        assert viewer.transform == moved
        viewer.role('reset').click()
        assert viewer.role('zoom').inner_text() == '1×'


def test_pinch(browser, report):
    with opened(browser, report, PHONE, has_touch=True) as page:
        viewer = Viewer(page)
        _, _, whole = viewer.transform
        session = page.context.new_cdp_session(page)

        def touch(kind, *points):
            places = [dict(zip('xy', viewer.at(*p)), id=i) for i, p in enumerate(points)]
            session.send('Input.dispatchTouchEvent', {'type': kind, 'touchPoints': places})

        touch('touchStart', (0.4, 0.5))
        touch('touchStart', (0.4, 0.5), (0.6, 0.5))
        for step in range(1, 5):
            touch('touchMove', (0.4 - 0.05 * step, 0.5), (0.6 + 0.05 * step, 0.5))
        touch('touchEnd')
        assert viewer.transform[2] == pytest.approx(3 * whole, rel=0.1)


def test_any_two_pictures_beside_each_other_and_of_another_scene(browser, report):
    with opened(browser, report) as page:
        viewer = Viewer(page)
        options = viewer.role('left').locator('option').all_inner_texts()
        assert options == ['PAN', 'upsampled MS', 'full', 'full: error', 'other', 'other: error']
        assert viewer.role('left').input_value() == 'upsampled MS'
        assert viewer.role('right').input_value() == 'full'
        before = viewer.role('left-image').get_attribute('src')
        viewer.role('left').select_option('other')
        assert viewer.role('left-image').get_attribute('src') != before
        assert viewer.role('left-tag').inner_text() == 'other'
        viewer.role('mode').select_option('beside')
        assert not viewer.divider.is_visible()
        viewer.stage.press('+')
        viewer.drag((0.8, 0.5), (0.7, 0.5))
        assert viewer.transform[2] > 0
        boxes = [pane.bounding_box() for pane in page.locator('.pane').all()]
        assert boxes[0]['width'] == boxes[1]['width']
        assert boxes[1]['x'] > boxes[0]['x'] + boxes[0]['width']
        viewer.role('item').select_option('tall')
        assert viewer.role('left').input_value() == 'other'  # what was chosen stays
        assert viewer.role('zoom').inner_text() == '1×'
        box = viewer.role('left-image').bounding_box()
        assert box['height'] / box['width'] == pytest.approx(120 / 90, rel=0.01)
