// viewer/state.js - what is chosen, kept in the address; and the scene that follows from it.

/**
 * Layers and heads are indices of data.layers and data.heads, or MEAN; focus and other are token
 * indices, or -1.
 */
const state = {
  view: 'links',
  layer: MEAN,
  head: MEAN,
  focus: -1,
  other: -1,
  direction: 'out',
  sinks: 'apart',
  words: true,
  theme: ''
};

/** More curves than this hide each other; the legend says how many were left out. */
const MOST_LINKS = 300;

/** What the pointer is over: units, or -1. It counts before what is chosen, and is not kept. */
const hover = {
  focus: -1,
  other: -1
};

const CHOICES = {
  view: ['links', 'matrix', 'heads'],
  direction: ['out', 'in'],
  sinks: ['apart', 'show', 'hide'],
  theme: ['light', 'dark']
};

function indexFrom(list, text) {
  const index = list.indexOf(Number(text));
  return text === null || text === '' || index < 0 ? MEAN : index;
}

function tokenFrom(text) {
  const token = Number(text);
  return text && Number.isInteger(token) && token >= 0 && token < data.tokens.length ? token : -1;
}

/** Reads the address; what it does not say, or says wrongly, is the default. */
function readHash() {
  const said = new URLSearchParams(location.hash.slice(1) || data.start || '');
  for (const [name, values] of Object.entries(CHOICES)) {
    state[name] = values.includes(said.get(name)) ? said.get(name) :
        name === 'theme'                          ? '' :
                                                    values[0];
  }
  state.layer = data.layers.length === 1 ? 0 : indexFrom(data.layers, said.get('layer'));
  state.head = data.heads.length === 1 ? 0 : indexFrom(data.heads, said.get('head'));
  state.focus = tokenFrom(said.get('focus'));
  state.other = state.focus < 0 ? -1 : tokenFrom(said.get('other'));
  state.words = said.get('words') !== '0';
}

function writeHash() {
  const said = new URLSearchParams();
  for (const [name, values] of Object.entries(CHOICES)) {
    if (state[name] && (name === 'theme' || state[name] !== values[0])) said.set(name, state[name]);
  }
  if (state.layer !== MEAN && data.layers.length > 1) said.set('layer', data.layers[state.layer]);
  if (state.head !== MEAN && data.heads.length > 1) said.set('head', data.heads[state.head]);
  if (state.focus >= 0) said.set('focus', state.focus);
  if (state.other >= 0) said.set('other', state.other);
  if (!state.words) said.set('words', '0');
  history.replaceState(null, '', `#${said}`);
}

const unitSets = new Map();

/** The units in force, with unitOf[token]. */
function unitSet() {
  if (!unitSets.has(state.words)) unitSets.set(state.words, makeUnits(data, state.words));
  return unitSets.get(state.words);
}

let sceneKey = '';
let sceneKept = null;

/**
 * Units, their matrix, which of them are shown, and the largest weight among those that set the
 * scale.
 */
function scene() {
  const key = [state.layer, state.head, state.words, state.sinks].join();
  if (key !== sceneKey) {
    sceneKey = key;
    sceneKept = makeScene(weights.matrix(state.layer, state.head));
  }
  return sceneKept;
}

function makeScene(tokenMatrix) {
  const {units, unitOf} = unitSet();
  const matrix = unitMatrix(tokenMatrix, weights.count, units, unitOf);
  const shown =
      units.filter((unit) => state.sinks !== 'hide' || !unit.sink).map((unit) => unit.index);
  const scaled = state.sinks === 'show' ? shown : shown.filter((index) => !units[index].sink);
  const set = scaled.length ? scaled : shown;
  let largest = 0;
  for (const row of set)
    for (const column of set) largest = Math.max(largest, matrix[row * units.length + column]);
  return {units, unitOf, matrix, shown, scaled: set, largest: largest || 1, size: units.length};
}

/**
 * Links between the words that set the scale, strongest first, none to itself; at most MOST_LINKS,
 * and how many there were. At 512 words there are a quarter of a million: the threshold is found
 * among plain numbers first.
 */
function strongestLinks() {
  const {matrix, size, scaled} = scene();
  sceneKept.strongest ??= (() => {
    const all = new Float32Array(scaled.length * (scaled.length - 1));
    let count = 0;
    for (const from of scaled)
      for (const to of scaled)
        if (from !== to) all[count++] = matrix[from * size + to];
    const least = all.sort()[Math.max(0, all.length - MOST_LINKS)] || Number.MIN_VALUE;
    const links = [];
    for (const from of scaled) {
      for (const to of scaled) {
        const weight = matrix[from * size + to];
        if (from !== to && weight >= least) links.push({from, to, weight, apart: false});
      }
    }
    links.sort((a, b) => b.weight - a.weight);
    return {links: links.slice(0, MOST_LINKS), total: all.length};
  })();
  return sceneKept.strongest;
}

/** Sinks are grey and off the scale when they are kept apart. */
const isApart = (unit) => unit.sink && state.sinks === 'apart';

/** The word in hand and the one it is compared with, as units, or -1. */
function inHand() {
  const {unitOf} = unitSet();
  const focus = hover.focus >= 0 ? hover.focus : state.focus >= 0 ? unitOf[state.focus] : -1;
  const other = hover.other >= 0          ? hover.other :
      hover.focus < 0 && state.other >= 0 ? unitOf[state.other] :
                                            -1;
  return {focus, other};
}

/** weight of the link between the word in hand and another, in the chosen direction. */
function weightBetween(focus, other) {
  const {matrix, size} = scene();
  return state.direction === 'out' ? matrix[focus * size + other] : matrix[other * size + focus];
}

const nameOf = (list, index, noun) =>
    (index === MEAN ? `mean of ${list.length} ${noun}s` : `${noun} ${list[index]}`);

/** "layer 3, head 5", "layer 3, mean of 12 heads", ... */
const whereText = () =>
    `${nameOf(data.layers, state.layer, 'layer')}, ${nameOf(data.heads, state.head, 'head')}`;

/** As many digits as the stored weights bear. */
const number = (weight) => weight.toFixed(weights.wide ? 4 : 3);

const raised = (place) => String(place).replace(/\d/g, (digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[digit]);
const nameWithPlace = (unit) => unit.name + (unit.place ? raised(unit.place) : '');

/**
 * An element with properties and children: the only way this page makes HTML, so text is never
 * parsed as HTML.
 */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made)
      made[name] = value;
    else
      made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
