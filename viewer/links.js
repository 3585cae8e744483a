// viewer/links.js - the text itself, with curves between its words: as thick as the weight.

/** Of sinks kept apart only the strongest are drawn. */
const MOST_SINKS = 3;

let builtFor = null;
let spans = [];

/** The text as spans, one per unit. Built again only when units change. */
function buildText() {
  const {units} = unitSet();
  if (builtFor === units) return;
  builtFor = units;
  const text = byId('text');
  text.replaceChildren();
  text.dataset.size = units.length <= 40 ? 'short' : units.length <= 120 ? 'medium' : 'long';
  spans = units.map((unit) => {
    if (/\n\s*\n/.test(unit.gap)) text.append(document.createElement('br'));
    if (unit.gap) text.append(unit.gap);
    const free = unit.gap !== '' && units[unit.index + 1]?.gap !== '';
    const classes = [
      'tok', unit.sink && 'sink', unit.special && 'special', unit.piece && 'piece', free && 'free'
    ];
    const span = element(
        'span',
        {className: classes.filter(Boolean).join(' '), id: `unit-${unit.index}`, role: 'option'},
        unit.text);
    span.dataset.unit = unit.index;
    if (unit.special) span.dir = 'ltr';  // so that dir=auto goes by the text, not by [CLS]
    text.append(span);
    return span;
  });
}

/** The links to draw: [{from, to, weight}], strongest first, and how many there were. */
function chooseLinks(focus) {
  if (focus < 0) return strongestLinks();
  const {units, matrix, size, shown} = scene();
  const links = [];
  const add = (from, to) => {
    const weight = matrix[from * size + to];
    if (from !== to && weight > 0)
      links.push({from, to, weight, apart: isApart(units[state.direction === 'out' ? to : from])});
  };
  for (const other of shown) state.direction === 'out' ? add(focus, other) : add(other, focus);
  links.sort((a, b) => b.weight - a.weight);
  const words = links.filter((link) => !link.apart);
  return {
    links:
        [...words.slice(0, MOST_LINKS), ...links.filter((link) => link.apart).slice(0, MOST_SINKS)],
    total: words.length
  };
}

/**
 * Where a unit is, relative to the picture; a word that breaks across lines counts where it
 * begins.
 */
function placesOf(origin) {
  return spans.map((span) => {
    const box = span.getClientRects()[0];
    if (!box) return null;
    return {
      x: box.x + box.width / 2 - origin.x,
      top: box.y - origin.y,
      bottom: box.bottom - origin.y,
      width: box.width
    };
  });
}

/**
 * From the end of one line to the start of the next: out at one margin and in at the other, like a
 * slur in a score.
 */
function slur(a, b, back, {width, sign}) {
  const bend = back ? -9 : 9;
  const [first, second] = a.top < b.top ? [a, b] : [b, a];
  const [out, into] = sign > 0 ? [width, 0] : [0, width];
  const side = ({top, bottom}) => (back ? top : bottom);
  return `M${first.x},${side(first)}Q${(first.x + out) / 2},${side(first) + bend} ${out},${
             side(first) + bend}` +
      `M${into},${side(second) + bend}Q${(second.x + into) / 2},${side(second) + bend} ${
             second.x},${side(second)}`;
}

/**
 * On one line, a curve above the words looks back, one below looks ahead; between lines it goes
 * straight there.
 */
function curve(a, b, back, room) {
  const {limit, width, lineHeight} = room;
  if (Math.abs(a.top - b.top) < a.bottom - a.top) {
    const y = back ? Math.min(a.top, b.top) : Math.max(a.bottom, b.bottom);
    const height =
        (8 + (limit - 8) * (Math.abs(a.x - b.x) / width) ** 0.75) * (back ? -1.33 : 1.33);
    return `M${a.x},${y}C${a.x},${y + height} ${b.x},${y + height} ${b.x},${y}`;
  }
  const down = Math.abs(a.top - b.top);
  if (down < 1.5 * lineHeight && Math.abs(a.x - b.x) > 0.6 * width &&
      (b.x - a.x) * (b.top - a.top) * room.sign < 0)
    return slur(a, b, back, room);
  const [from, to] = a.top < b.top ? [a.bottom, b.top] : [a.top, b.bottom];
  const bend = (to - from) * 0.55;
  return `M${a.x},${from}C${a.x},${from + bend} ${b.x},${to - bend} ${b.x},${to}`;
}

function linesOf(text) {
  const lineHeight = parseFloat(getComputedStyle(text).lineHeight);
  return {lineHeight, lines: Math.max(1, Math.round(text.clientHeight / lineHeight))};
}

/** A sentence reads best on one line: smaller letters if they make it fit, else the usual ones. */
function fitOneLine(text) {
  for (const size of ['', '1.5rem', '1.3rem', '1.15rem']) {
    text.style.fontSize = size;
    if (linesOf(text).lines === 1) return;
  }
  text.style.fontSize = '';
}

/**
 * Room for the curves above the first and below the last line: more when there is only one line.
 */
function makeRoom() {
  const text = byId('text');
  const size = text.dataset.size;
  text.style.paddingBlock = '0';
  if (size === 'short') fitOneLine(text);
  const {lines, lineHeight} = linesOf(text);
  const room = lines === 1 ? Math.min(230, 0.2 * text.clientWidth) :
      size === 'short'     ? 64 :
      size === 'medium'    ? 34 :
                             12;
  text.style.paddingBlock = `${room}px`;
  const limit = lines === 1 ? room + lineHeight / 4 : lineHeight * (size === 'short' ? 1.1 : 0.8);
  return {
    limit,
    lineHeight,
    width: text.clientWidth,
    sign: getComputedStyle(text).direction === 'rtl' ? -1 : 1
  };
}

function path(link, places, room, strength, classes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  made.setAttribute('d', curve(places[link.from], places[link.to], link.to < link.from, room));
  made.setAttribute(
      'stroke-width', link.apart ? 1.5 : 0.4 + strength * (spans.length > 120 ? 3.6 : 6.6));
  made.setAttribute('stroke-opacity', link.apart ? 0.8 : 0.05 + 0.85 * strength ** 1.5);
  made.setAttribute('class', classes);
  Object.assign(made.dataset, {from: link.from, to: link.to, weight: link.weight});
  return made;
}

function label(link, end, places, limitText) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', 'text');
  made.setAttribute('x', places[end].x);
  made.setAttribute('y', limitText);
  made.textContent = number(link.weight);
  return made;
}

/** Marks the words: the one in hand, the other one, and how strongly each is linked. */
function markWords(focus, other, largest) {
  const {units} = scene();
  spans.forEach((span, index) => {
    span.classList.toggle('focus', index === focus);
    span.classList.toggle('other', index === other && other !== focus);
    span.setAttribute('aria-selected', index === focus);
    const drawn = focus >= 0 && index !== focus && !isApart(units[index]) &&
        !(units[index].sink && state.sinks === 'hide');
    span.style.setProperty('--w', drawn ? Math.min(1, weightBetween(focus, index) / largest) : 0);
  });
  const text = byId('text');
  if (focus >= 0)
    text.setAttribute('aria-activedescendant', `unit-${focus}`);
  else
    text.removeAttribute('aria-activedescendant');
}

/** The largest weight among the links drawn that are on the scale. */
function scaleOf(links) {
  return links.find((link) => !link.apart)?.weight ?? 1;
}

function drawLinks() {
  buildText();
  byId('view-links').classList.toggle('sinks-hide', state.sinks === 'hide');
  const {focus, other} = inHand();
  const {links, total} = chooseLinks(focus);
  const largest = scaleOf(links);
  markWords(focus, other, largest);
  const room = makeRoom();
  const picture = byId('links');
  const places = placesOf(picture.getBoundingClientRect());
  const drawn = [];
  for (const link of links) {
    if (!places[link.from] || !places[link.to]) continue;
    const faint = other >= 0 && link.from !== other && link.to !== other;
    drawn.push(path(
        link, places, room, link.weight / largest,
        `${link.apart ? 'sink' : ''} ${faint ? 'faint' : ''}`));
  }
  drawn.reverse();  // the strongest on top
  if (focus >= 0) drawn.push(...numbersOn(links, other, places));
  picture.replaceChildren(...drawn);
  linksLegend(focus, total, largest);
}

/** The weight, at the few strongest links that leave each other room, or only at the other word. */
function numbersOn(links, other, places) {
  const end = (link) => (state.direction === 'out' ? link.to : link.from);
  const chosen = other >= 0 ?
      links.filter((link) => end(link) === other) :
      links.filter((link) => !link.apart).slice(0, spans.length > 120 ? 0 : 3);
  const taken = [];
  return chosen.filter((link) => places[end(link)]).flatMap((link) => {
    const place = places[end(link)];
    const above = end(link) < (state.direction === 'out' ? link.from : link.to);
    const y = above ? place.bottom + 15 : place.top - 6;
    if (taken.some((one) => Math.abs(one.x - place.x) < 48 && Math.abs(one.y - y) < 16)) return [];
    taken.push({x: place.x, y});
    return label(link, end(link), places, y);
  });
}

function linksLegend(focus, total, largest) {
  const {units} = scene();
  const what = focus >= 0 ? `largest of “${nameWithPlace(units[focus])}”` : 'largest between words';
  const left = total > MOST_LINKS ?
      ` The ${MOST_LINKS} strongest of ${total.toLocaleString('en')} links are drawn.` :
      '';
  const sinks = state.sinks === 'apart' && focus >= 0 ?
      ' Dotted grey: the strongest sinks, not on this scale.' :
      '';
  drawLegend(
      'weight', largest, false,
      `Thickness and strength follow the weight; the scale ends at the ${
          what}. Above a line: looking back; below: looking ahead.${sinks}${left}`);
}
