'use strict';
// Two pictures over or beside each other; what is seen of both is one centre and one zoom.
for (const figure of document.querySelectorAll('[data-swipe]')) {
  const data = JSON.parse(figure.querySelector('script').textContent);
  const role = (name) => figure.querySelector(`[data-role="${name}"]`);
  const stage = figure.querySelector('.stage');
  const panes = [...figure.querySelectorAll('.pane')];
  const images = [role('left-image'), role('right-image')];
  const divider = figure.querySelector('.divider');
  const MOST = 24, STEP = 1.4, SHARP = 2;
  const view = { x: 0, y: 0, zoom: 1, split: 50 };
  let item = data.items[0];

  // For comparisons of two runs: what a variant has made of each scene.
  const section = figure.closest('article').id;
  window.report.pictures.push((of, label) => (of !== section ? [] : data.items.flatMap((scene) => (
    scene.layers.filter((layer) => layer.name === label || layer.name.startsWith(`${label}: `))
      .map((layer) => ({ title: `${scene.name}: ${layer.name}`, source: data.images[layer.image] }))
  ))));

  // -- what is shown ------------------------------------------------------------------------------

  function fill(select, names, wanted) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(wanted)) select.value = wanted;
  }

  function choose(index) {
    const names = data.items[index].layers.map((layer) => layer.name);
    const scene = ['PAN', 'upsampled MS', 'reference'];
    const variant = names.find((name) => !scene.includes(name)) ?? names.at(-1);
    const before = [role('left').value, role('right').value];
    item = data.items[index];
    fill(role('left'), names, names.includes(before[0]) ? before[0] : 'upsampled MS');
    fill(role('right'), names, names.includes(before[1]) ? before[1] : variant);
    whole();
    show();
  }

  function show() {
    ['left', 'right'].forEach((side, i) => {
      const name = role(side).value;
      const layer = item.layers.find((x) => x.name === name);
      images[i].src = data.images[layer.image];
      images[i].alt = `${item.name}: ${name}`;
      images[i].width = item.width;
      images[i].height = item.height;
      role(`${side}-tag`).textContent = name;
    });
    place();
  }

  // -- where it is shown --------------------------------------------------------------------------

  function beside() { return stage.dataset.mode === 'beside'; }

  function size(room = figure.clientWidth) {
    const columns = beside() ? 2 : 1;
    const tall = Math.min(window.innerHeight * 0.82, 900);
    const width = Math.min(room, columns * tall * item.width / item.height);
    stage.style.width = `${width}px`;
    stage.style.height = `${width / columns * item.height / item.width}px`;
  }

  // The centre of what is seen, so that nothing beyond the picture is.
  function inside(centre, seen, all) {
    return seen >= all ? all / 2 : Math.min(Math.max(centre, seen / 2), all - seen / 2);
  }

  function place() {
    const pane = panes[0].getBoundingClientRect();
    const scale = Math.min(pane.width / item.width, pane.height / item.height) * view.zoom;
    view.x = inside(view.x, pane.width / scale, item.width);
    view.y = inside(view.y, pane.height / scale, item.height);
    view.scale = scale;
    for (const image of images) {
      const [left, top] = [pane.width / 2 - view.x * scale, pane.height / 2 - view.y * scale];
      image.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
      image.style.imageRendering = scale >= SHARP ? 'pixelated' : 'auto';
    }
    panes[0].style.clipPath = beside() ? '' : `inset(0 ${100 - view.split}% 0 0)`;
    panes[1].style.clipPath = beside() ? '' : `inset(0 0 0 ${view.split}%)`;
    divider.style.left = `${view.split}%`;
    divider.setAttribute('aria-valuenow', Math.round(view.split));
    stage.toggleAttribute('data-zoomed', view.zoom > 1);
    role('zoom').value = `${Number(view.zoom.toPrecision(2))}×`;
  }

  function whole() {
    Object.assign(view, { x: item.width / 2, y: item.height / 2, zoom: 1 });
  }

  // Zoom so that what lies under a point of the stage stays there.
  function zoom(factor, clientX, clientY) {
    const target = Math.min(Math.max(view.zoom * factor, 1), MOST);
    if (clientX !== undefined) {
      const pane = paneAt(clientX);
      const dx = clientX - pane.left - pane.width / 2, dy = clientY - pane.top - pane.height / 2;
      const after = view.scale * target / view.zoom;
      view.x += dx / view.scale - dx / after;
      view.y += dy / view.scale - dy / after;
    }
    view.zoom = target;
    place();
  }

  function paneAt(clientX) {
    const second = panes[1].getBoundingClientRect();
    return beside() && clientX >= second.left ? second : panes[0].getBoundingClientRect();
  }

  function move(dx, dy) {
    view.x -= dx / view.scale;
    view.y -= dy / view.scale;
    place();
  }

  function split(percent) {
    view.split = Math.min(Math.max(percent, 0), 100);
    place();
  }

  function splitAt(clientX) {
    const box = stage.getBoundingClientRect();
    split(100 * (clientX - box.left) / box.width);
  }

  // -- mouse and touch ----------------------------------------------------------------------------

  const held = new Map();
  let onDivider = false;

  stage.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    onDivider = divider.contains(event.target);
    (onDivider ? divider : stage).focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event);
    stage.toggleAttribute('data-held', true);
    if (divides()) splitAt(event.clientX);
    event.preventDefault();
  });

  // One finger or the mouse moves the divider, unless there is something to move to.
  function divides() { return held.size === 1 && !beside() && (onDivider || view.zoom === 1); }

  stage.addEventListener('pointermove', (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const other = [...held.values()].find((x) => x.pointerId !== event.pointerId);
    held.set(event.pointerId, event);
    if (other) {
      const apart = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY);
      const middle = [(event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2];
      move((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
      zoom(apart(event) / Math.max(apart(before), 1), ...middle);
    } else if (divides()) {
      splitAt(event.clientX);
    } else {
      move(event.clientX - before.clientX, event.clientY - before.clientY);
    }
  });

  for (const end of ['pointerup', 'pointercancel']) {
    stage.addEventListener(end, (event) => {
      held.delete(event.pointerId);
      stage.toggleAttribute('data-held', held.size > 0);
    });
  }

  stage.addEventListener('wheel', (event) => {
    // A page that scrolls by must not be caught by the picture.
    if (!event.ctrlKey && !stage.contains(document.activeElement)) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), event.clientX, event.clientY);
  }, { passive: false });

  stage.addEventListener('dblclick', (event) => zoom(2, event.clientX, event.clientY));

  // -- keys and controls --------------------------------------------------------------------------

  const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  stage.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (event.target === divider && arrow && arrow[0]) split(view.split - 2 * arrow[0]);
    else if (event.target === divider && event.key === 'Home') split(0);
    else if (event.target === divider && event.key === 'End') split(100);
    else if (arrow) move(arrow[0] * stage.clientWidth / 10, arrow[1] * stage.clientHeight / 10);
    else if (event.key === '+' || event.key === '=') zoom(STEP);
    else if (event.key === '-') zoom(1 / STEP);
    else if (event.key === '0') { whole(); place(); }
    else return;
    event.preventDefault();
  });

  role('in').addEventListener('click', () => zoom(STEP));
  role('out').addEventListener('click', () => zoom(1 / STEP));
  role('reset').addEventListener('click', () => { whole(); place(); });
  for (const side of ['left', 'right']) role(side).addEventListener('change', show);
  role('item').addEventListener('change', () => {
    choose(role('item').selectedIndex);
    size();
    place();
  });
  role('mode').addEventListener('change', () => {
    stage.dataset.mode = role('mode').value;
    size();
    place();
  });

  fill(role('item'), data.items.map((x) => x.name));
  role('scenes').hidden = data.items.length < 2;
  stage.dataset.mode = role('mode').value;
  choose(0);
  size();
  place();
  new ResizeObserver(() => { size(); place(); }).observe(figure);
  // What is on paper is laid out without a resize.
  const PAPER = 640;
  window.addEventListener('beforeprint', () => { size(PAPER); place(); });
  window.addEventListener('afterprint', () => { size(); place(); });
}
