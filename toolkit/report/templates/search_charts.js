'use strict';
// The history of a search: its trials in order, and the best value so far.
(() => {
  window.charts.history = (data, role, plot, tools, state) => {
    window.report.offerMetrics(role('score'), data, state.metric);
    function redraw() {
      const name = role('score').value, sign = data.metrics[name] === false ? -1 : 1;
      const points = [...state.visible].map((i) => ({ c: data.conditions[i], x: data.trials[i] }))
        .map((p) => ({ ...p, y: p.c.scores[name].mean }))
        .filter((p) => p.y !== null).sort((a, b) => a.x - b.x);
      let best = -Infinity;
      const line = points.map((p) => (best = Math.max(best, sign * p.y)) * sign);
      const colour = tools.colour('--high'), muted = tools.colour('--muted');
      const last = Math.max(...data.trials);
      const traces = [{
        type: 'scatter', mode: 'lines', x: [...points.map((p) => p.x), last],
        y: [...line, line.at(-1)], line: { color: colour, width: 2, shape: 'hv' },
        hoverinfo: 'skip', showlegend: false,
      }, {
        type: 'scatter', mode: 'markers', x: points.map((p) => p.x), y: points.map((p) => p.y),
        marker: { color: muted, size: 7 }, showlegend: false,
        text: points.map((p) => `<b>${tools.plain(p.c.label)}</b><br>${tools.plain(name)} `
          + tools.short(p.y)),
        hovertemplate: '%{text}<extra></extra>',
      }];
      const x = tools.axis('trial', { range: [-0.5, last + 0.5] });
      return tools.draw(plot, traces, tools.layout(x, tools.metricAxis(data, name), {
        hovermode: 'closest',
      }));
    }
    role('score').addEventListener('input', redraw);
    redraw();
    return redraw;
  };
})();
