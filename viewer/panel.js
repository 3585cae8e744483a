// viewer/panel.js - the numbers beside the picture: ranking, mass, tip, what the screen reader
// hears.

const RANKED = 14;

/**
 * Links of the word in hand in the chosen direction, or of all words when there is none; strongest
 * first.
 */
function ranking(focus) {
  if (focus < 0)
    return strongestLinks().links.map(
        ({from, to, weight}) => ({focus: from, other: to, weight, sink: false}));
  const ranked = scene().units.map(
      ({index, sink}) => ({focus, other: index, weight: weightBetween(focus, index), sink}));
  return ranked.sort((a, b) => b.weight - a.weight);
}

function rankingRow(one, largest, pairNames) {
  const {units} = scene();
  const itself = one.focus === one.other;
  const name = element(
      'span', {className: 'name', dir: 'auto'},
      pairNames ? `${nameWithPlace(units[one.focus])} → ${nameWithPlace(units[one.other])}` :
                  nameWithPlace(units[one.other]));
  if (itself) name.append(element('i', {}, '  itself'));
  const amount = element('span', {className: 'amount'});
  amount.style.setProperty('--w', Math.min(1, one.weight / largest));
  const row = element(
      'button', {}, name, element('span', {}, amount),
      element('span', {className: 'number'}, number(one.weight)));
  Object.assign(row.dataset, one);
  return element('li', {className: one.sink ? 'sink' : itself ? 'itself' : ''}, row);
}

function drawPanel() {
  const {units} = scene();
  const {focus, other} = inHand();
  drawTitle(focus);
  byId('panel-where').textContent = whereText();
  const ranked = ranking(focus);
  const aside = focus >= 0 && state.sinks !== 'show';
  const words = ranked.filter((one) => !aside || !one.sink);
  const sinks = aside ? ranked.filter((one) => one.sink) : [];
  const largest = words[0]?.weight || 1;
  const first = words.slice(0, RANKED);
  const extra =
      other >= 0 && focus >= 0 && words.find((one) => one.other === other && !first.includes(one));
  const rows =
      [...first, ...(extra ? [extra] : [])].map((one) => rankingRow(one, largest, focus < 0));
  byId('ranking').replaceChildren(...rows);
  const sum = sinks.reduce((total, one) => total + one.weight, 0);
  byId('sink-box').hidden = !sinks.length;
  byId('sink-summary').textContent = `${sinks.length} sinks, ${number(sum)} together`;
  byId('sink-ranking')
      .replaceChildren(
          ...sinks.slice(0, RANKED).map((one) => rankingRow(one, sinks[0].weight || 1, false)));
  for (const row of document.querySelectorAll('.panel li button')) {
    row.parentElement.classList.toggle(
        'current',
        other >= 0 && Number(row.dataset.other) === other && Number(row.dataset.focus) === focus);
  }
  drawMass(focus, ranked, units);
}

function drawTitle(focus) {
  const title = byId('panel-title');
  if (focus < 0) {
    title.replaceChildren(
        state.sinks === 'show' ? 'Strongest links' : 'Strongest links between words');
    return;
  }
  const verb = state.direction === 'out' ? 'attends to' : 'is attended by';
  title.replaceChildren(
      element('em', {dir: 'auto'}, nameWithPlace(scene().units[focus])), ` ${verb}`);
}

/**
 * Where one word's attention goes: it sums to 1. Nothing is rescaled because sinks are set apart.
 */
function drawMass(focus, ranked, units) {
  const box = byId('mass');
  if (focus < 0) {
    const hint = data.tokens.length > 1 ?
        'Point at a word to see what it attends to; click it to keep it.' :
        '';
    box.replaceChildren(element('span', {className: 'key'}, hint));
    return;
  }
  const mass = {words: 0, itself: 0, sinks: 0};
  for (const one of ranked)
    mass[one.other === focus ? 'itself' : units[one.other].sink ? 'sinks' : 'words'] += one.weight;
  const total = mass.words + mass.itself + mass.sinks || 1;
  const bar = element('div', {className: 'bar', ariaHidden: 'true'});
  const key = element('div', {className: 'key'});
  for (const [name, weight] of Object.entries(mass)) {
    const part = element('i', {className: name});
    part.style.width = `${(100 * weight) / total}%`;
    bar.append(part);
    key.append(element('span', {className: name}, `${name} ${number(weight)}`));
  }
  box.replaceChildren(bar, key);
}

/** The tip by the pointer: "bank → river 0.0521", where, and the pieces of it. */
function showTip(event, query, key) {
  const tip = byId('tip');
  const {units, matrix, size} = scene();
  const piece = (unit) => unit.tokens.map((token) => data.tokens[token].text).join(' ');
  const names = `${nameWithPlace(units[query])} → ${nameWithPlace(units[key])}`;
  const pieces = [units[query], units[key]].some((unit) => unit.tokens.length > 1) ?
      ` · ${piece(units[query])} → ${piece(units[key])}` :
      '';
  tip.replaceChildren(
      element('b', {dir: 'auto'}, names),
      element('span', {className: 'number'}, number(matrix[query * size + key])),
      element('small', {}, `${whereText()}${pieces}`));
  Object.assign(tip.dataset, {query, key, weight: matrix[query * size + key]});
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(innerWidth - box.width - 8, event.clientX + 14))}px`;
  tip.style.top = `${
      event.clientY + 22 + box.height > innerHeight ? event.clientY - box.height - 12 :
                                                      event.clientY + 22}px`;
}

const hideTip = () => {
  byId('tip').hidden = true;
};

/** Says what changed by keyboard. */
function announce() {
  const {focus} = inHand();
  const {units} = scene();
  const first =
      ranking(focus)
          .filter(
              (one) => focus < 0 || (one.other !== focus && (!one.sink || state.sinks === 'show')))
          .slice(0, 3);
  const said = first.map((one) => `${units[one.other].name} ${number(one.weight)}`).join(', ');
  byId('live').textContent = focus < 0 ?
      whereText() :
      `${units[focus].name} ${state.direction === 'out' ? 'attends to' : 'is attended by'} ${
          said}; ${whereText()}`;
}
