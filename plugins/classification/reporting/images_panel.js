'use strict';
// One test image by all variants: the image, and what each of them looks at in it.
for (const figure of document.querySelectorAll('[data-looks]')) {
  const data = JSON.parse(figure.querySelector('script').textContent);
  const role = (name) => figure.querySelector(`[data-role="${name}"]`);
  const fill = (select, names) => select.replaceChildren(...names.map((n) => new Option(n, n)));

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function picture(place, title, lines) {
    const shown = element('figure'), image = element('img'), words = element('figcaption');
    image.src = data.images[place];
    image.alt = title;
    words.append(element('b', title), ...lines);
    shown.append(image, words);
    return shown;
  }

  function said(task, told) {
    const probability = told.probabilities[told.class];
    const text = `${task}: ${told.prediction}, p(${told.class}) = ${probability.toFixed(2)}`;
    const wrong = told.label !== null && told.label !== told.prediction;
    const line = element('small', text, wrong ? 'wrong' : '');
    if (wrong) line.title = `true class: ${told.label}`;
    return line;
  }

  function show() {
    const item = data.items.find((one) => one.item === role('item').value);
    const layer = role('layer').value;
    const first = item.variants[0];
    const labels = Object.entries(first.tasks)
      .map(([task, told]) => element('small', `${task}: ${told.label ?? 'no label'}`));
    role('row').replaceChildren(
      picture(first.layers.image, item.item, labels),
      ...item.variants.filter((one) => layer in one.layers).map((one) => picture(
        one.layers[layer], one.label, Object.entries(one.tasks).map(([t, told]) => said(t, told)),
      )),
    );
  }

  // For comparisons of two runs: what a variant looks at in each image.
  const section = figure.closest('article').id;
  window.report.pictures.push((of, label) => (of !== section ? [] : data.items.flatMap((one) => (
    one.variants.filter((variant) => variant.label === label).flatMap((variant) => (
      data.layers.filter((layer) => layer in variant.layers).map((layer) => ({
        title: `${one.item}: ${layer}`, source: data.images[variant.layers[layer]],
      }))))))));

  fill(role('item'), data.items.map((one) => one.item));
  fill(role('layer'), data.layers);
  for (const name of ['item', 'layer']) role(name).addEventListener('input', show);
  show();
}
