// viewer/heads.js - every head at once: the overview of small matrices, and the map of heads in the
// panel.

/**
 * Small pictures are at most this many pixels wide; where there are more words, a pixel is the
 * largest of its weights.
 */
const THUMB = 128;

let headsKey = '';
let headsQueue = [];

/** Layers down, heads across, means first when there is more than one. */
function gridLines() {
  const lines = (list) => (list.length > 1 ? [MEAN, ...list.keys()] : [0]);
  return {layers: lines(data.layers), heads: lines(data.heads)};
}

function drawHeads() {
  const key = [state.words, state.sinks, ramps.paperColor].join();
  if (key !== headsKey) {
    headsKey = key;
    buildHeads();
  }
  for (const thumb of byId('heads-grid').querySelectorAll('.thumb')) {
    const current =
        Number(thumb.dataset.layer) === state.layer && Number(thumb.dataset.head) === state.head;
    thumb.setAttribute('aria-current', current);
    thumb.tabIndex = current ? 0 : -1;
  }
  const sinks = state.sinks === 'apart' ? ' Grey: sinks.' : '';
  drawLegend(
      'weight', 1, true,
      `The same square-root scale for every head. Rows look at columns, as in the matrix; click one to choose it, twice to open it.${
          sinks}`);
}

function buildHeads() {
  const {layers, heads} = gridLines();
  const grid = byId('heads-grid');
  grid.style.gridTemplateColumns = `max-content repeat(${heads.length}, minmax(44px, 110px))`;
  const cells = [element('span')];
  for (const head of heads)
    cells.push(element(
        'span', {className: 'label column'}, head === MEAN ? 'mean' : `head ${data.heads[head]}`));
  headsQueue = [];
  for (const layer of layers) {
    cells.push(element(
        'span', {className: 'label'}, layer === MEAN ? 'mean' : `layer ${data.layers[layer]}`));
    for (const head of heads) cells.push(makeThumb(layer, head));
  }
  grid.replaceChildren(...cells);
  requestAnimationFrame(drawSomeThumbs);
}

function makeThumb(layer, head) {
  const canvas = element('canvas');
  const name = `${nameOf(data.layers, layer, 'layer')}, ${nameOf(data.heads, head, 'head')}`;
  const thumb = element('button', {className: 'thumb', ariaLabel: name, title: name}, canvas);
  Object.assign(thumb.dataset, {layer, head});
  headsQueue.push({layer, head, canvas, thumb});
  return thumb;
}

/** A frame's worth of pictures at a time, so that the page stays alive with a thousand heads. */
function drawSomeThumbs() {
  const until = performance.now() + 12;
  while (headsQueue.length && performance.now() < until) {
    const {layer, head, canvas, thumb} = headsQueue.shift();
    drawThumb(canvas, layer, head);
    thumb.dataset.drawn = 'true';
  }
  if (headsQueue.length && state.view === 'heads') requestAnimationFrame(drawSomeThumbs);
}

function drawThumb(canvas, layer, head) {
  const {units, unitOf} = unitSet();
  const matrix = unitMatrix(headMatrix(layer, head), weights.count, units, unitOf);
  const size = Math.min(THUMB, scene().shown.length);
  const {ofWords, ofSinks, hasWords} = pool(matrix, size);
  canvas.width = canvas.height = size;
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(size, size);
  const colors = new Uint32Array(pixels.data.buffer);
  hasWords.forEach((has, at) => {
    colors[at] = has ? ramps.weight[shade(ofWords[at], 1)] : ramps.sink[shade(ofSinks[at], 1)];
  });
  context.putImageData(pixels, 0, 0);
}

/** Means are kept by Weights; a single head is decoded for its picture and let go. */
function headMatrix(layer, head) {
  if (layer === MEAN || head === MEAN) return weights.matrix(layer, head);
  const out = new Float32Array(weights.count ** 2);
  weights.addHead(out, layer, head, 1);
  return out;
}

/** The largest weight under each pixel, apart for pairs of words and pairs with a sink. */
function pool(matrix, size) {
  const {units, shown} = scene();
  const grey = shown.map((index) => isApart(units[index]));
  const place = shown.map((_, index) => Math.floor(index * size / shown.length));
  const [ofWords, ofSinks, hasWords] =
      [new Float32Array(size * size), new Float32Array(size * size), new Uint8Array(size * size)];
  for (let y = 0; y < shown.length; ++y) {
    for (let x = 0; x < shown.length; ++x) {
      const at = place[y] * size + place[x];
      const weight = matrix[shown[y] * units.length + shown[x]];
      const into = grey[y] || grey[x] ? ofSinks : ofWords;
      if (weight > into[at]) into[at] = weight;
      if (into === ofWords) hasWords[at] = 1;
    }
  }
  return {ofWords, ofSinks, hasWords};
}

/** weight of query unit -> key unit in one head. */
function pairWeight(layer, head, query, key) {
  const {units} = unitSet();
  const row = new Float32Array(weights.count);
  for (const token of units[query].tokens)
    weights.addRow(row, 0, layer, head, token, 1 / units[query].tokens.length);
  return units[key].tokens.reduce((sum, token) => sum + row[token], 0);
}

const wordShares = new Map();

/**
 * How much of a head's attention from one word, or from all words, goes to words: what sinks do
 * not swallow.
 */
function wordShare(layer, head, query = -1) {
  const key = `${layer} ${head} ${query} ${state.words}`;
  if (!wordShares.has(key)) {
    const {units, unitOf} = unitSet();
    const isWord = data.tokens.map((_, token) => !units[unitOf[token]].sink);
    const queries =
        query < 0 ? [...isWord.keys()].filter((token) => isWord[token]) : units[query].tokens;
    const row = new Float32Array(weights.count);
    for (const token of queries) weights.addRow(row, 0, layer, head, token, 1 / queries.length);
    wordShares.set(
        key, row.reduce((total, weight, token) => total + (isWord[token] ? weight : 0), 0));
  }
  return wordShares.get(key);
}

/** What the map shows: the weight of the pair in hand, else what each head gives to words. */
function headMapValue() {
  const {focus, other} = inHand();
  if (focus >= 0 && other >= 0) {
    const [query, key] = state.direction === 'out' ? [focus, other] : [other, focus];
    return {value: (layer, head) => pairWeight(layer, head, query, key), pair: [query, key]};
  }
  if (focus >= 0) return {value: (layer, head) => wordShare(layer, head, focus), of: focus};
  return {value: wordShare};
}

function buildHeadMap() {
  const button = (layer, head, text) => {
    const name = `${nameOf(data.layers, layer, 'layer')}, ${nameOf(data.heads, head, 'head')}`;
    const made = element('button', {tabIndex: -1, ariaLabel: name, title: name}, text);
    Object.assign(made.dataset, {layer, head});
    return made;
  };
  const {layers, heads} = gridLines();
  const cell = (layer, head) => {
    const header = layer === MEAN || head === MEAN;
    const text = layer === MEAN && head === MEAN ? 'x̄' :
        layer === MEAN                           ? data.heads[head] :
        head === MEAN                            ? data.layers[layer] :
                                                   '';
    return element(header ? 'th' : 'td', {}, button(layer, head, text));
  };
  byId('head-map')
      .replaceChildren(
          ...layers.map((layer) => element('tr', {}, ...heads.map((head) => cell(layer, head)))));
}

function drawHeadMap() {
  const {value, pair, of = -1} = headMapValue();
  const values =
      weights.pairs(MEAN, MEAN).map(([layer, head]) => ({layer, head, weight: value(layer, head)}));
  const best = values.reduce((a, b) => (b.weight > a.weight ? b : a));
  const byPlace = new Map(values.map((one) => [`${one.layer} ${one.head}`, one.weight]));
  for (const button of byId('head-map').querySelectorAll('button')) {
    const place = `${button.dataset.layer} ${button.dataset.head}`;
    button.setAttribute('aria-current', place === `${state.layer} ${state.head}`);
    if (!byPlace.has(place)) continue;
    const share = byPlace.get(place) / (best.weight || 1);
    button.style.setProperty(
        '--cell', pair ? cssShade(share, 1) : cssStep(Math.round(share * 255)));
    button.title = `${button.ariaLabel}: ${number(byPlace.get(place))}`;
  }
  const {units} = unitSet();
  const name = `layer ${data.layers[best.layer]}, head ${data.heads[best.head]}`;
  const go = element('button', {}, name);
  go.dataset.layer = best.layer;
  go.dataset.head = best.head;
  const what = pair ?
      `The weight “${nameWithPlace(units[pair[0]])} → ${
          nameWithPlace(units[pair[1]])}” in every head, layers down, heads across. Strongest: ` :
      `The share of attention${
          of < 0 ?
              '' :
              ` from “${
                  nameWithPlace(
                      units
                          [of])}”`} that each head gives to words, not to sinks; layers down, heads across. Most: `;
  byId('head-map-caption').replaceChildren(what, go, `, ${number(best.weight)}.`);
}
