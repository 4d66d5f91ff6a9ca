/**
 * Put into a page before it begins: keeps what the microphone hears and what comes back, side by side, and every
 * event with the moment of its coming. `kept.fetch()` gives it all.
 */
(() => {
  const RATE = 24000; // Hz
  const BLOCK = 1024; // samples
  const sides = [[], []]; // microphone, what came: blocks of samples
  const kept = (window.kept = { events: [], began: Infinity });
  const context = new AudioContext({ sampleRate: RATE });
  const both = new ChannelMergerNode(context, { numberOfInputs: 2 });
  const recorder = context.createScriptProcessor(BLOCK, 2, 1);
  recorder.onaudioprocess = ({ inputBuffer }) => {
    sides.forEach((side, number) => side.push(inputBuffer.getChannelData(number).slice()));
    // blocks may be late, but never early: the quickest tells when the first one began
    kept.began = Math.min(kept.began, performance.now() - (1000 * sides[0].length * BLOCK) / RATE);
  };
  both.connect(recorder).connect(context.destination);
  const tap = (stream, side) => context.createMediaStreamSource(stream).connect(both, 0, side);

  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    if (wanted.audio) {
      kept.opened ??= performance.now(); // the file that is its microphone begins
      tap(stream, 0);
    }
    return stream;
  };

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) {
      super(...given);
      kept.peer = this;
      this.addEventListener('track', ({ track }) => track.kind === 'audio' && tap(new MediaStream([track]), 1));
    }
    createDataChannel(...given) {
      const channel = super.createDataChannel(...given);
      channel.addEventListener('message', ({ data }) => kept.events.push([performance.now(), data]));
      return channel;
    }
  };

  kept.pcm = (number) => {
    const bytes = new Uint8Array(sides[number].length * BLOCK * 2);
    const samples = new Int16Array(bytes.buffer);
    sides[number].forEach((block, at) => samples.set(block.map((x) => 32767 * Math.max(-1, Math.min(1, x))), at * BLOCK));
    let text = '';
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
  };

  kept.fetch = async () => {
    const { events, began, opened } = kept;
    const told = { mic: kept.pcm(0), came: kept.pcm(1), events, began, opened, buffered: 0 };
    for (const report of (await kept.peer.getStats()).values())
      if (report.type === 'inbound-rtp' && report.kind === 'audio')
        told.buffered = (1000 * report.jitterBufferDelay) / report.jitterBufferEmittedCount; // ms, on average
    return told;
  };
})();
