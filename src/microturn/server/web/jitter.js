/**
 * A jitter buffer for speech that comes in whole ticks over a socket.
 *
 * Playing begins when `target` samples are there: one tick at first. Running dry fades out and raises the
 * target; a calm stretch lowers it again. What then lies too deep is left out where the model is silent, and faded
 * over where it lies much too deep. Pure: the worklet feeds it.
 */

const FADE_MS = 5; // long enough not to click, short enough not to be heard
const YIELD_MS = 60; // what is still heard of a model that yields, fading
const GROW = 1.25;
const SHRINK = 0.8;
const CALM_S = 5; // seconds without running dry before the target shrinks
const MOST_TICKS = 5;

export class JitterBuffer {
  /** @param {number} rate samples a second  @param {number} tick samples a tick */
  constructor(rate, tick) {
    this.rate = rate;
    this.tick = tick;
    this.least = tick; // samples; the ladder raises it on a bad line
    this.target = tick;
    this.depth = 0;
    this.underruns = 0;
    this.dropped = 0; // times that sound was left out to catch up
    /** @type {Float32Array[]} */
    this.queue = [];
    this.playing = false;
    this.calm = 0; // samples since it last ran dry
    this.last = 0; // the sample played last, where a fade begins
    this.fade = 0; // samples of fade-out still to play
    this.rise = 0; // samples of fade-in still to play
  }

  get fadeSamples() {
    return Math.round((this.rate * FADE_MS) / 1000);
  }

  /** @param {Float32Array} samples */
  push(samples) {
    if (this.playing && this.depth >= this.target && samples.every((sample) => sample === 0)) return;
    this.queue.push(samples);
    this.depth += samples.length;
    if (!this.playing && this.depth >= this.target) {
      this.playing = true;
      this.rise = this.fadeSamples;
    }
    if (this.depth > this.target + 2 * this.tick) this.skip(this.depth - this.target);
  }

  /** The model has yielded: what is queued fades out at once. */
  drop() {
    const rest = new Float32Array(this.playing ? Math.min(this.depth, Math.round((this.rate * YIELD_MS) / 1000)) : 0);
    for (let i = 0; i < rest.length; i++) rest[i] = this.next() * (1 - i / rest.length);
    this.queue = rest.length ? [rest] : [];
    this.depth = rest.length;
  }

  /** @param {number} ticks the least that is waited for */
  atLeast(ticks) {
    this.least = ticks * this.tick;
    this.target = Math.max(this.target, this.least);
  }

  /** Fill `out`, with silence where there is nothing. @param {Float32Array} out */
  pull(out) {
    for (let i = 0; i < out.length; i++) {
      if (this.playing && this.depth === 0) this.ranDry();
      out[i] = this.playing ? this.next() : this.fading();
    }
    this.calm += out.length;
    if (this.calm > CALM_S * this.rate && this.target > this.least) {
      this.target = Math.max(this.least, Math.round(this.target * SHRINK));
      this.calm = 0;
    }
  }

  ranDry() {
    this.playing = false;
    this.fade = this.fadeSamples;
    this.underruns++;
    this.calm = 0;
    this.target = Math.min(MOST_TICKS * this.tick, Math.round(this.target * GROW));
  }

  next() {
    const head = this.queue[0];
    let sample = head[0];
    if (head.length === 1) this.queue.shift();
    else this.queue[0] = head.subarray(1);
    this.depth--;
    if (this.rise > 0) sample *= 1 - this.rise-- / this.fadeSamples;
    this.last = sample;
    return sample;
  }

  fading() {
    return this.fade > 0 ? this.last * (--this.fade / this.fadeSamples) : 0;
  }

  /** Forget the oldest samples and fade into those that follow. @param {number} samples */
  skip(samples) {
    this.depth -= samples;
    this.dropped++;
    while (samples >= this.queue[0].length) samples -= /** @type {Float32Array} */ (this.queue.shift()).length;
    this.queue[0] = this.queue[0].subarray(samples);
    this.rise = this.fadeSamples;
  }
}
