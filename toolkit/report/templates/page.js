'use strict';
// The page itself: theme, sorting, printing.
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const stored = () => { try { return localStorage.getItem('theme'); } catch { return null; } };
  const chosen = () => document.querySelector('.theme input:checked').value;

  function apply(theme) {
    const name = theme === 'auto' ? (dark.matches ? 'dark' : 'light') : theme;
    if (root.dataset.theme === name) return;
    root.dataset.theme = name;
    document.dispatchEvent(new Event('themechange'));
  }

  for (const input of document.querySelectorAll('.theme input')) {
    if (input.value === stored()) input.checked = true;
    input.addEventListener('change', () => {
      try { localStorage.setItem('theme', input.value); } catch { /* a file may not store */ }
      apply(input.value);
    });
  }
  dark.addEventListener('change', () => apply(chosen()));
  apply(chosen());

  // -- tables -----------------------------------------------------------------------------------
  const collator = new Intl.Collator('en', { numeric: true });
  function compare(a, b) {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? collator.compare(a, b) : x - y;
  }

  function sort(table, column) {
    const heads = table.tHead.rows[0].cells;
    const head = heads[column];
    const up = head.getAttribute('aria-sort') !== 'ascending';
    for (const other of heads) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const body = table.tBodies[0];
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === '' || y === '') return (x === '') - (y === ''); // what is missing stays last
      return up ? compare(x, y) : compare(y, x);
    });
    body.append(...rows);
  }

  for (const table of document.querySelectorAll('table.sortable')) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector('button').addEventListener('click', () => sort(table, column));
    });
  }

  // -- paper ------------------------------------------------------------------------------------
  let opened = [];
  window.addEventListener('beforeprint', () => {
    // Whole configs and lists of packages are for screens.
    opened = [...document.querySelectorAll('details:not([open])')]
      .filter((details) => details.querySelector('.diff, table'));
    for (const details of opened) details.open = true;
    apply('light');
  });
  window.addEventListener('afterprint', () => {
    for (const details of opened) details.open = false;
    apply(chosen());
  });
})();
