'use strict';
// Draws the charts by plotly.js, which the page carries compressed.
// What draws the figures of each data-chart, by its name; other scripts and panels add theirs.
window.charts = {};
(async () => {
  const LEGEND_WIDTH = 190, LEGEND_LINE = 20; // pixels of an entry, about
  const MOST_ENTRIES = 12; // of a legend; the pointer tells the others
  const SIGNIFICANT = 4;
  const figures = [...document.querySelectorAll('[data-chart]')];
  const root = document.documentElement;
  if (document.readyState === 'loading') { // scripts of panels come after this one
    await new Promise((done) => document.addEventListener('DOMContentLoaded', done));
  }
  await pause(); // the page is painted before the library is read
  if (figures.length) await start();
  root.dataset.charts = 'drawn';
  async function start() {
    await unpack();
    const tools = {
      axis, layout, draw, colour, faint, plain, brief, short, narrow, style, metricAxis,
    };
    const redraws = new Map();
    for (const figure of figures) {
      const own = figure.querySelector('script[type="application/json"]');
      const state = own || !figure.dataset.section ? null
        : await window.report.load(figure.dataset.section);
      const data = own ? JSON.parse(own.textContent) : state?.data;
      const role = (name) => figure.querySelector(`[data-role="${name}"]`);
      const plot = figure.querySelector('.plot');
      redraws.set(figure, window.charts[figure.dataset.chart](data, role, plot, tools, state));
      follow(figure, state, redraws);
      await pause();
    }
    document.addEventListener('themechange', () => redraws.forEach((redraw) => redraw()));
    // What is on paper is laid out without a resize event.
    const PAPER = 640;
    const fit = (shape) => figures.forEach((f) => {
      const plot = f.querySelector('.plot');
      if (plot.data) Plotly.relayout(plot, shape);
    });
    window.addEventListener('beforeprint', () => fit({ width: PAPER }));
    window.addEventListener('afterprint', () => fit({ width: null, autosize: true }));
  }

  // A chart whose section is filtered is drawn anew when it is seen.
  function follow(figure, state, redraws) {
    if (!state) return;
    let stale = false, seen = false;
    const renew = () => {
      if (stale && seen) redraws.get(figure)();
      stale &&= !seen;
    };
    new IntersectionObserver(([entry]) => { seen = entry.isIntersecting; renew(); }, {
      rootMargin: '300px',
    }).observe(figure);
    state.addEventListener('change', () => { stale = true; renew(); });
    window.addEventListener('beforeprint', () => { if (stale) redraws.get(figure)(); stale = false; });
  }

  function pause() { return new Promise((done) => setTimeout(done)); }

  async function unpack() {
    const script = document.createElement('script');
    script.textContent = await window.report.unpack('library');
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
    if (entries > MOST_ENTRIES) shape.showlegend = false;
    const columns = Math.max(1, Math.floor(plot.clientWidth / LEGEND_WIDTH));
    const rows = shape.showlegend === false ? 0 : Math.ceil(entries / columns);
    shape.height = (shape.height ?? (narrow() ? 330 : 400)) + LEGEND_LINE * rows;
    const settings = {
      responsive: true, displaylogo: false, displayModeBar: narrow() ? false : 'hover',
      modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
      toImageButtonOptions: { format: 'svg' },
    };
    return Plotly.react(plot, traces, shape, settings);
  }

  function style(condition) {
    const shade = colour(`--c${condition.colour}`);
    return {
      shade,
      line: { color: shade, dash: condition.dash, width: 2 },
      marker: { symbol: condition.symbol, size: 8, color: shade },
    };
  }

  // An axis of a metric, with an arrow to its better values.
  function metricAxis(data, name, more) {
    const arrow = { true: ' ↑', false: ' ↓', null: '' }[data.metrics[name] ?? null];
    return axis(name + arrow, more);
  }
})();
