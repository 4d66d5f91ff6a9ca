/**
 * The last seconds on the tick grid: what you said, what the model decided in every tick, what it said.
 *
 * Times are session milliseconds. Sound is kept as one peak per 20 ms, the rest per tick, in rings that hold a
 * minute; drawing walks over what is visible.
 */

export const TICK_MS = 200;
const SLICE_MS = 20;
const BAR_MS = 40; // one drawn bar
const KEPT_TICKS = 300;
const WORDS_KEPT = 200;
const WORDS = 24; // px above and below for words
const SILENT = new Float32Array((KEPT_TICKS * TICK_MS) / SLICE_MS);

/** @typedef {'you' | 'model'} Who */
/** @typedef {{ who: Who, ms: number, text: string }} Word */
/** @typedef {{ number: number, decision: string, missed: boolean }} Tick */

const COLOURS = { you: '', model: '', work: '', bad: '', faint: '', line: '' }; // names of the style sheet

export class Lanes {
  scale = 1; // device pixels a pixel
  tickWidth = 27; // px
  font = '';
  colours = COLOURS;
  /** @type {Record<Who, Float32Array>} */ peaks = { you: SILENT, model: SILENT };
  /** @type {Record<Who, number>} */ newest = { you: -1, model: -1 }; // slice
  /** @type {(Tick | undefined)[]} */ ticks = [];
  /** @type {Word[]} */ words = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    this.reset();
    this.restyle();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  reset() {
    this.peaks = { you: SILENT.slice(), model: SILENT.slice() };
    this.newest = { you: -1, model: -1 };
    this.ticks = [];
    this.words = [];
  }

  /** Colours and type come from the style sheet; call again when the theme has changed. */
  restyle() {
    const style = getComputedStyle(this.canvas);
    this.font = style.fontFamily;
    this.colours = { ...COLOURS };
    for (const name of /** @type {(keyof typeof COLOURS)[]} */ (Object.keys(COLOURS))) {
      this.canvas.style.color = `var(--${name})`; // resolves light-dark(), which reading the variable does not
      this.colours[name] = style.color;
    }
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * this.scale);
    this.canvas.height = Math.round(clientHeight * this.scale);
    this.tickWidth = clientWidth < 600 ? 21 : 27; // px
  }

  /** @param {Who} who  @param {number} ms  @param {number} peak 0…1 */
  sound(who, ms, peak) {
    const slice = Math.floor(ms / SLICE_MS);
    if (slice < 0) return;
    const ring = this.peaks[who];
    const first = Math.max(this.newest[who] + 1, slice - ring.length + 1);
    for (let gap = first; gap < slice; gap++) ring[gap % ring.length] = slice - gap < 3 ? peak : 0; // uneven, or nothing came
    ring[slice % ring.length] = slice === this.newest[who] ? Math.max(peak, ring[slice % ring.length]) : peak;
    this.newest[who] = Math.max(this.newest[who], slice);
  }

  /** @param {Tick} tick */
  tick(tick) {
    this.ticks[tick.number % KEPT_TICKS] = tick;
  }

  /** A piece of a word; one that begins with a space begins a word. @param {Word} piece */
  word(piece) {
    const last = this.words.findLast((word) => word.who === piece.who);
    if (last && !piece.text.startsWith(' ') && piece.ms - last.ms < 2 * TICK_MS) last.text += piece.text;
    else this.words.push({ ...piece, text: piece.text.trim() });
    if (this.words.length > WORDS_KEPT) this.words.shift();
  }

  /** @param {number} now session ms at the right edge */
  draw(now) {
    const { context: c, canvas, scale, tickWidth } = this;
    const width = canvas.width / scale;
    const height = canvas.height / scale;
    const from = now - (width / tickWidth) * TICK_MS;
    /** @param {number} ms */
    const x = (ms) => ((ms - from) / TICK_MS) * tickWidth;
    const middle = height / 2;
    const room = height - 2 * WORDS;
    const reach = room * 0.19; // of a waveform, to each side
    const rows = { you: WORDS + room * 0.22, model: WORDS + room * 0.78 };

    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    this.grid(x, Math.max(0, Math.floor(from / TICK_MS)), Math.ceil(now / TICK_MS), height);
    for (const who of /** @type {const} */ (['you', 'model'])) {
      this.wave(who, x, Math.max(0, from), now, rows[who], reach);
      this.text(who, x, from, who === 'you' ? 16 : height - 9);
    }
    for (let k = Math.max(0, Math.floor(from / TICK_MS)); k * TICK_MS < now; k++) {
      const tick = this.ticks[k % KEPT_TICKS];
      if (tick?.number === k) this.decision(tick, x(k * TICK_MS), middle);
    }
  }

  /** @param {(ms: number) => number} x  @param {number} first  @param {number} last  @param {number} height */
  grid(x, first, last, height) {
    const { context: c, colours } = this;
    for (let k = first; k <= last; k++) {
      const second = k % 5 === 0;
      c.fillStyle = colours.line;
      c.globalAlpha = second ? 1 : 0.45;
      c.fillRect(Math.round(x(k * TICK_MS)), second ? 0 : WORDS, 1, second ? height : height - 2 * WORDS);
    }
    c.globalAlpha = 1;
  }

  /** @param {Who} who  @param {(ms: number) => number} x  @param {number} from  @param {number} to
   *  @param {number} y  @param {number} reach */
  wave(who, x, from, to, y, reach) {
    const { context: c } = this;
    const ring = this.peaks[who];
    const per = BAR_MS / SLICE_MS;
    const bar = (this.tickWidth * BAR_MS) / TICK_MS;
    c.fillStyle = this.colours[who];
    c.beginPath();
    for (let n = Math.floor(from / BAR_MS); n * BAR_MS < to; n++) {
      if (n * per > this.newest[who] || (n + 1) * per <= this.newest[who] - ring.length) continue;
      const peak = Math.max(ring[(n * per) % ring.length], n * per + 1 <= this.newest[who] ? ring[(n * per + 1) % ring.length] : 0);
      const half = Math.max(0.75, Math.min(1, Math.sqrt(peak)) * reach); // the root lifts quiet speech into sight
      c.roundRect(x(n * BAR_MS) + bar * 0.2, y - half, bar * 0.6, 2 * half, bar * 0.3);
    }
    c.fill();
  }

  /** @param {Tick} tick  @param {number} left  @param {number} y */
  decision({ decision, missed }, left, y) {
    const { context: c, colours, tickWidth } = this;
    const x = left + tickWidth / 2;
    c.beginPath();
    if (decision === 'listen') c.arc(x, y, 2, 0, 7);
    else c.roundRect(left + 2, y - 5, tickWidth - 4, 10, 5);
    const silent = missed ? colours.bad : colours.faint;
    const colour = { speak: colours.model, delegate: colours.work, cancel: colours.bad }[decision] ?? silent;
    c.fillStyle = c.strokeStyle = colour;
    if (missed) c.stroke();
    else c.fill();
  }

  /** Words at the ticks in which they were heard or said; where they would touch, the later one moves right.
   *  @param {Who} who  @param {(ms: number) => number} x  @param {number} from  @param {number} y */
  text(who, x, from, y) {
    const { context: c } = this;
    c.font = `500 13px ${this.font}`;
    c.fillStyle = this.colours[who];
    let free = -Infinity;
    for (const word of this.words) {
      if (word.who !== who || word.ms < from - 20 * TICK_MS) continue;
      const left = Math.max(x(word.ms) + 3, free);
      c.fillText(word.text, left, y);
      free = left + c.measureText(word.text).width + 7;
    }
  }
}
