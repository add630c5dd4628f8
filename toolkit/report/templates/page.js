'use strict';
// The page itself: theme, contents, printing.
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

  // -- contents ---------------------------------------------------------------------------------
  const contents = document.querySelector('.contents details');
  const narrow = window.matchMedia('(max-width: 1099px)');
  const fold = () => { contents.open = !narrow.matches; };
  narrow.addEventListener('change', fold);
  fold();
  contents.addEventListener('click', (event) => {
    if (narrow.matches && event.target.closest('a')) contents.open = false;
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && narrow.matches) contents.open = false;
  });

  // The heading that was passed last is where the reader is.
  const links = new Map();
  for (const link of contents.querySelectorAll('a')) links.set(link.hash.slice(1), link);
  const headings = [...links.keys()].map((id) => document.getElementById(id));
  let asked = false;
  function mark() {
    asked = false;
    const passed = headings.filter((heading) => heading.getBoundingClientRect().top < 160);
    const current = links.get((passed.at(-1) ?? headings[0]).id);
    for (const link of links.values()) {
      if (link === current) link.setAttribute('aria-current', 'location');
      else link.removeAttribute('aria-current');
    }
  }
  window.addEventListener('scroll', () => {
    if (!asked) requestAnimationFrame(mark);
    asked = true;
  }, { passive: true });
  mark();

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
