'use strict';
// ROC, precision and recall, reliability, and risk against coverage of classifiers.
window.charts.classifier = (data, role, plot, tools) => {
  const { axis, layout, draw, colour, faint, plain, brief, short } = tools;
  const GRID = Array.from({ length: 101 }, (_, i) => i / 100);
  const AREA = { roc: 'AUC', pr: 'AP' };
  const TITLES = {
    roc: ['1 − specificity', 'sensitivity'],
    pr: ['recall (sensitivity)', 'precision (PPV)'],
  };

  function mean(values) { return values.reduce((a, b) => a + b) / values.length; }

  function area(found, kind) {
    const name = AREA[kind], values = found[name], interval = found[`${name}_interval`];
    const several = values.length > 1;
    const spread = several ? ` (${short(Math.min(...values))} to ${short(Math.max(...values))})`
      : interval && interval[0] !== null ? ` (${short(interval[0])} to ${short(interval[1])})` : '';
    return `${name} ${short(mean(values))}${spread}`;
  }

  function line(found, extra = {}) {
    return { color: colour(`--c${found.colour}`), dash: found.dash, width: 2, ...extra };
  }

  function curves(found, kind) {
    const shade = colour(`--c${found.colour}`), curve = found[kind];
    const common = { type: 'scatter', legendgroup: found.label };
    const traces = [];
    if (role('bands').checked && curve.low) {
      const edge = {
        ...common, x: GRID, mode: 'lines', line: { width: 0, color: shade }, hoverinfo: 'skip',
        showlegend: false,
      };
      traces.push({ ...edge, y: curve.low });
      traces.push({ ...edge, y: curve.high, fill: 'tonexty', fillcolor: faint(shade, 0.13) });
    }
    const label = `<b>${plain(found.label)}</b><br>${area(found, kind)}`;
    traces.push({
      ...common, x: curve.x ?? GRID, y: curve.y, mode: 'lines',
      name: `${brief(found.label)}, ${AREA[kind]} ${short(mean(found[AREA[kind]]))}`,
      line: line(found, kind === 'pr' && curve.x ? { shape: 'vh' } : {}),
      hovertemplate: `${label}<br>%{x:.3f}, %{y:.3f}<extra></extra>`,
    });
    const at = found.operating.filter((o) => kind === 'roc' || o.PPV !== null);
    if (at.length) {
      traces.push({
        ...common, mode: 'markers', showlegend: false,
        x: at.map((o) => (kind === 'roc' ? 1 - o.specificity : o.sensitivity)),
        y: at.map((o) => (kind === 'roc' ? o.sensitivity : o.PPV)),
        marker: {
          symbol: found.symbol, size: 10, color: shade,
          line: { width: 1.5, color: colour('--paper') },
        },
        text: at.map((o) => `threshold ${short(o.threshold)}<br>sensitivity `
          + `${short(o.sensitivity)}<br>specificity ${short(o.specificity)}<br>PPV `
          + (o.PPV === null ? '–' : short(o.PPV))),
        hovertemplate: `<b>${plain(found.label)}</b><br>%{text}<extra></extra>`,
      });
    }
    return traces;
  }

  // Variants that rank all images alike, such as those of a temperature, hide each other's lines.
  function hidden(found, kind) {
    const alike = new Map();
    for (const one of found) {
      const key = JSON.stringify([one[kind].x, one[kind].y]);
      alike.set(key, [...(alike.get(key) ?? []), one.label]);
    }
    return [...alike.values()].filter((labels) => labels.length > 1)
      .map((labels) => ` The lines of ${labels.join(', ')} are the same; the last one is seen.`).join('');
  }

  function reliability(found) {
    const shown = role('before').checked ? 'before' : 'after';
    const part = found[shown];
    return {
      type: 'scatter', mode: 'lines+markers', x: part.confidence, y: part.accuracy, name: brief(found.label),
      line: line(found), marker: {
        symbol: found.symbol, color: colour(`--c${found.colour}`),
        size: part.n.map((n) => 7 + Math.min(9, Math.sqrt(n))),
      },
      text: part.n.map((n) => `${n} images`),
      hovertemplate: `<b>${plain(found.label)}</b><br>confidence %{x:.3f}, accuracy %{y:.3f}<br>%{text}`
        + `<br>ECE ${short(part.ECE)} ${shown} temperature<extra></extra>`,
    };
  }

  function risk(found) {
    return {
      type: 'scatter', mode: 'lines', x: found.x, y: found.y, line: line(found),
      name: `${brief(found.label)}, AURC ${short(mean(found.AURC))}`,
      hovertemplate: `<b>${plain(found.label)}</b><br>%{x:.2f} kept, risk %{y:.3f}<extra></extra>`,
    };
  }

  function line_of(y0, y1) {
    return {
      type: 'scatter', mode: 'lines', x: [0, 1], y: [y0, y1], hoverinfo: 'skip', showlegend: false,
      line: { color: colour('--muted'), width: 1, dash: 'dot' },
    };
  }

  function choose() {
    const names = Object.keys(data[role('task').value].classes);
    role('class').replaceChildren(...names.map((name) => new Option(name, name)));
    return redraw();
  }

  function redraw() {
    const task = data[role('task').value], kind = role('kind').value;
    const curved = kind === 'roc' || kind === 'pr';
    const range = { range: [-0.02, 1.02] };
    role('of').hidden = !curved || Object.keys(task.classes).length < 2;
    role('banded').hidden = !curved;
    role('uncalibrated').hidden = kind !== 'reliability';
    if (kind === 'risk') {
      role('caption').textContent = 'Share of errors among the surest decisions, against the share that is '
        + 'kept; of several runs the mean. AURC is the mean risk over all coverages.';
      const top = Math.max(0.05, ...task.risk.map((one) => Math.max(...one.y)));
      return draw(plot, task.risk.map(risk), layout(
        axis('coverage', range), axis('risk', { range: [0, 1.1 * top] }), { hovermode: 'closest' },
      ));
    }
    if (!curved) {
      role('caption').textContent = 'Accuracy in bins of equal confidence over all runs of a variant; larger '
        + 'marks stand for more images. On the dotted line both are equal.';
      const traces = [line_of(0, 1), ...task.reliability.map(reliability)];
      return draw(plot, traces, layout(axis(task.of, range), axis('accuracy', range), {
        hovermode: 'closest',
      }));
    }
    const found = task.classes[role('class').value] ?? [];
    role('caption').textContent = 'Bands are 95 % by patient of a single run, or reach from the '
      + 'lowest to the highest of several, whose mean is the line.'
      + (found.some((one) => one.operating.length) ? ' Marks are the operating points at the threshold '
        + 'of each run: the one that was chosen on its validation, or 0.5 where none was.' : '')
      + hidden(found, kind);
    const even = found.length ? found[0].prevalence : 0;
    const traces = [
      kind === 'roc' ? line_of(0, 1) : line_of(even, even),
      ...found.flatMap((one) => curves(one, kind)),
    ];
    const [x, y] = TITLES[kind];
    return draw(plot, traces, layout(axis(x, range), axis(y, range), { hovermode: 'closest' }));
  }

  role('task').addEventListener('input', choose);
  for (const name of ['kind', 'class', 'bands', 'before']) {
    role(name).addEventListener('input', redraw);
  }
  choose();
  return redraw;
};
