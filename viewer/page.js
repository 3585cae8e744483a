// viewer/page.js - puts it together: controls, pointer, keyboard, and drawing what changed.

const VIEWS = {
  links: drawLinks,
  matrix: drawMatrix,
  heads: drawHeads
};

/** Draws everything that depends on what is chosen. */
function draw() {
  if (state.theme)
    document.documentElement.dataset.theme = state.theme;
  else
    delete document.documentElement.dataset.theme;
  readColors();
  for (const view of CHOICES.view) {
    byId(`view-${view}`).hidden = view !== state.view;
    const tab = byId(`tab-${view}`);
    tab.setAttribute('aria-selected', view === state.view);
    tab.tabIndex = view === state.view ? 0 : -1;
  }
  byId('view').setAttribute('aria-labelledby', `tab-${state.view}`);
  byId('layer').value = state.layer;
  byId('head').value = state.head;
  byId('words').checked = state.words;
  for (const name of ['direction', 'sinks']) {
    for (const button of byId(name).querySelectorAll('button'))
      button.setAttribute('aria-pressed', button.dataset.value === state[name]);
  }
  drawHand();
}

/** Draws what depends on the word in hand: the view, the panel and the map of heads. */
function drawHand() {
  VIEWS[state.view]();
  drawPanel();
  drawHeadMap();
}

function change(patch) {
  Object.assign(state, patch);
  Object.assign(hover, {focus: -1, other: -1});
  hideTip();
  writeHash();
  draw();
}

/** Points at units without choosing them. */
function point(focus, other) {
  if (hover.focus === focus && hover.other === other) return;
  Object.assign(hover, {focus, other});
  drawHand();
}

const firstToken = (unit) => unitSet().units[unit].tokens[0];

/** Click on a word: keeps it; a second word is compared with the first; the kept one lets go. */
function choose(unit) {
  const {unitOf} = unitSet();
  const kept = state.focus >= 0 ? unitOf[state.focus] : -1;
  if (kept === unit)
    change({focus: -1, other: -1});
  else if (kept < 0)
    change({focus: firstToken(unit), other: -1});
  else if (state.other >= 0 && unitOf[state.other] === unit)
    change({focus: firstToken(unit), other: -1});
  else
    change({other: firstToken(unit)});
}

function fillSelects() {
  for (const [id, list, noun] of [['layer', data.layers, 'layer'], ['head', data.heads, 'head']]) {
    const options = list.map((name, index) => element('option', {value: index}, String(name)));
    if (list.length > 1)
      options.unshift(element('option', {value: MEAN}, `mean of ${list.length}`));
    byId(id).replaceChildren(...options);
    byId(id).addEventListener('change', (event) => change({[noun]: Number(event.target.value)}));
  }
}

function fillAbout() {
  const {model, engine} = data;
  const generated =
      'prompt_tokens' in data ? `, ${data.tokens.length - data.prompt_tokens} generated` : '';
  byId('model-line').textContent = `${model.name} · ${model.num_layers} layers × ${
      model.num_heads} heads · ${data.tokens.length} tokens${generated}`;
  document.title = `${data.text.slice(0, 80)} · regard look`;
  if (data.truncated) {
    byId('notice').hidden = false;
    byId('notice').textContent = `The text was cut to the model's ${data.tokens.length} tokens.`;
  }
  const bits = data.weights.bits;
  const facts = [
    [
      'Model',
      `${model.name} (${model.family}): ${model.num_layers} layers, ${
          model.num_heads} query heads, ${model.num_kv_heads} key heads, head_dim ${model.head_dim}`
    ],
    ['Weights file', `${model.path}, SHA-256 ${model.sha256}`],
    [
      'Engine',
      `regard ${engine.version}, ${engine.isa}, ${engine.dtype}, ${engine.threads} thread${
          engine.threads === 1 ? '' : 's'}`
    ],
    [
      'Stored weights',
      `${bits} bits each, on a square-root scale within each row: a stored weight is off by at most 1/${
          2 ** bits - 1} of the largest weight of its row, a small one by far less`
    ],
    [
      'Words',
      'attention to a word is the sum over its pieces, from it their mean; layers and heads count from 0'
    ],
    [
      'Sinks',
      '[CLS], [SEP] and punctuation: many heads park their attention there; the numbers are never rescaled for that'
    ],
  ];
  byId('about').replaceChildren(
      ...facts.flatMap(([name, text]) => [element('dt', {}, name), element('dd', {}, text)]));
}

function listenToText() {
  const unitUnder = (event) => {
    const span = event.target.closest?.('.tok');
    return span ? Number(span.dataset.unit) : -1;
  };
  const text = byId('text');
  text.addEventListener('pointermove', (event) => {
    const unit = unitUnder(event);
    const {unitOf} = unitSet();
    const kept = state.focus >= 0 ? unitOf[state.focus] : -1;
    if (unit < 0) {
      point(-1, -1);
      hideTip();
    } else if (kept < 0) {
      point(unit, -1);
      hideTip();
    } else {
      point(kept, unit === kept ? -1 : unit);
      showTip(event, ...(state.direction === 'out' ? [kept, unit] : [unit, kept]));
    }
  });
  text.addEventListener('pointerleave', () => {
    point(-1, -1);
    hideTip();
  });
  text.addEventListener('click', (event) => {
    if (unitUnder(event) >= 0) choose(unitUnder(event));
  });
}

function listenToMatrix() {
  const hands = ([row, column]) => (state.direction === 'out' ? [row, column] : [column, row]);
  const canvas = byId('matrix');
  canvas.addEventListener('pointermove', (event) => {
    const at = matrixAt(event);
    if (!at) {
      point(-1, -1);
      hideTip();
      return;
    }
    point(...hands(at));
    showTip(event, ...at);
  });
  canvas.addEventListener('pointerleave', () => {
    point(-1, -1);
    hideTip();
  });
  canvas.addEventListener('click', (event) => {
    const at = matrixAt(event);
    if (at) {
      const [focus, other] = hands(at);
      change({focus: firstToken(focus), other: firstToken(other)});
    }
  });
  byId('matrix-scroll').addEventListener('scroll', () => {
    if (state.view === 'matrix') drawMatrix();
  }, {passive: true});
  const zoom = (step) => {
    matrixView.zoom = Math.max(-4, Math.min(8, matrixView.zoom + step));
    draw();
  };
  byId('zoom-in').addEventListener('click', () => zoom(1));
  byId('zoom-out').addEventListener('click', () => zoom(-1));
  return zoom;
}

function listenToPanel() {
  const rowUnder = (event) => event.target.closest?.('li button');
  for (const id of ['ranking', 'sink-ranking']) {
    byId(id).addEventListener('click', (event) => {
      const row = rowUnder(event);
      if (row)
        change({
          focus: firstToken(Number(row.dataset.focus)),
          other: firstToken(Number(row.dataset.other)),
          ...(state.focus < 0 ? {direction: 'out'} : {})
        });
    });
  }
  for (const id of ['head-map', 'head-map-caption', 'heads-grid']) {
    byId(id).addEventListener('click', (event) => {
      const button = event.target.closest?.('button');
      if (button) change({layer: Number(button.dataset.layer), head: Number(button.dataset.head)});
    });
  }
  byId('heads-grid').addEventListener('dblclick', () => change({view: 'matrix'}));
}

function listenToControls() {
  for (const name of ['direction', 'sinks']) {
    byId(name).addEventListener('click', (event) => {
      if (event.target.dataset.value) change({[name]: event.target.dataset.value});
    });
  }
  for (const view of CHOICES.view)
    byId(`tab-${view}`).addEventListener('click', () => change({view}));
  byId('words').addEventListener('change', (event) => change({words: event.target.checked}));
  byId('theme').addEventListener('click', toggleTheme);
  byId('help-open').addEventListener('click', () => byId('help').showModal());
}

function toggleTheme() {
  const dark =
      state.theme ? state.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  change({theme: dark ? 'light' : 'dark'});
}

/** The next of a list of indices that begins with MEAN when there is more than one. */
function step(list, current, by) {
  const last = list.length - 1;
  return Math.max(last ? MEAN : 0, Math.min(last, current + by));
}

const next = (values, current) => values[(values.indexOf(current) + 1) % values.length];

/** To the next or previous word that is shown; right-to-left text turns the arrows round. */
function stepWord(by) {
  const {shown, unitOf} = scene();
  const sign = getComputedStyle(byId('text')).direction === 'rtl' ? -1 : 1;
  const now = state.focus < 0 ? -1 : shown.indexOf(unitOf[state.focus]);
  const place = now < 0 ? (by > 0 ? 0 : shown.length - 1) :
                          Math.max(0, Math.min(shown.length - 1, now + by * sign));
  change({focus: firstToken(shown[place]), other: -1});
  if (state.view === 'links') spans[shown[place]]?.scrollIntoView({block: 'nearest'});
}

function listenToKeys(zoom) {
  const across = (by) =>
      (state.view === 'heads' ? change({head: step(data.heads, state.head, by)}) : stepWord(by));
  const keys = {
    ArrowLeft: () => across(-1),
    ArrowRight: () => across(1),
    ArrowUp: (event) => change(
        event.shiftKey ? {head: step(data.heads, state.head, -1)} :
                         {layer: step(data.layers, state.layer, -1)}),
    ArrowDown: (event) => change(
        event.shiftKey ? {head: step(data.heads, state.head, 1)} :
                         {layer: step(data.layers, state.layer, 1)}),
    m: () => change({layer: step(data.layers, MEAN, 0), head: step(data.heads, MEAN, 0)}),
    1: () => change({view: 'links'}),
    2: () => change({view: 'matrix'}),
    3: () => change({view: 'heads'}),
    d: () => change({direction: next(CHOICES.direction, state.direction)}),
    s: () => change({sinks: next(CHOICES.sinks, state.sinks)}),
    w: () => change({words: !state.words}),
    t: toggleTheme,
    Escape: () => change({focus: -1, other: -1}),
    '+': () => zoom(1),
    '-': () => zoom(-1),
    '?': () => byId('help').showModal(),
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open ||
        event.target.matches('select'))
      return;
    const act = Object.hasOwn(keys, event.key) && keys[event.key];
    if (!act) return;
    event.preventDefault();
    act(event);
    announce();
  });
}

function start() {
  fillSelects();
  fillAbout();
  buildHeadMap();
  readHash();
  listenToText();
  listenToPanel();
  listenToControls();
  listenToKeys(listenToMatrix());
  addEventListener('hashchange', () => {
    readHash();
    draw();
  });
  new ResizeObserver(() => VIEWS[state.view]()).observe(byId('view'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  draw();
  document.documentElement.dataset.ready = Math.round(performance.now());
}

start();
