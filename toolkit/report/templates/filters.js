'use strict';
// Search and filters of a section: what they leave is shown in its tables and charts.
(() => {
  const AXIS = 'axis:'; // an axis may be called data or status too
  const KEY = `filters:${document.title}`;

  function remembered() {
    try { return JSON.parse(sessionStorage.getItem(KEY)) ?? {}; } catch { return {}; }
  }

  function remember(section, values) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ ...remembered(), [section]: values }));
    } catch { /* a file may not store */ }
  }

  // Words that must all stand in a label, and `-word` for one that must not.
  function matches(label, words) {
    const text = label.toLowerCase();
    return words.every((word) => (word.length > 1 && word.startsWith('-')
      ? !text.includes(word.slice(1)) : text.includes(word)));
  }

  function fits(condition, name, value) {
    if (name.startsWith(AXIS)) return condition.settings[name.slice(AXIS.length)] === value;
    return condition[name] === value;
  }

  async function start(form) {
    const section = form.dataset.filters, article = document.getElementById(section);
    const search = form.querySelector('[data-role="search"]');
    const selects = [...form.querySelectorAll('select')];
    const count = form.querySelector('output');
    const rows = [...article.querySelectorAll('[data-condition]')];
    const state = await window.report.load(section);
    const { conditions, runs } = state.data;
    const statuses = conditions.map(() => new Set());
    for (const run of runs) statuses[run.condition].add(run.status);

    function apply() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = selects.filter((s) => s.value !== '').map((s) => [s.name, s.value]);
      const status = wanted.find(([name]) => name === 'status')?.[1];
      const visible = new Set([...conditions.keys()].filter((i) => (
        matches(conditions[i].label, words)
        && wanted.every(([name, value]) => (name === 'status'
          ? statuses[i].has(value) : fits(conditions[i], name, value))))));
      for (const row of rows) {
        const other = status && row.dataset.status && row.dataset.status !== status;
        row.hidden = other || !visible.has(Number(row.dataset.condition));
      }
      const active = words.length > 0 || wanted.length > 0;
      count.value = active ? `${visible.size} of ${conditions.length} shown` : '';
      form.toggleAttribute('data-active', active);
      remember(section, [search.value, ...selects.map((s) => s.value)]);
      state.filter(visible);
    }

    let later;
    search.addEventListener('input', () => { clearTimeout(later); later = setTimeout(apply, 120); });
    for (const select of selects) select.addEventListener('change', apply);
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('reset', () => setTimeout(apply));
    const [text, ...values] = remembered()[section] ?? [''];
    search.value = text;
    selects.forEach((select, i) => {
      if ([...select.options].some((o) => o.value === values[i])) select.value = values[i];
    });
    if (text || values.some(Boolean)) apply();
  }

  for (const form of document.querySelectorAll('[data-filters]')) start(form);
})();
