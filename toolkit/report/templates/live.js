'use strict';
// A page that renews itself: it asks its server whether anything is new, and loads it then.
(() => {
  const SECONDS = 5, QUIET = 8; // between two questions; without a key or a click
  const live = document.querySelector('[data-live]');
  const box = live.querySelector('input'), told = live.querySelector('output');
  const KEY = `scroll:${document.title}`;
  const version = live.dataset.live;
  let touched = 0;

  for (const name of ['pointerdown', 'keydown', 'wheel', 'touchmove']) {
    window.addEventListener(name, () => { touched = Date.now(); }, { passive: true });
  }
  try {
    const top = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    if (top) window.addEventListener('load', () => window.scrollTo(0, Number(top)));
  } catch { /* a browser may not store */ }

  function renew() {
    try { sessionStorage.setItem(KEY, String(window.scrollY)); } catch { /* it starts at the top */ }
    window.location.reload();
  }

  async function ask() {
    try {
      const answer = await fetch('version', { cache: 'no-store' });
      if (!answer.ok) throw new Error(answer.statusText);
      const found = await answer.json();
      told.textContent = found.error;
      const busy = Date.now() - touched < QUIET * 1000 || document.hidden;
      if (found.version !== version && box.checked && !busy) renew();
      else if (found.version !== version && !found.error) told.textContent = 'there are new results';
    } catch {
      told.textContent = 'the server has ended';
    }
  }
  setInterval(ask, SECONDS * 1000);
})();
