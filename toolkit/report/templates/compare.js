'use strict';
// Two runs beside each other: results, configs, curves and images, of one study or of two.
(() => {
  // What panels can show of a condition: functions (section, label) -> [{ title, source }].
  window.report.pictures = [];
  const figure = document.querySelector('[data-compare]');
  if (!figure) return;
  const role = (name) => figure.querySelector(`[data-role="${name}"]`);
  const SIDES = ['left', 'right'];
  let options = [];

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function config({ run, state }) {
    if (!run.config) return null;
    const found = { ...state.data.config, ...run.config };
    return new Map(Object.entries(found).filter(([, value]) => value !== null));
  }

  function table(head, rows, missing) {
    if (!rows.length) return element('p', missing, 'same');
    const made = element('table'), top = made.createTHead().insertRow(), body = made.createTBody();
    head.forEach((text, i) => {
      const cell = element('th', text, 'plain-head');
      cell.scope = 'col';
      top.append(cell);
    });
    for (const texts of rows) {
      const row = body.insertRow();
      texts.forEach((text, i) => {
        const cell = element(i ? 'td' : 'th', text, i ? 'word' : '');
        if (!i) cell.scope = 'row';
        row.append(cell);
      });
    }
    const box = element('div', undefined, 'scroll');
    box.tabIndex = 0;
    box.append(made);
    return box;
  }

  function short(value) {
    return typeof value === 'number' ? String(Number(value.toPrecision(6))) : '-';
  }

  function results(pair) {
    const names = new Set(pair.flatMap(({ run }) => Object.keys(run.metrics)));
    const numbers = [...names].map((name) => [name, ...pair.map(({ run }) => run.metrics[name])]);
    numbers.push(['seconds', ...pair.map(({ run }) => run.seconds)]);
    const rows = numbers.map(([name, a, b]) => [name, short(a), short(b),
      typeof a === 'number' && typeof b === 'number' ? short(b - a) : '-']);
    const texts = ['status', 'seed', 'fold', 'test_data']
      .map((name) => [name.replace('_', ' '), ...pair.map(({ run }) => String(run[name] ?? '-') || '-'), '']);
    return table(['', ...pair.map(({ run }) => run.id), 'difference'], [...texts, ...rows]);
  }

  function configs(pair) {
    const [a, b] = pair.map(config);
    if (!a || !b) return element('p', 'One of them has left no config.', 'same');
    const paths = [...new Set([...a.keys(), ...b.keys()])].filter((path) => a.get(path) !== b.get(path));
    const rows = paths.map((path) => [path, a.get(path) ?? 'not there', b.get(path) ?? 'not there']);
    return table(['config', ...pair.map(({ run }) => run.id)], rows, 'Their configs are the same.');
  }

  function pictures(pair) {
    const row = element('div', undefined, 'compare-images');
    for (const { run, state, section } of pair) {
      const { label } = state.data.conditions[run.condition];
      const found = window.report.pictures.flatMap((of) => of(section, label)).slice(0, 8);
      const column = element('div');
      column.append(...found.map(({ title, source }) => {
        const shown = element('figure'), image = element('img');
        image.src = source;
        image.alt = title;
        shown.append(image, element('figcaption', title));
        return shown;
      }));
      row.append(column);
    }
    return row.querySelector('img') ? [element('h3', 'Images'), row] : [];
  }

  function chosen() {
    return SIDES.map((side) => options.find((one) => one.name === role(side).value));
  }

  function show() {
    const pair = chosen();
    SIDES.forEach((side, i) => role(side).setCustomValidity(pair[i] ? '' : 'no run of this name'));
    if (!pair.every(Boolean)) return;
    role('found').replaceChildren(
      element('h3', 'Results'), results(pair), element('h3', 'Configs'), configs(pair),
      ...pictures(pair),
    );
    figure.dispatchEvent(new Event('compared'));
  }

  window.charts.compared = (_, find, plot, tools) => {
    const chart = plot.closest('[data-chart]');
    function redraw() {
      const pair = chosen();
      const curves = pair.map((one) => one
        && one.state.data.curves.find((curve) => curve.run === one.run.id));
      const names = window.report.curves.quantities(curves.filter(Boolean));
      chart.hidden = !names.length;
      if (!names.length) return undefined;
      const before = find('quantity').value;
      find('quantity').replaceChildren(...names.map((n) => new Option(n, n, n === before, n === before)));
      const name = find('quantity').value, share = Number(find('smoothing').value);
      const traces = curves.flatMap((curve, i) => {
        const found = curve && window.report.curves.points(curve, name, 'x', share);
        return found ? [{
          type: 'scatter', mode: found.x.length < 25 ? 'lines+markers' : 'lines', x: found.x, y: found.y,
          name: tools.brief(pair[i].name), line: { color: tools.colour(i ? '--c2' : '--c1'), width: 2 },
        }] : [];
      });
      const type = find('log').checked ? 'log' : 'linear';
      return tools.draw(plot, traces, tools.layout(
        tools.axis('iteration'), tools.axis(name, { type }), { hovermode: 'closest' },
      ));
    }
    for (const name of ['quantity', 'smoothing', 'log']) find(name).addEventListener('input', redraw);
    figure.addEventListener('compared', redraw);
    redraw();
    return redraw;
  };

  async function start() {
    const sections = figure.dataset.compare.split(' ');
    const several = sections.length > 1;
    const studies = new Set();
    for (const section of sections) {
      const state = await window.report.load(section), { name } = state.data;
      const study = studies.has(name) ? `${name} (${section})` : name; // two may have one name
      studies.add(name);
      for (const run of state.data.runs) {
        options.push({ name: several ? `${study}: ${run.id}` : run.id, run, state, section });
      }
    }
    options = options.filter(({ run }) => run.status !== 'waiting');
    figure.querySelector('datalist').append(...options.map(({ name }) => new Option(name, name)));
    const last = options.find(({ run }) => run.condition !== options[0]?.run.condition) ?? options[1];
    [role('left').value, role('right').value] = [options[0]?.name ?? '', last?.name ?? ''];
    for (const side of SIDES) role(side).addEventListener('change', show);
    // Panels have registered their pictures by then.
    if (document.readyState === 'loading') {
      await new Promise((done) => document.addEventListener('DOMContentLoaded', done));
    }
    show();
  }
  window.report.compared = start();
})();
