'use strict';
// Training curves: means and ranges over runs, or each run.
(() => {
  const POSITIONS = { x: 'iteration', epoch: 'epoch', seconds: 'time of training, s' };
  const FEW = 25; // points that are marked

  // An exponential average without the pull of its start to zero; gaps stay gaps.
  function smooth(values, share) {
    let sum = 0, weight = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = share * sum + (1 - share) * value;
      weight = share * weight + (1 - share);
      return sum / weight;
    });
  }

  function average(values) { return values.reduce((a, b) => a + b) / values.length; }

  // Mean, lowest and highest over runs, at every iteration that one of them has.
  function together(runs) {
    const at = new Map();
    for (const run of runs) {
      run.iteration.forEach((iteration, i) => {
        if (run.y[i] === null) return;
        if (!at.has(iteration)) at.set(iteration, { x: [], y: [] });
        at.get(iteration).x.push(run.x[i]);
        at.get(iteration).y.push(run.y[i]);
      });
    }
    const groups = [...at.keys()].sort((a, b) => a - b).map((key) => at.get(key));
    return {
      x: groups.map((g) => average(g.x)),
      mean: groups.map((g) => average(g.y)),
      low: groups.map((g) => Math.min(...g.y)),
      high: groups.map((g) => Math.max(...g.y)),
      n: groups.map((g) => g.y.length),
    };
  }

  function quantities(curves) {
    const names = [...new Set(curves.flatMap((run) => [
      ...Object.keys(run.train.y), ...Object.keys(run.val.y),
    ]))];
    return names.sort((a, b) => (b === 'loss') - (a === 'loss'));
  }

  // Points of a run's quantity; null where the log has none.
  function points(run, name, position, share) {
    const part = name in run.train.y ? run.train : run.val;
    if (!(name in part.y) || !part[position].length) return null;
    return {
      run: run.run, iteration: part.x, x: part[position], y: smooth(part.y[name], share),
    };
  }

  function lines(condition, group, runs, each, where, tools) {
    const { brief, faint, plain, short } = tools;
    const { shade, line, marker } = tools.style(condition);
    const common = { legendgroup: group, name: brief(condition.label), type: 'scatter' };
    if (each) {
      return runs.map((run, i) => ({
        ...common, x: run.x, y: run.y, mode: 'lines', line: { ...line, width: 1.2 },
        showlegend: i === 0,
        hovertemplate: `<b>${plain(run.run)}</b><br>${where} %{x}<br>%{y:.4g}<extra></extra>`,
      }));
    }
    const t = together(runs);
    const spread = (i) => `<br>${short(t.low[i])} to ${short(t.high[i])}, ${t.n[i]} runs`;
    const text = t.x.map((x, i) => `<b>${plain(condition.label)}</b><br>${where} ${short(x)}<br>`
      + short(t.mean[i]) + (t.n[i] > 1 ? spread(i) : ''));
    const mode = runs[0].x.length < FEW ? 'lines+markers' : 'lines';
    const mean = {
      ...common, x: t.x, y: t.mean, mode, line, text, marker, hovertemplate: '%{text}<extra></extra>',
    };
    if (runs.length < 2) return [mean];
    const edge = {
      ...common, x: t.x, mode: 'lines', line: { width: 0, color: shade }, hoverinfo: 'skip',
      showlegend: false,
    };
    return [
      { ...edge, y: t.low },
      { ...edge, y: t.high, fill: 'tonexty', fillcolor: faint(shade, 0.14) },
      mean,
    ];
  }

  function traces(data, shown, tools, { name, position, share, each }) {
    const where = POSITIONS[position];
    return shown.flatMap((place) => {
      const runs = data.curves.filter((run) => run.condition === place)
        .map((run) => points(run, name, position, share)).filter(Boolean);
      return runs.length
        ? lines(data.conditions[place], `g${place}`, runs, each, where, tools) : [];
    });
  }

  window.charts.curves = (data, role, plot, tools, state) => {
    for (const name of quantities(data.curves)) role('quantity').append(new Option(name, name));
    for (const [position, label] of Object.entries(POSITIONS)) {
      if (data.curves.some((run) => run.train[position].length || run.val[position].length)) {
        role('position').append(new Option(label, position));
      }
    }
    function redraw() {
      const [name, position] = [role('quantity').value, role('position').value];
      const share = Number(role('smoothing').value), each = role('each').checked;
      role('smoothing').nextElementSibling.value = share.toFixed(2);
      const x = tools.axis(POSITIONS[position], { type: role('logx').checked ? 'log' : 'linear' });
      const y = tools.axis(name, { type: role('log').checked ? 'log' : 'linear' });
      const more = { hovermode: 'closest', uirevision: `${name} ${position}` };
      const drawn = traces(data, [...state.drawn], tools, { name, position, share, each });
      return tools.draw(plot, drawn, tools.layout(x, y, more));
    }
    for (const name of ['quantity', 'position', 'smoothing', 'logx', 'log', 'each']) {
      role(name).addEventListener('input', redraw);
    }
    window.report.chooser(role('choose'), state);
    redraw();
    return redraw;
  };
  window.report.curves = { quantities, points };
})();
