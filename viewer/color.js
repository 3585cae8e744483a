// viewer/color.js - weights to colours, from the ramp that page.css defines for light and dark.

const ramps = {};

/** The colour that CSS resolves a variable to, as [r, g, b]. */
function resolve(variable) {
  const probe = element('span');
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const parts = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return parts.slice(0, 3);
}

/** 256 steps through the three stops of a ramp, as ABGR words for ImageData. */
function makeRamp(stem) {
  const stops = [0, 1, 2].map((step) => resolve(`--${stem}-${step}`));
  return Uint32Array.from({length: 256}, (_, step) => {
    const at = (step / 255) * 2;
    const low = Math.min(1, Math.floor(at));
    const [r, g, b] = stops[low].map(
        (from, part) => Math.round(from + (stops[low + 1][part] - from) * (at - low)));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** After a change of theme. */
function readColors() {
  ramps.weight = makeRamp('ramp');
  ramps.sink = makeRamp('grey');
  for (const name of ['paper', 'ink', 'muted', 'accent', 'link', 'sink'])
    ramps[`${name}Color`] = `rgb(${resolve(`--${name}`).join()})`;
}

/** Matrices have a square-root scale: a quarter of the largest weight is half way up the ramp. */
const shade = (weight, largest) => Math.round(255 * Math.sqrt(Math.min(1, weight / largest)));

function cssShade(weight, largest) {
  return cssStep(shade(weight, largest));
}

function cssStep(step) {
  const word = ramps.weight[step];
  return `rgb(${word & 255} ${(word >> 8) & 255} ${(word >> 16) & 255})`;
}

/** The legend under a view: a ramp from 0 to `largest`, what it means, and a note. */
function drawLegend(title, largest, rooted, note) {
  const canvas = byId('legend-ramp');
  const context = canvas.getContext('2d');
  for (let x = 0; x < canvas.width; ++x) {
    const share = x / canvas.width;
    if (rooted) {
      context.fillStyle = cssShade(share, 1);
      context.globalAlpha = 1;
    } else {
      context.fillStyle = ramps.linkColor;
      context.globalAlpha = 0.05 + 0.85 * share ** 1.5;
    }
    context.clearRect(x, 0, 1, canvas.height);
    const height = rooted ? canvas.height : Math.max(1, canvas.height * share);
    context.fillRect(x, (canvas.height - height) / 2, 1, height);
  }
  canvas.setAttribute('aria-label', `Scale of weights from 0 to ${number(largest)}`);
  byId('legend-title').textContent = `${title}  0`;
  byId('legend-ticks').textContent =
      rooted ? `${number(largest)}  (half way: ${number(largest / 4)})` : number(largest);
  byId('legend-note').textContent = note;
}
