/** The microphone and the loudspeaker, in slices of 20 ms. */

const RATE = 24000; // Hz, both ways

/** @typedef {{ peak: number, depthMs: number, targetMs: number, underruns: number, dropped: number }} Played */

export class Sound {
  ears = new AudioContext({ latencyHint: 'interactive' }); // at the device's rate: not every browser resamples streams
  mouth = new AudioContext({ latencyHint: 'interactive', sampleRate: RATE });
  /** @type {AudioWorkletNode | undefined} */ playout;
  /** @type {MediaStream | undefined} */ microphone;
  element = new Audio();
  closed = false;

  async open() {
    const worklets = new URL('worklets.js', import.meta.url);
    for (const context of [this.ears, this.mouth]) {
      await context.audioWorklet.addModule(worklets);
      await context.resume();
    }
  }

  /** Ask for the microphone; each slice that it hears goes to `hear`. @param {(slice: Float32Array) => void} hear */
  async listen(hear) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    if (this.closed) return stop(stream); // while it was asked for
    this.microphone = stream;
    this.tap(this.microphone, hear);
  }

  /** @param {MediaStream} stream  @param {(slice: Float32Array) => void} hear */
  tap(stream, hear) {
    const capture = new AudioWorkletNode(this.ears, 'capture', { numberOfOutputs: 0 });
    capture.port.onmessage = ({ data }) => hear(data);
    const lowpass = new BiquadFilterNode(this.ears, { type: 'lowpass', frequency: 0.4 * RATE });
    this.ears.createMediaStreamSource(stream).connect(lowpass).connect(capture);
  }

  /** WebRTC: the browser buffers and plays; slices are for drawing.
   *  @param {MediaStream} stream  @param {(slice: Float32Array) => void} hear */
  playStream(stream, hear) {
    this.element.srcObject = stream;
    this.element.play().catch(() => {}); // allowed since a button was pressed
    this.tap(stream, hear);
  }

  /** WebSocket: our own jitter buffer plays. @param {(played: Played) => void} tell */
  playPieces(tell) {
    this.playout = new AudioWorkletNode(this.mouth, 'playout', { numberOfInputs: 0, outputChannelCount: [1] });
    this.playout.port.onmessage = ({ data }) => tell(data);
    this.playout.connect(this.mouth.destination);
  }

  /** @param {{ samples?: Float32Array, drop?: boolean, least?: number }} message */
  play(message) {
    this.playout?.port.postMessage(message);
  }

  silence() {
    this.playout?.disconnect();
    this.playout = undefined;
    this.element.srcObject = null;
  }

  close() {
    this.closed = true;
    this.silence();
    if (this.microphone) stop(this.microphone);
    this.ears.close();
    this.mouth.close();
  }
}

/** @param {MediaStream} stream */
export function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** @param {Float32Array} samples */
export const peakOf = (samples) => samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);

/** −1…1 → base64 of 16-bit little-endian. @param {Float32Array[]} slices */
export function toBase64(slices) {
  const bytes = new DataView(new ArrayBuffer(slices.reduce((sum, slice) => sum + 2 * slice.length, 0)));
  let at = 0;
  for (const slice of slices) for (const sample of slice) bytes.setInt16((at += 2) - 2, Math.max(-1, Math.min(1, sample)) * 32767, true);
  return btoa(Array.from(new Uint8Array(bytes.buffer), (byte) => String.fromCharCode(byte)).join(''));
}

/** @param {string} text */
export function fromBase64(text) {
  const bytes = new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  return Float32Array.from({ length: bytes.byteLength / 2 }, (_, i) => bytes.getInt16(2 * i, true) / 32768);
}
