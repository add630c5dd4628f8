"""Tables of a benchmark: means over scenes, paired comparisons, single scenes, conventions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from plugins.pansharpening.benchmark.comparison import (
    MethodComparison,
    compare_methods,
    find_best,
    summarize,
)
from plugins.pansharpening.benchmark.conventions import CONVENTIONS
from plugins.pansharpening.benchmark.scores import BenchmarkScores
from toolkit.analysis.difference_tables import choose_difference_digits
from toolkit.analysis.table_cells import Table, TableCell, format_heading
from toolkit.io.tables import formatting

SD = 'Mean ± standard deviation (n − 1) over {n} scenes; ↑ higher is better, ↓ lower.'
STARS = (
    '* p < 0.05, ** p < 0.01, *** p < 0.001: differs from {reference} (paired bootstrap-t over '
    'scenes, Holm-corrected over {tests} tests{family}).'
)


class MethodTable(Table):
    """A table with a row for each method."""

    meaning_of_best: ClassVar[str] = (
        'better than every other method by more than noise (paired tests over scenes, '
        'Bonferroni-corrected, p < 0.05).'
    )


class Benchmark:
    """A benchmark's scores with its tests, as tables and records.

    Args:
        title: of the tables.
        scores: of the methods.
        reference: the method that the others are compared with.
        primary: metric whose tests are corrected, by whatever name a convention gives its value;
            None for all.
        notes: on the data, for below the tables.
    """

    def __init__(
        self,
        title: str,
        scores: BenchmarkScores,
        reference: str,
        primary: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.title, self.scores, self.reference = title, scores, reference
        self.primary, self.notes = primary, notes
        self.comparisons = {
            convention: compare_methods(
                scores, convention, reference, self._find_primary(convention)
            )
            for convention in scores.conventions
        }

    def make_tables(self, per_scene: bool = True) -> list[Table]:
        """Makes the tables that have rows."""
        tables = []
        for convention in self.scores.conventions:
            tables += [self._make_results(convention), self._make_comparisons(convention)]
        tables.append(self._make_costs())
        if per_scene:
            tables += [self._make_scenes(convention) for convention in self.scores.conventions]
        return [table for table in tables if table.rows]

    def _find_primary(self, convention: str) -> tuple[str, ...] | None:
        """Finds the primary indices of a convention; None for all."""
        if self.primary is None:
            return None
        return CONVENTIONS[convention].name_scores(self.primary)

    def _get_headings(self, convention: str) -> list[str]:
        better = self.scores.better[convention]
        return [format_heading(index, way == 'higher') for index, way in better.items()]

    def _name(self, convention: str, what: str = '') -> str:
        name = f'{self.title}{what}'
        many = len(self.scores.conventions) > 1 or convention != 'toolbox'
        return f'{name}, convention {convention}' if many else name

    def _make_results(self, convention: str) -> Table:
        columns = []
        for index in self.scores.indices(convention):
            found = {
                m: summarize(self.scores.values[convention, m, index]) for m in self.scores.methods
            }
            digits = formatting.choose_digits(
                [s.mean for s in found.values() if s.mean is not None],
                [s.sd for s in found.values() if s.sd is not None],
            )
            best = find_best(self.scores, convention, index)
            column = []
            for method, summary in found.items():
                text = formatting.format_number(summary.mean, digits)
                if summary.sd is not None:
                    text += f' ± {formatting.format_number(summary.sd, digits)}'
                if summary.n not in (0, len(self.scores.scenes)):
                    text += f' (n = {summary.n})'
                compared = self.comparisons[convention].get((method, index))
                stars = formatting.format_stars(compared.p_holm) if compared else ''
                column.append(TableCell(text, stars, method == best, summary.mean))
            columns.append(column)
        rows = [
            [TableCell(self._mark(method)), *(column[place] for column in columns)]
            for place, method in enumerate(self.scores.methods)
        ]
        notes = [SD.format(n=len(self.scores.scenes))]
        if tests := self._count_tests(convention):
            primary = self._find_primary(convention)
            family = '' if primary is None else f' of {" and ".join(primary)}'
            notes.append(STARS.format(reference=self.reference, tests=tests, family=family))
        notes += [self._describe(convention), *self.notes]
        headings = ['method', *self._get_headings(convention)]
        return MethodTable(self._name(convention), headings, rows, 1, notes)

    def _make_comparisons(self, convention: str) -> Table:
        rows = []
        for (method, index), found in self.comparisons[convention].items():
            test = found.test
            digits = choose_difference_digits(test)
            low, high = (formatting.format_signed(v, digits) for v in (test.low, test.high))
            trend = {True: 'better', False: 'worse', None: formatting.MISSING}[found.better]
            rows.append(
                [
                    *(TableCell(text) for text in (method, index, trend)),
                    TableCell(str(test.n), value=test.n),
                    TableCell(formatting.format_signed(test.difference, digits)),
                    TableCell(test.why if test.low is None else f'[{low}, {high}]'),
                    TableCell(formatting.format_p(test.p)),
                    TableCell(
                        formatting.format_p(found.p_holm), formatting.format_stars(found.p_holm)
                    ),
                    TableCell(formatting.format_number(test.effect, 2)),
                ]
            )
        columns = ['method', 'index', 'is', 'scenes', 'difference', '95 % interval', 'p']
        notes = [
            f'Difference: mean of (method − {self.reference}) over scenes. p: paired bootstrap-t '
            f'over scenes; p (Holm): corrected over {self._count_tests(convention)} tests. '
            "g: Hedges' g of the paired differences."
        ]
        title = self._name(convention, f': differences from {self.reference}')
        return Table(title, [*columns, 'p (Holm)', 'g'], rows, 3, notes)

    def _make_costs(self) -> Table:
        """Makes the table of how far each convention moves the means of the first one."""
        first, *others = self.scores.conventions
        rows, names = [], self.scores.indices(first)
        for convention in others:
            for method in self.scores.methods:
                cells = []
                for index, own in zip(names, self.scores.indices(convention), strict=True):
                    a = summarize(self.scores.values[first, method, index])
                    b = summarize(self.scores.values[convention, method, own])
                    moved = None if a.mean is None or b.mean is None else b.mean - a.mean
                    digits = formatting.choose_digits([moved or 0.0], [])
                    text = formatting.format_signed(moved, digits)
                    cells.append(TableCell('0' if moved == 0 else text, value=moved))
                rows.append([TableCell(convention), TableCell(method), *cells])
        notes = [f'Difference of the mean from that of the convention {first}.']
        title = f'{self.title}: what conventions cost'
        return Table(title, ['convention', 'method', *names], rows, 2, notes)

    def _make_scenes(self, convention: str) -> Table:
        rows = []
        digits = {}
        for index in self.scores.indices(convention):
            values = [
                v for m in self.scores.methods for v in self.scores.values[convention, m, index]
            ]
            digits[index] = formatting.choose_digits([v for v in values if v - v == 0], [])
        for place, scene in enumerate(self.scores.scenes):
            for method in self.scores.methods:
                cells = []
                for index in self.scores.indices(convention):
                    value = self.scores.values[convention, method, index][place]
                    known = value - value == 0
                    text = formatting.format_number(value, digits[index]) if known else str(value)
                    cells.append(TableCell(text, value=value if known else None))
                rows.append([TableCell(scene), TableCell(method), *cells])
        headings = ['scene', 'method', *self._get_headings(convention)]
        return Table(self._name(convention, ': single scenes'), headings, rows, 2, [])

    def make_records(self) -> dict[str, Any]:
        """Makes the record of everything, for JSON."""
        return {
            'title': self.title,
            'scenes': list(self.scores.scenes),
            'compare_to': self.reference,
            'primary': self.primary,
            'notes': list(self.notes),
            'warnings': list(self.scores.messages),
            'conventions': {
                convention: {
                    'meaning': CONVENTIONS[convention].meaning,
                    'better': self.scores.better[convention],
                    'methods': {
                        method: {
                            index: self._make_record(convention, method, index)
                            for index in self.scores.indices(convention)
                        }
                        for method in self.scores.methods
                    },
                }
                for convention in self.scores.conventions
            },
        }

    def _make_record(self, convention: str, method: str, index: str) -> dict[str, Any]:
        values = self.scores.values[convention, method, index]
        found: MethodComparison | None = self.comparisons[convention].get((method, index))
        test = {} if found is None else {**asdict(found.test), 'p_holm': found.p_holm}
        scenes = dict(zip(self.scores.scenes, values, strict=True))
        return {**asdict(summarize(values)), 'test': test, 'values': scenes}

    def make_rows(self) -> tuple[list[str], list[list[Any]]]:
        """Makes a row for each convention, method and scene, for CSV."""
        names = list(
            dict.fromkeys(n for c in self.scores.conventions for n in self.scores.better[c])
        )
        rows = []
        for convention in self.scores.conventions:
            for method in self.scores.methods:
                for place, scene in enumerate(self.scores.scenes):
                    found = [
                        self.scores.values[convention, method, name][place]
                        if name in self.scores.better[convention]
                        else None
                        for name in names
                    ]
                    rows.append([convention, method, scene, *found])
        return ['convention', 'method', 'scene', *names], rows

    def _mark(self, method: str) -> str:
        compared = len(self.scores.methods) > 1
        return f'{method} (reference)' if compared and method == self.reference else method

    def _count_tests(self, convention: str) -> int:
        return sum(c.p_holm is not None for c in self.comparisons[convention].values())

    def _describe(self, convention: str) -> str:
        return f'Convention {convention}: {CONVENTIONS[convention].meaning}.'
