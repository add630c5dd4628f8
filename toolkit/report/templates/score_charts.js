'use strict';
// Scores of conditions: against their cost, and run by run.
(() => {
  const SYMBOL_SIZE = 11, ROW = 26; // pixels

  function offerMetrics(select, data, metric) {
    const known = Object.keys(data.metrics)
      .filter((name) => data.conditions.some((c) => c.scores[name].mean !== null));
    select.append(...known.map((name) => new Option(name, name, name === metric, name === metric)));
  }

  // The points that no other one beats in both; from the cheapest on.
  function front(points, better) {
    const sign = better === false ? -1 : 1;
    const sorted = [...points].sort((a, b) => a.x - b.x || sign * (b.y - a.y));
    let best = -Infinity;
    return sorted.filter((p) => sign * p.y > best && ((best = sign * p.y), true));
  }

  window.charts.trade = (data, role, plot, tools, state) => {
    const { plain, short, brief } = tools;
    offerMetrics(role('score'), data, state.metric);
    const costs = Object.keys(data.costs)
      .filter((name) => data.conditions.some((c) => c.costs[name] !== null));
    // A cost that all have in common tells nothing.
    const differs = costs.find((name) => new Set(
      data.conditions.map((c) => c.costs[name]).filter((value) => value !== null),
    ).size > 1);
    role('cost').append(...costs.map((n) => new Option(data.costs[n], n, n === differs, n === differs)));

    function redraw() {
      const name = role('score').value, cost = role('cost').value, title = data.costs[cost];
      const points = [...state.visible].map((i) => data.conditions[i])
        .map((condition) => ({ condition, x: condition.costs[cost], ...condition.scores[name] }))
        .map((p) => ({ ...p, y: p.mean })).filter((p) => p.x !== null && p.y !== null);
      const traces = points.map((p) => {
        const { shade, marker } = tools.style(p.condition);
        return {
          type: 'scatter', mode: 'markers', name: brief(p.condition.label), x: [p.x], y: [p.y],
          marker: { ...marker, size: SYMBOL_SIZE },
          error_y: {
            type: 'data', array: [p.sd ?? 0], visible: p.sd !== null, thickness: 1.2, width: 4,
            color: shade,
          },
          hovertemplate: `<b>${plain(p.condition.label)}</b><br>${plain(name)} ${short(p.y)}`
            .concat(p.sd === null ? '' : ` ± ${short(p.sd)} (n = ${p.n})`)
            .concat(`<br>${plain(title)} %{x:.4s}<extra></extra>`),
        };
      });
      const better = data.metrics[name];
      const edge = better === null ? [] : front(points, better);
      if (edge.length > 1) {
        traces.unshift({
          type: 'scatter', mode: 'lines', x: edge.map((p) => p.x), y: edge.map((p) => p.y),
          line: { color: tools.colour('--muted'), width: 1.2, dash: 'dot' }, hoverinfo: 'skip',
          showlegend: false,
        });
      }
      const x = tools.axis(title, { type: role('log').checked ? 'log' : 'linear', tickformat: '~s' });
      const shape = tools.layout(x, tools.metricAxis(data, name), { hovermode: 'closest' });
      return tools.draw(plot, traces, shape);
    }
    for (const name of ['score', 'cost', 'log']) role(name).addEventListener('input', redraw);
    redraw();
    return redraw;
  };

  window.charts.points = (data, role, plot, tools, state) => {
    const { plain, short, brief } = tools;
    offerMetrics(role('score'), data, state.metric);
    function redraw() {
      const name = role('score').value;
      const shown = [...state.drawn].filter((i) => data.conditions[i].scores[name].mean !== null);
      const traces = shown.map((place, row) => {
        const condition = data.conditions[place], { marker } = tools.style(condition);
        const runs = data.runs.filter((r) => r.condition === place && (r.metrics[name] ?? null) !== null);
        return {
          type: 'scatter', mode: 'markers', showlegend: false, name: brief(condition.label),
          x: runs.map((run) => run.metrics[name]), y: runs.map(() => row),
          marker: { ...marker, opacity: 0.75 },
          text: runs.map((run) => `<b>${plain(run.id)}</b><br>seed ${run.seed}`
            + (run.fold === null ? '' : `, fold ${run.fold}`)
            + `<br>${plain(name)} ${short(run.metrics[name])}`),
          hovertemplate: '%{text}<extra></extra>',
        };
      });
      traces.push({
        type: 'scatter', mode: 'markers', showlegend: false, hoverinfo: 'skip',
        x: shown.map((i) => data.conditions[i].scores[name].mean), y: shown.map((_, row) => row),
        marker: {
          symbol: 'line-ns-open', size: 18, line: { width: 2, color: tools.colour('--ink') },
          color: tools.colour('--ink'),
        },
      });
      const y = tools.axis('', {
        tickmode: 'array', tickvals: shown.map((_, row) => row), ticks: '',
        ticktext: shown.map((i) => brief(data.conditions[i].label)), range: [shown.length - 0.4, -0.6],
      });
      return tools.draw(plot, traces, tools.layout(tools.metricAxis(data, name), y, {
        hovermode: 'closest', height: 90 + ROW * shown.length,
      }));
    }
    role('score').addEventListener('input', redraw);
    window.report.chooser(role('choose'), state);
    redraw();
    return redraw;
  };
  window.report.offerMetrics = offerMetrics;
})();
