'use strict';
// Training curves and the trade-off, drawn by plotly.js, which the page carries compressed.
// What draws the figures of each data-chart, by its name; panels add theirs.
window.charts = {};
(async () => {
  const figures = [...document.querySelectorAll('[data-chart]')];
  if (!figures.length) return;
  Object.assign(window.charts, { curves, trade });
  await unpack();
  if (document.readyState === 'loading') { // scripts of panels come after this one
    await new Promise((done) => document.addEventListener('DOMContentLoaded', done));
  }

  const SYMBOL_SIZE = 11;
  const LEGEND_WIDTH = 190, LEGEND_LINE = 20; // pixels of an entry, about
  const SIGNIFICANT = 4;
  const redraws = figures.map((figure) => {
    const own = figure.querySelector('script[type="application/json"]');
    const shared = document.getElementById(`${figure.dataset.section}-data`);
    const data = JSON.parse((own ?? shared).textContent);
    const role = (name) => figure.querySelector(`[data-role="${name}"]`);
    const plot = figure.querySelector('.plot');
    const tools = { axis, layout, draw, colour, faint, plain, brief, short, narrow };
    return window.charts[figure.dataset.chart](data, role, plot, tools);
  });
  document.addEventListener('themechange', () => redraws.forEach((redraw) => redraw()));
  // What is on paper is laid out without a resize event.
  const PAPER = 640;
  const fit = (shape) => figures.forEach((f) => Plotly.relayout(f.querySelector('.plot'), shape));
  window.addEventListener('beforeprint', () => fit({ width: PAPER }));
  window.addEventListener('afterprint', () => fit({ width: null, autosize: true }));
  document.documentElement.dataset.charts = 'drawn';

  async function unpack() {
    const text = document.getElementById('library').textContent.trim();
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    const script = document.createElement('script');
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function faint(hex, alpha) {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  }

  // Names come from configs; plotly reads a few tags in texts.
  function plain(text) {
    return String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  }

  // What a legend has room for; the whole name is at the pointer and in the table.
  function brief(text) {
    const most = narrow() ? 28 : 48;
    return plain(text.length > most ? `${text.slice(0, most - 1)}…` : text);
  }

  function narrow() {
    return window.innerWidth < 641;
  }

  function short(value) {
    return Number.isFinite(value) ? String(Number(value.toPrecision(SIGNIFICANT))) : '-';
  }

  function axis(title, more) {
    return {
      title: { text: plain(title), standoff: 10, font: { size: 13 } },
      gridcolor: faint(colour('--rule'), 0.6),
      linecolor: colour('--ink'), linewidth: 1, ticks: 'outside', tickcolor: colour('--ink'),
      ticklen: 4, zeroline: false, automargin: true, ...more,
    };
  }

  function layout(x, y, more) {
    const small = narrow();
    return {
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      font: { family: colour('--sans'), size: small ? 12 : 13, color: colour('--ink') },
      margin: { l: 8, r: small ? 8 : 16, t: 10, b: 8 }, xaxis: x, yaxis: y,
      hoverlabel: {
        bgcolor: colour('--tint'), bordercolor: colour('--rule'),
        font: { family: colour('--sans'), color: colour('--ink') },
      },
      dragmode: small ? false : 'zoom', // a finger scrolls the page
      legend: {
        orientation: 'h', yref: 'container', yanchor: 'bottom', y: 0, x: 0, itemwidth: 40,
        tracegroupgap: 0,
      },
      ...more,
    };
  }

  function draw(plot, traces, shape) {
    // The legend grows below the plot, not into it.
    const entries = traces.filter((trace) => trace.showlegend !== false).length;
    const columns = Math.max(1, Math.floor(plot.clientWidth / LEGEND_WIDTH));
    const rows = Math.ceil(entries / columns);
    shape.height = (narrow() ? 330 : 400) + LEGEND_LINE * rows;
    const settings = {
      responsive: true, displaylogo: false, displayModeBar: narrow() ? false : 'hover',
      modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
      toImageButtonOptions: { format: 'svg' },
    };
    return Plotly.react(plot, traces, shape, settings);
  }

  // -- curves -------------------------------------------------------------------------------------

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

  // Mean, lowest and highest over runs, at every iteration that one of them has.
  function together(runs) {
    const at = new Map();
    for (const run of runs) {
      run.x.forEach((x, i) => {
        if (run.y[i] === null) return;
        if (!at.has(x)) at.set(x, []);
        at.get(x).push(run.y[i]);
      });
    }
    const x = [...at.keys()].sort((a, b) => a - b);
    const groups = x.map((key) => at.get(key));
    return {
      x,
      mean: groups.map((g) => g.reduce((a, b) => a + b) / g.length),
      low: groups.map((g) => Math.min(...g)),
      high: groups.map((g) => Math.max(...g)),
      n: groups.map((g) => g.length),
    };
  }

  function spread(t, i) {
    return `<br>${short(t.low[i])} to ${short(t.high[i])}, ${t.n[i]} runs`;
  }

  function curves(data, role, plot) {
    const quantities = [...new Set(data.curves.flatMap((run) => [
      ...Object.keys(run.train.y), ...Object.keys(run.val.y),
    ]))];
    quantities.sort((a, b) => (b === 'loss') - (a === 'loss'));
    for (const name of quantities) role('quantity').append(new Option(name, name));

    function redraw() {
      const name = role('quantity').value, share = Number(role('smoothing').value);
      role('smoothing').nextElementSibling.value = share.toFixed(2);
      const traces = [];
      data.conditions.forEach((condition, place) => {
        const runs = data.curves.filter((run) => run.condition === place)
          .map((run) => ({ ...run, part: name in run.train.y ? run.train : run.val }))
          .filter((run) => name in run.part.y)
          .map((run) => ({ run: run.run, x: run.part.x, y: smooth(run.part.y[name], share) }));
        if (runs.length) traces.push(...lines(condition, `g${place}`, runs));
      });
      const y = axis(name, { type: role('log').checked ? 'log' : 'linear' });
      const more = { hovermode: 'closest', uirevision: name };
      return draw(plot, traces, layout(axis('iteration'), y, more));
    }

    function lines(condition, group, runs) {
      const shade = colour(`--c${condition.colour}`);
      const marks = runs[0].x.length < 25;
      const line = { color: shade, dash: condition.dash, width: 2 };
      const common = { legendgroup: group, name: brief(condition.label), type: 'scatter' };
      if (role('each').checked) {
        return runs.map((run, i) => ({
          ...common, x: run.x, y: run.y, mode: 'lines', line: { ...line, width: 1.2 },
          showlegend: i === 0,
          hovertemplate: `<b>${plain(run.run)}</b><br>iteration %{x}<br>%{y:.4g}<extra></extra>`,
        }));
      }
      const t = together(runs);
      const text = t.x.map((x, i) => `<b>${plain(condition.label)}</b><br>iteration ${x}<br>`
        + short(t.mean[i]) + (t.n[i] > 1 ? spread(t, i) : ''));
      const mean = {
        ...common, x: t.x, y: t.mean, mode: marks ? 'lines+markers' : 'lines', line, text,
        marker: { symbol: condition.symbol, size: 7, color: shade },
        hovertemplate: '%{text}<extra></extra>',
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

    for (const name of ['quantity', 'smoothing', 'log', 'each']) {
      role(name).addEventListener('input', redraw);
    }
    redraw();
    return redraw;
  }

  // -- trade-off ----------------------------------------------------------------------------------

  // The points that no other one beats in both; from the cheapest on.
  function front(points, better) {
    const sign = better === false ? -1 : 1;
    const sorted = [...points].sort((a, b) => a.x - b.x || sign * (b.y - a.y));
    let best = -Infinity;
    return sorted.filter((p) => sign * p.y > best && ((best = sign * p.y), true));
  }

  function trade(data, role, plot) {
    function redraw() {
      const score = data.trade.scores[role('score').value], cost = role('cost').value;
      const points = data.conditions
        .map((condition, i) => ({
          condition, x: data.trade.costs[cost][i], y: score.mean[i], sd: score.sd[i], n: score.n[i],
        }))
        .filter((p) => p.x !== null && p.y !== null);
      const title = data.trade.names[cost];
      const traces = points.map((p) => ({
        type: 'scatter', mode: 'markers', name: brief(p.condition.label), x: [p.x], y: [p.y],
        marker: { symbol: p.condition.symbol, size: SYMBOL_SIZE, color: colour(`--c${p.condition.colour}`) },
        error_y: {
          type: 'data', array: [p.sd ?? 0], visible: p.sd !== null, thickness: 1.2, width: 4,
          color: colour(`--c${p.condition.colour}`),
        },
        hovertemplate: `<b>${plain(p.condition.label)}</b><br>`
          .concat(`${plain(role('score').value)} ${short(p.y)}`)
          .concat(p.sd === null ? '' : ` ± ${short(p.sd)} (n = ${p.n})`)
          .concat(`<br>${plain(title)} %{x:.4s}<extra></extra>`),
      }));
      const edge = score.better === null ? [] : front(points, score.better);
      if (edge.length > 1) {
        traces.unshift({
          type: 'scatter', mode: 'lines', x: edge.map((p) => p.x), y: edge.map((p) => p.y),
          line: { color: colour('--muted'), width: 1.2, dash: 'dot' }, hoverinfo: 'skip',
          showlegend: false,
        });
      }
      const arrow = { true: ' ↑', false: ' ↓', null: '' }[score.better];
      const x = axis(title, { type: role('log').checked ? 'log' : 'linear', tickformat: '~s' });
      const y = axis(role('score').value + arrow);
      return draw(plot, traces, layout(x, y, { hovermode: 'closest' }));
    }
    // A cost that all have in common tells nothing.
    const known = (values) => new Set(values.filter((value) => value !== null));
    const differs = Object.entries(data.trade.costs).find(([, values]) => known(values).size > 1);
    if (differs) [role('cost').value] = differs;
    for (const name of ['score', 'cost', 'log']) role(name).addEventListener('input', redraw);
    redraw();
    return redraw;
  }
})();
