'use strict';
// Scores over variants and axes: a heat map, lines along an axis, and parallel coordinates.
(() => {
  const CELL = 24, MOST_ROWS = 60; // pixels of a row; rows with a height of their own

  function factors(data) {
    // An axis may be called variant or data too.
    const own = (name) => (data.axes.includes(name) ? `${name} (study)` : name);
    const read = {
      [own('variant')]: (c) => c.variant,
      ...Object.fromEntries(data.axes.map((axis) => [axis, (c) => c.settings[axis] ?? null])),
      [own('data')]: (c) => c.data,
    };
    const several = ([, of]) => new Set(data.conditions.map(of).filter((v) => v !== null)).size > 1;
    return Object.fromEntries(Object.entries(read).filter(several));
  }

  function values(conditions, of) {
    return [...new Set(conditions.map(of).filter((value) => value !== null))];
  }

  function last(path) { return path.split('.').at(-1); }

  function offer(select, names, chosen) {
    select.append(...names.map((n) => new Option(last(n), n, n === chosen, n === chosen)));
  }

  function average(found) { return found.reduce((a, b) => a + b) / found.length; }

  // From the worst to the best value, in both themes.
  function scale(tools, better) {
    const ends = [tools.colour('--low'), tools.colour('--high')];
    if (better === false) ends.reverse();
    return [[0, ends[0]], [1, ends[1]]];
  }

  window.charts.map = (data, role, plot, tools, state) => {
    const known = factors(data), names = Object.keys(known);
    window.report.offerMetrics(role('score'), data, state.metric);
    offer(role('rows'), names, names[0]);
    offer(role('columns'), names, names[1]);
    function redraw() {
      const name = role('score').value, [down, across] = [role('rows').value, role('columns').value];
      const shown = [...state.visible].map((i) => data.conditions[i]);
      const rows = values(shown, known[down]), columns = values(shown, known[across]);
      const cells = rows.map((row) => columns.map((column) => shown
        .filter((c) => known[down](c) === row && known[across](c) === column)
        .map((c) => c.scores[name].mean).filter((mean) => mean !== null)));
      const z = cells.map((row) => row.map((cell) => (cell.length ? average(cell) : null)));
      const text = cells.map((row, i) => row.map((cell, j) => `<b>${tools.plain(rows[i])}</b>, `
        + `${tools.plain(columns[j])}<br>${tools.plain(name)} `
        + (cell.length ? tools.short(average(cell)) : '-')
        + (cell.length > 1 ? `<br>mean of ${cell.length} conditions` : '')));
      const trace = {
        type: 'heatmap', z, text, hovertemplate: '%{text}<extra></extra>', xgap: 1, ygap: 1,
        x: columns.map((_, i) => i), y: rows.map((_, i) => i), showlegend: false,
        colorscale: scale(tools, data.metrics[name]),
        colorbar: { thickness: 12, outlinewidth: 0, tickfont: { color: tools.colour('--ink') } },
      };
      const ticks = (found) => ({
        tickmode: 'array', tickvals: found.map((_, i) => i), showgrid: false,
        ticktext: found.map((value) => tools.brief(value)), ticks: '',
      });
      const height = 110 + CELL * Math.min(Math.max(rows.length, 5), MOST_ROWS);
      const x = tools.axis(last(across), ticks(columns));
      const y = tools.axis(last(down), { ...ticks(rows), autorange: 'reversed' });
      return tools.draw(plot, [trace], tools.layout(x, y, { height }));
    }
    for (const one of ['score', 'rows', 'columns']) role(one).addEventListener('input', redraw);
    redraw();
    return redraw;
  };

  window.charts.along = (data, role, plot, tools, state) => {
    const known = factors(data), names = Object.keys(known).filter((n) => data.axes.includes(n));
    window.report.offerMetrics(role('score'), data, state.metric);
    offer(role('axis'), names, names[0]);
    function redraw() {
      const name = role('score').value, path = role('axis').value, of = known[path];
      const every = values(data.conditions, of), numeric = every.every((v) => v !== '' && isFinite(v));
      role('logx').disabled = !numeric;
      const rest = (c) => [c.variant, ...data.axes.filter((a) => a !== path)
        .filter((a) => a in known).map((a) => `${last(a)}=${c.settings[a]}`),
      ...(c.data === null ? [] : [c.data])].join(', ');
      const groups = new Map();
      for (const place of state.visible) {
        const c = data.conditions[place];
        if (c.scores[name].mean === null || of(c) === null) continue;
        if (!groups.has(rest(c))) groups.set(rest(c), []);
        groups.get(rest(c)).push(c);
      }
      const sign = data.metrics[name] === false ? 1 : -1;
      const best = (group) => Math.min(...group.map((c) => sign * c.scores[name].mean));
      const first = ([, a], [, b]) => b[0].reference - a[0].reference || best(a) - best(b);
      const shown = [...groups].sort(first).slice(0, window.report.MOST_DRAWN);
      role('left').textContent = shown.length < groups.size
        ? `${shown.length} of ${groups.size} lines: the reference and the best` : '';
      const traces = shown.map(([label, group]) => {
        const { shade, line, marker } = tools.style(group[0]);
        const at = group.map((c) => ({ x: numeric ? Number(of(c)) : of(c), ...c.scores[name] }));
        at.sort((a, b) => (numeric ? a.x - b.x : every.indexOf(a.x) - every.indexOf(b.x)));
        return {
          type: 'scatter', mode: 'lines+markers', name: tools.brief(label), marker,
          line: { ...line, dash: 'solid' }, x: at.map((p) => p.x), y: at.map((p) => p.mean),
          error_y: {
            type: 'data', array: at.map((p) => p.sd ?? 0), thickness: 1, width: 3, color: shade,
          },
          hovertemplate: `<b>${tools.plain(label)}</b><br>${tools.plain(last(path))} %{x}`
            + `<br>${tools.plain(name)} %{y:.4g}<extra></extra>`,
        };
      });
      const type = numeric ? (role('logx').checked ? 'log' : 'linear') : 'category';
      const x = tools.axis(last(path), { type });
      return tools.draw(plot, traces, tools.layout(x, tools.metricAxis(data, name), {
        hovermode: 'closest',
      }));
    }
    for (const one of ['score', 'axis', 'logx']) role(one).addEventListener('input', redraw);
    redraw();
    return redraw;
  };

  // Columns of the parallel coordinates: what was chosen, then what came out.
  function columns(data) {
    const of = Object.entries(factors(data)).map(([name, read]) => [last(name), read, null]);
    const paths = data.columns
      .map((path) => [last(path), (_, i) => data.hyperparameters[path][i], null]);
    const scores = Object.entries(data.metrics)
      .map(([name, better]) => [name, (c) => c.scores[name].mean, better]);
    const cost = data.conditions.some((c) => c.costs.seconds !== null)
      ? [['seconds', (c) => c.costs.seconds, false]] : [];
    const most = Math.max(1, 9 - scores.length - of.length);
    return [...of, ...paths.slice(0, most), ...scores, ...cost];
  }

  // Positions from 0 to 1: numbers by value, words in order.
  function place(found) {
    const known = found.filter((v) => v !== null && v !== '');
    const numeric = known.every((v) => Number.isFinite(Number(v)));
    if (numeric) {
      const numbers = known.map(Number), low = Math.min(...numbers), high = Math.max(...numbers);
      const at = (v) => (v === null || v === '' ? null : high > low ? (Number(v) - low) / (high - low) : 0.5);
      return { at, ends: [low, high] };
    }
    const words = [...new Set(known)];
    const at = (v) => (words.includes(v) ? words.indexOf(v) / Math.max(1, words.length - 1) : null);
    return { at, ends: [words[0], words.at(-1)] };
  }

  window.charts.parallel = (data, role, plot, tools, state) => {
    window.report.offerMetrics(role('score'), data, state.metric);
    const every = columns(data);
    function redraw() {
      const name = role('score').value, better = data.metrics[name];
      const shown = [...state.visible].filter((i) => data.conditions[i].scores[name].mean !== null);
      const places = every.map(([, of]) => place(shown.map((i) => of(data.conditions[i], i))));
      const scored = place(shown.map((i) => data.conditions[i].scores[name].mean));
      const [low, high] = [tools.colour('--low'), tools.colour('--high')];
      const mix = (share) => `rgb(${[1, 3, 5].map((k) => Math.round(
        parseInt(low.slice(k, k + 2), 16) * (1 - share) + parseInt(high.slice(k, k + 2), 16) * share,
      ))})`;
      const goodness = (i) => {
        const at = scored.at(data.conditions[i].scores[name].mean);
        return better === false ? 1 - at : at;
      };
      // The best lie on top.
      const traces = [...shown].sort((a, b) => goodness(a) - goodness(b)).map((i) => {
        const c = data.conditions[i];
        return {
          type: 'scatter', mode: 'lines', showlegend: false, x: every.map((_, k) => k),
          y: every.map(([, of], k) => places[k].at(of(c, i))),
          line: { color: mix(goodness(i)), width: shown.length > 60 ? 1 : 1.6 },
          text: every.map(([title, of]) => `<b>${tools.plain(c.label)}</b><br>${tools.plain(title)} `
            + tools.plain(typeof of(c, i) === 'number' ? tools.short(of(c, i)) : of(c, i) ?? '-')),
          hovertemplate: '%{text}<extra></extra>',
        };
      });
      const digits = tools.narrow() ? 2 : 4;
      const end = (value) => tools.brief(
        typeof value === 'number' ? String(Number(value.toPrecision(digits))) : value ?? '',
      );
      const mark = (text, x, y, yanchor) => ({
        text, x, y, yanchor, showarrow: false, font: { size: 11, color: tools.colour('--muted') },
        bgcolor: tools.colour('--paper'),
      });
      const annotations = places.flatMap(({ ends }, k) => [
        mark(end(ends[0]), k, -0.03, 'top'), mark(end(ends[1]), k, 1.03, 'bottom'),
      ]);
      const x = tools.axis('', {
        tickmode: 'array', tickvals: every.map((_, k) => k), range: [-0.4, every.length - 0.6],
        ticktext: every.map(([title, , b]) => tools.brief(title)
          + ({ true: ' ↑', false: ' ↓' }[b] ?? '')), gridcolor: tools.colour('--muted'),
        tickangle: tools.narrow() ? -60 : 'auto', ticks: '',
      });
      const y = tools.axis('', { range: [-0.14, 1.14], visible: false });
      return tools.draw(plot, traces, tools.layout(x, y, { hovermode: 'closest', annotations }));
    }
    role('score').addEventListener('input', redraw);
    redraw();
    return redraw;
  };
})();
