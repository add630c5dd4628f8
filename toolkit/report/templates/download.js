'use strict';
// Downloads: the runs and the curves as CSV, and everything as JSON.
(() => {
  const FORMULA = /^'*[=+\-@\t\r]/; // a spreadsheet would compute it

  function cell(value) {
    if (value === null || value === undefined) return '';
    if (typeof value === 'number') return String(value);
    const text = FORMULA.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  }

  function csv(rows) {
    return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
  }

  function runs({ data }) {
    const paths = Object.keys(data.hyperparameters).filter((path) => !data.axes.includes(path));
    const metrics = Object.keys(data.metrics);
    const own = ['run', 'variant', 'data', 'seed', 'fold', 'status', 'seconds', 'memory', 'parameters',
      'macs', 'test_data', ...metrics];
    const axes = data.axes.map((axis) => (own.includes(axis) ? `${axis} (axis)` : axis));
    const head = ['run', 'variant', ...axes, 'data', 'seed', 'fold', 'status', ...metrics,
      'seconds', 'memory', 'parameters', 'macs', 'test_data', ...paths];
    return csv([head, ...data.runs.map((run) => {
      const condition = data.conditions[run.condition];
      return [run.id, condition.variant, ...data.axes.map((axis) => condition.settings[axis]),
        condition.data, run.seed, run.fold, run.status, ...metrics.map((name) => run.metrics[name]),
        run.seconds, run.memory, condition.costs.parameters, condition.costs.macs, run.test_data,
        ...paths.map((path) => data.hyperparameters[path][run.condition])];
    })]);
  }

  function curves({ data }) {
    const rows = [['run', 'iteration', 'epoch', 'seconds', 'quantity', 'value']];
    for (const curve of data.curves) {
      for (const part of [curve.train, curve.val]) {
        for (const [name, values] of Object.entries(part.y)) {
          values.forEach((value, i) => rows.push(
            [curve.run, part.x[i], part.epoch[i], part.seconds[i], name, value],
          ));
        }
      }
    }
    return csv(rows);
  }

  const MAKERS = {
    runs: [runs, 'text/csv', 'runs.csv'],
    curves: [curves, 'text/csv', 'curves.csv'],
    all: [({ data }) => JSON.stringify(data), 'application/json', 'data.json'],
  };

  async function save(section, kind) {
    const state = await window.report.load(section);
    const [make, type, ending] = MAKERS[kind];
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([make(state)], { type }));
    link.download = `${state.data.name.replace(/[^\w.-]+/g, '_')}-${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  for (const button of document.querySelectorAll('[data-download]')) {
    button.addEventListener('click', () => save(button.dataset.section, button.dataset.download));
  }
})();
