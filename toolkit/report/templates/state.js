'use strict';
// What each section shows: its data, the conditions that the filters leave, and those that are drawn.
window.report = (() => {
  const MOST_DRAWN = 12; // more curves at once cannot be told apart
  const REFERENCES = 3; // of these, where there are many: one per setting
  const states = new Map();

  async function unpack(id) {
    const text = document.getElementById(id).textContent.trim();
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).text();
  }

  class State extends EventTarget {
    constructor(data) {
      super();
      this.data = data;
      this.visible = new Set(data.conditions.keys());
      this.drawn = this.choose();
    }

    get metric() {
      const { metrics, primary } = this.data;
      const scored = Object.keys(metrics).filter((name) => metrics[name] !== null);
      return primary ?? scored[0] ?? Object.keys(metrics)[0];
    }

    // A few references, then the best.
    choose() {
      const { conditions, metrics } = this.data, metric = this.metric;
      const sign = metrics[metric] === false ? 1 : -1;
      const score = (i) => conditions[i].scores[metric]?.mean ?? sign * -Infinity;
      const ranked = [...this.visible].sort((a, b) => sign * (score(a) - score(b)) || a - b);
      const references = ranked.filter((i) => conditions[i].reference).slice(0, REFERENCES);
      const chosen = [...new Set([...references, ...ranked])].slice(0, MOST_DRAWN);
      return new Set(chosen.sort((a, b) => a - b));
    }

    filter(visible) {
      this.visible = visible;
      this.drawn = this.choose();
      this.dispatchEvent(new Event('change'));
    }

    draw(place, wanted) {
      if (wanted && this.drawn.size >= MOST_DRAWN) return false;
      if (wanted) this.drawn.add(place);
      else this.drawn.delete(place);
      this.drawn = new Set([...this.drawn].sort((a, b) => a - b));
      this.dispatchEvent(new Event('change'));
      return true;
    }
  }

  function load(section) {
    if (!states.has(section)) {
      states.set(section, unpack(`${section}-data`).then((text) => new State(JSON.parse(text))));
    }
    return states.get(section);
  }

  // A list of checkboxes that opens: what is drawn, of what the filters leave.
  function chooser(details, state) {
    const summary = details.querySelector('summary'), list = details.querySelector('div');
    const count = () => {
      const [drawn, visible] = [state.drawn.size, state.visible.size];
      summary.textContent = drawn < visible ? `${drawn} of ${visible} drawn` : `all ${drawn} drawn`;
    };
    function fill() {
      count();
      if (!details.open) return;
      const focused = document.activeElement?.value;
      list.replaceChildren(...[...state.visible].map((place) => {
        const label = document.createElement('label'), box = document.createElement('input');
        box.type = 'checkbox';
        box.value = place;
        box.checked = state.drawn.has(place);
        box.disabled = !box.checked && state.drawn.size >= MOST_DRAWN;
        if (box.disabled) label.title = `${MOST_DRAWN} are drawn; take one off to draw this one`;
        box.addEventListener('change', () => state.draw(place, box.checked));
        label.append(box, ` ${state.data.conditions[place].label}`);
        return label;
      }));
      list.querySelector(`input[value="${focused}"]`)?.focus();
    }
    details.addEventListener('toggle', fill);
    state.addEventListener('change', fill);
    fill();
  }

  return { load, unpack, chooser, MOST_DRAWN };
})();
