// viewer/data.js - what the file holds: tokens, words and weights. Every number the page shows
// comes from here.
const byId = (id) => document.getElementById(id);

/** The index that stands for "mean over all" wherever a layer or head index is wanted. */
const MEAN = -1;

/**
 * The weights as written: per layer, per head, per query one row of a float32 (the row's largest
 * weight) and one code per key. weight = largest * (code / top)^2, so small weights keep their
 * digits.
 */
class Weights {
  constructor(header) {
    this.count = header.tokens.length;
    this.layers = header.layers;
    this.heads = header.heads;
    this.wide = header.weights.bits === 16;
    this.top = 2 ** header.weights.bits - 1;
    this.stride = 4 + this.count * (this.wide ? 2 : 1);
    this.square = Float32Array.from({length: 256}, (_, code) => (code / 255) ** 2);
    this.raw = [];
    this.kept = new Map();
  }

  /** Bytes of one layer; decoded when first wanted, and the text they came from is let go. */
  bytes(layer) {
    if (!this.raw[layer]) {
      const element = byId(`weights-${layer}`);
      const text = element.textContent;
      this.raw[layer] = Uint8Array.fromBase64 ?
          Uint8Array.fromBase64(text) :
          Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      element.remove();
    }
    return this.raw[layer];
  }

  /** out[at + key] += factor * weight(layer, head, query, key), for every key. */
  addRow(out, at, layer, head, query, factor) {
    const bytes = this.bytes(layer);
    const begin = (head * this.count + query) * this.stride;
    const largest =
        factor * new DataView(bytes.buffer, bytes.byteOffset + begin, 4).getFloat32(0, true);
    const {count, square, top} = this;
    if (!this.wide) {
      for (let key = 0, from = begin + 4; key < count; ++key)
        out[at + key] += largest * square[bytes[from + key]];
      return;
    }
    for (let key = 0, from = begin + 4; key < count; ++key, from += 2) {
      const root = (bytes[from] | (bytes[from + 1] << 8)) / top;
      out[at + key] += largest * root * root;
    }
  }

  addHead(out, layer, head, factor) {
    for (let query = 0; query < this.count; ++query)
      this.addRow(out, query * this.count, layer, head, query, factor);
  }

  /** The (layer, head) pairs, by index, that a choice of layer and head averages over. */
  pairs(layer, head) {
    const all = (list) => list.map((_, index) => index);
    const layers = layer === MEAN ? all(this.layers) : [layer];
    const heads = head === MEAN ? all(this.heads) : [head];
    return layers.flatMap((l) => heads.map((h) => [l, h]));
  }

  /** [query][key] of one head, or the mean over what is MEAN. Kept, up to 64 MB. */
  matrix(layer, head) {
    const key = `${layer} ${head}`;
    if (!this.kept.has(key)) {
      const out = new Float32Array(this.count * this.count);
      const pairs = this.pairs(layer, head);
      for (const [l, h] of pairs) this.addHead(out, l, h, 1 / pairs.length);
      if ((this.kept.size + 1) * out.byteLength > 2 ** 26)
        this.kept.delete(this.kept.keys().next().value);
      this.kept.set(key, out);
    }
    return this.kept.get(key);
  }
}

/**
 * The surface of each token: its bytes of the text, or its vocabulary piece where it has none of
 * its own.
 */
function surfaces(header) {
  const bytes = new TextEncoder().encode(header.text);
  const decoder = new TextDecoder();
  let end = 0;
  let before = '';  // what stands in for a gap: a space after [CLS], which the text does not hold
  return header.tokens.map((token) => {
    const own = token.end > token.begin && token.begin >= end;
    const gap = own ? decoder.decode(bytes.subarray(end, token.begin)) || before : ' ';
    before = token.special && !own ? ' ' : '';
    if (own) end = token.end;
    return {gap, text: own ? decoder.decode(bytes.subarray(token.begin, token.end)) : token.text};
  });
}

/** Punctuation as BERT's pre-tokeniser has it: Unicode's, and ASCII's symbols. */
const PUNCTUATION = /^[\p{P}$+<=>^`|~]+$/u;

/** What lists and tips call a unit without letters: a token of white space, or of nothing. */
function nameOfBlank(text, piece) {
  if (!text) return piece;
  return text.includes('\n') ? 'line break' : 'space';
}

/**
 * What is drawn as one thing: a token, or all the pieces of a word. A sink is punctuation or a
 * token of the kind that the tokenizer adds ([CLS], [SEP]); [MASK] in the text is special, but no
 * sink. In a causal model every special token, white space and the first token are sinks.
 */
function makeUnits(header, joined) {
  const units = [];
  const unitOf = [];
  const surface = surfaces(header);
  const added = new Set(header.tokens.filter((token) => token.special && token.end <= token.begin)
                            .map((token) => token.id));
  header.tokens.forEach((token, index) => {
    const last = units.at(-1);
    if (joined && last && token.word >= 0 && token.word === last.word) {
      last.text += surface[index].gap.trim() ? surface[index].gap + surface[index].text :
                                               surface[index].text;
      last.tokens.push(index);
    } else {
      units.push({
        index: units.length,
        tokens: [index],
        word: token.word,
        gap: surface[index].gap,
        text: surface[index].text,
        special: token.special,
        sink: added.has(token.id) || (header.causal && (token.special || index === 0)),
        name: '',
        piece: false,
      });
    }
    unitOf.push(units.length - 1);
  });
  const inWord = new Map();
  for (const token of header.tokens) inWord.set(token.word, (inWord.get(token.word) ?? 0) + 1);
  for (const unit of units) {
    const blank = !unit.text.trim();
    unit.sink ||= PUNCTUATION.test(unit.text.trim()) || (header.causal && blank);
    unit.piece = !joined && unit.word >= 0 && inWord.get(unit.word) > 1;
    unit.name = unit.piece ? header.tokens[unit.tokens[0]].text :
        blank              ? nameOfBlank(unit.text, header.tokens[unit.tokens[0]].text) :
                             unit.text.trim();
  }
  numberRepeats(units);
  return {units, unitOf};
}

/** The second "the" is called the², and so on: lists and tips say which one they mean. */
function numberRepeats(units) {
  const total = new Map();
  const seen = new Map();
  for (const unit of units) total.set(unit.name, (total.get(unit.name) ?? 0) + 1);
  for (const unit of units) {
    const place = (seen.get(unit.name) ?? 0) + 1;
    seen.set(unit.name, place);
    unit.place = total.get(unit.name) > 1 ? place : 0;
  }
}

/** Tokens to units: attention to a unit is the sum over its tokens, from it the mean. */
function unitMatrix(tokenMatrix, count, units, unitOf) {
  const size = units.length;
  if (size === count) return tokenMatrix;
  const out = new Float32Array(size * size);
  units.forEach((unit, row) => {
    for (const query of unit.tokens) {
      for (let key = 0; key < count; ++key) {
        out[row * size + unitOf[key]] += tokenMatrix[query * count + key] / unit.tokens.length;
      }
    }
  });
  return out;
}

const data = JSON.parse(byId('data').textContent);
const weights = new Weights(data);
