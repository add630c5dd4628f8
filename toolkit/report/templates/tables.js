'use strict';
// Tables: sorting by a column, and columns that can be shown or hidden.
(() => {
  const collator = new Intl.Collator('en', { numeric: true });
  function compare(a, b) {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? collator.compare(a, b) : x - y;
  }

  function value(cell) {
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text === '-' ? '' : text;
  }

  // The first click puts the best first, the second the worst; what is missing stays last.
  function sort(table, column) {
    const heads = table.tHead.rows[0].cells, head = heads[column];
    const first = head.dataset.better === 'higher' ? 'descending' : 'ascending';
    const other = first === 'ascending' ? 'descending' : 'ascending';
    const order = head.getAttribute('aria-sort') === first ? other : first;
    for (const one of heads) one.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', order);
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
    rows.sort(([x], [y]) => {
      if (x === '' || y === '') return (x === '') - (y === '');
      return order === 'ascending' ? compare(x, y) : compare(y, x);
    });
    body.append(...rows.map(([, row]) => row));
  }

  function show(table, column, shown) {
    for (const row of table.rows) row.cells[column].hidden = !shown;
  }

  function offerColumns(table) {
    const details = document.querySelector(`[data-columns="${table.id}"]`);
    if (!details) return;
    const heads = [...table.tHead.rows[0].cells];
    details.querySelector('div').append(...heads.slice(1).map((head, i) => {
      const label = document.createElement('label'), box = document.createElement('input');
      box.type = 'checkbox';
      box.checked = !head.hidden;
      box.addEventListener('change', () => show(table, i + 1, box.checked));
      label.append(box, ` ${head.textContent.trim()}`);
      return label;
    }));
  }

  for (const table of document.querySelectorAll('table.sortable')) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector('button').addEventListener('click', () => sort(table, column));
    });
    offerColumns(table);
  }
})();
