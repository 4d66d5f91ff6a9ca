/** The two ends of the sound card, on the audio thread: `capture` cuts what it hears into 20 ms, `playout` plays. */

import { JitterBuffer } from './jitter.js';

const RATE = 24000; // Hz, of what capture gives
const SLICE = RATE / 50; // 20 ms

class Capture extends AudioWorkletProcessor {
  slice = new Float32Array(SLICE);
  filled = 0;
  at = 0; // where the next sample lies in what is heard
  last = 0; // the sample before it

  /** @param {Float32Array[][]} inputs */
  process([[heard]]) {
    if (!heard) return true;
    for (; this.at < heard.length; this.at += sampleRate / RATE) {
      const after = Math.floor(this.at);
      const before = after ? heard[after - 1] : this.last;
      this.slice[this.filled++] = before + (heard[after] - before) * (this.at - after);
      if (this.filled === SLICE) {
        this.port.postMessage(this.slice.slice());
        this.filled = 0;
      }
    }
    this.at -= heard.length;
    this.last = heard[heard.length - 1];
    return true;
  }
}

class Playout extends AudioWorkletProcessor {
  buffer = new JitterBuffer(sampleRate, sampleRate / 5);
  peak = 0;
  played = 0; // samples

  constructor() {
    super();
    /** @param {MessageEvent<{ samples?: Float32Array, drop?: boolean, least?: number }>} message */
    this.port.onmessage = ({ data }) => {
      if (data.drop) this.buffer.drop();
      if (data.samples) this.buffer.push(data.samples);
      if (data.least) this.buffer.atLeast(data.least);
    };
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, [channels]) {
    const out = channels[0];
    this.buffer.pull(out);
    for (const other of channels.slice(1)) other.set(out);
    for (const sample of out) this.peak = Math.max(this.peak, Math.abs(sample));
    const before = this.played;
    this.played += out.length;
    if (Math.floor(this.played / SLICE) > Math.floor(before / SLICE)) {
      const { depth, target, underruns, dropped } = this.buffer;
      const [depthMs, targetMs] = [depth, target].map((samples) => (samples / sampleRate) * 1000);
      this.port.postMessage({ peak: this.peak, depthMs, targetMs, underruns, dropped });
      this.peak = 0;
    }
    return true;
  }
}

registerProcessor('capture', Capture);
registerProcessor('playout', Playout);
