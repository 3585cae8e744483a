// viewer/matrix.js - the matrix on a canvas as large as the window onto it, however many words.

/** From so many pixels of a cell on, every line has its name beside it. */
const LEGIBLE = 9;

/** zoom 0 fits the width; each step is a factor of 1.5. */
const matrixView = {
  zoom: 0,
  cell: 0,
  margin: 0,
  image: null,
  imageKey: ''
};

/** One pixel per pair of shown units. */
function matrixImage() {
  const {units, matrix, size, shown, largest} = scene();
  const key = `${sceneKey} ${ramps.paperColor}`;
  if (matrixView.imageKey === key) return matrixView.image;
  const canvas = new OffscreenCanvas(shown.length, shown.length);
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(shown.length, shown.length);
  const words = new Uint32Array(pixels.data.buffer);
  shown.forEach((row, y) => shown.forEach((column, x) => {
    const ramp = isApart(units[row]) || isApart(units[column]) ? ramps.sink : ramps.weight;
    words[y * shown.length + x] = ramp[shade(matrix[row * size + column], largest)];
  }));
  context.putImageData(pixels, 0, 0);
  Object.assign(matrixView, {image: canvas, imageKey: key});
  return canvas;
}

function labelMargin(context, names) {
  context.font = '14px system-ui, sans-serif';
  let widest = 40;
  for (const name of names.slice(0, 600))
    widest = Math.max(widest, context.measureText(name).width + 20);
  return Math.min(120, Math.ceil(widest));
}

/** Size of a cell and of the margins, and the room that the scroll bar moves over. */
function layOutMatrix(context) {
  const {units, shown} = scene();
  const box = byId('matrix-scroll');
  matrixView.margin = labelMargin(context, shown.map((index) => units[index].name));
  const room = box.clientWidth - matrixView.margin;
  const widest = room / shown.length;
  const highest = Math.max(360, innerHeight - 330) / shown.length;
  // Where names fit beside the lines by scrolling down a little, they are worth it.
  const fit = Math.min(48, widest, widest >= LEGIBLE ? Math.max(LEGIBLE, highest) : highest);
  const cell = Math.max(1, fit) * 1.5 ** matrixView.zoom;
  matrixView.cell = cell >= 3 ? Math.floor(cell) : cell;
  const total = matrixView.margin + Math.ceil(matrixView.cell * shown.length);
  const roomBox = byId('matrix-room');
  roomBox.style.width = roomBox.style.height = `${total}px`;
  return {
    width: Math.min(box.clientWidth, total),
    height: Math.min(parseFloat(getComputedStyle(box).maxHeight), total)
  };
}

function drawMatrix() {
  const canvas = byId('matrix');
  const context = canvas.getContext('2d');
  const {width, height} = layOutMatrix(context);
  const dots = devicePixelRatio;
  canvas.width = width * dots;
  canvas.height = height * dots;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  context.scale(dots, dots);
  paintMatrix(context, width, height);
  const {shown, largest} = scene();
  canvas.setAttribute(
      'aria-label',
      `Matrix of attention weights, ${shown.length} by ${shown.length}, ${
          whereText()}; the list beside it has the numbers`);
  const sinks = state.sinks === 'apart' ? ' Grey: sinks, not on this scale.' : '';
  drawLegend(
      'weight', largest, true,
      `Square-root scale of colour, up to the largest weight shown.${sinks}`);
}

/** The visible part: picture, grid, marks, then labels in their margins on top. */
function paintMatrix(context, width, height) {
  const {cell, margin} = matrixView;
  const {shown} = scene();
  const box = byId('matrix-scroll');
  const left = box.scrollLeft;
  const top = box.scrollTop;
  context.clearRect(0, 0, width, height);
  context.save();
  context.beginPath();
  context.rect(margin, margin, width - margin, height - margin);
  context.clip();
  context.imageSmoothingEnabled = false;
  context.drawImage(
      matrixImage(), margin - left, margin - top, cell * shown.length, cell * shown.length);
  if (cell >= LEGIBLE) drawGaps(context, margin - left, margin - top);
  if (cell >= 32 && shown.length <= 40) drawNumbers(context, margin - left, margin - top);
  const {focus, other} = inHand();
  const [row, column] = state.direction === 'out' ? [focus, other] : [other, focus];
  drawMarks(context, margin - left, margin - top, shown.indexOf(row), shown.indexOf(column));
  context.restore();
  drawLabels(context, {left, top, width, height}, row, column);
}

/** Two decimals in each cell, where they fit. */
function drawNumbers(context, x, y) {
  const {cell} = matrixView;
  const {matrix, size, shown, largest} = scene();
  context.font = '10.5px system-ui, sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  shown.forEach((row, down) => shown.forEach((column, across) => {
    const weight = matrix[row * size + column];
    const strong = !isApart(scene().units[row]) && !isApart(scene().units[column]) &&
        shade(weight, largest) > 150;
    context.fillStyle = strong ? ramps.paperColor : ramps.inkColor;
    context.fillText(
        weight.toFixed(2).replace(/^0/, ''), x + (across + 0.5) * cell, y + (down + 0.5) * cell);
  }));
}

function drawGaps(context, x, y) {
  const {cell} = matrixView;
  const count = scene().shown.length;
  context.fillStyle = ramps.paperColor;
  for (let line = 0; line <= count; ++line) {
    context.fillRect(x + line * cell - 0.5, y, 1, count * cell);
    context.fillRect(x, y + line * cell - 0.5, count * cell, 1);
  }
}

function drawMarks(context, x, y, row, column) {
  const {cell} = matrixView;
  const whole = cell * scene().shown.length;
  context.lineWidth = 1.5;
  context.strokeStyle = ramps.accentColor;
  if (row >= 0) context.strokeRect(x, y + row * cell, whole, cell);
  context.strokeStyle = row >= 0 ? ramps.linkColor : ramps.accentColor;
  if (column >= 0) context.strokeRect(x + column * cell, y, cell, whole);
}

/** Labels of every line when there is room, else of the marked ones only. */
function drawLabels(context, view, row, column) {
  const {cell, margin} = matrixView;
  const {units, shown} = scene();
  const all = cell >= LEGIBLE;
  context.font = `${
      all ? Math.max(9, Math.min(14, cell * 0.72)) :
            13}px system-ui, "Noto Sans CJK SC", sans-serif`;
  context.textBaseline = 'middle';
  shown.forEach((index, place) => {
    const unit = units[index];
    const down = margin - view.top + (place + 0.5) * cell;
    const across = margin - view.left + (place + 0.5) * cell;
    if ((all || index === row) && down > margin && down < view.height)
      drawLabel(context, unit, margin - 7, down, false, index === row && ramps.accentColor);
    if ((all || index === column) && across > margin && across < view.width)
      drawLabel(
          context, unit, across, margin - 7, true,
          index === column && (row >= 0 ? ramps.linkColor : ramps.accentColor));
  });
}

function drawLabel(context, unit, x, y, upright, marked) {
  context.save();
  context.translate(x, y);
  if (upright) context.rotate(-Math.PI / 2);
  context.fillStyle = marked || (isApart(unit) ? ramps.sinkColor : ramps.inkColor);
  context.textAlign = upright ? 'left' : 'right';
  context.fillText(shorten(context, unit.name, matrixView.margin - 12), 0, 0);
  context.restore();
}

function shorten(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  const letters = [...text];
  while (letters.length > 1 && context.measureText(`${letters.join('')}…`).width > room)
    letters.pop();
  return `${letters.join('')}…`;
}

/** [row, column] as units under a pointer, or null. */
function matrixAt(event) {
  const {shown} = scene();
  const {cell, margin} = matrixView;
  const box = byId('matrix-scroll');
  const bounds = byId('matrix').getBoundingClientRect();
  const x = event.clientX - bounds.x;
  const y = event.clientY - bounds.y;
  if (x < margin || y < margin) return null;
  const column = shown[Math.floor((x - margin + box.scrollLeft) / cell)];
  const row = shown[Math.floor((y - margin + box.scrollTop) / cell)];
  return row === undefined || column === undefined ? null : [row, column];
}
