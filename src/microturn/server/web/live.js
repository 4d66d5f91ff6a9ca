/**
 * The Live API in a browser: WebRTC where the network lets it through, else a WebSocket. Both carry the same JSON
 * events; sound and pictures travel as tracks over the first and as events over the second.
 */

const PATH = 'v1/live/sessions';
const RTC_PATIENCE_MS = 5000; // for media to flow, before the WebSocket is tried
const BUSY_S = 5;

/** @typedef {Record<string, any> & { type: string }} LiveEvent */
/** @typedef {{ rttMs: number, loss: number, unsentMs: number, bufferMs: number }} Line */
/** @typedef {{ event: (event: LiveEvent) => void, stream: (stream: MediaStream) => void, lost: () => void }} Listener */
/** @typedef {{
 *   transport: 'WebRTC' | 'WebSocket', send: (event: LiveEvent) => void, line: () => Promise<Line>, close: () => void,
 *   picture?: (track: MediaStreamTrack | null, share: number, everyTicks: number) => void,
 *   microphone?: (track: MediaStreamTrack | null) => void, buffer?: (ms: number) => void }} Wire */

// A server that knows keys is opened as http://…/#key=…; the part after # is never sent anywhere by itself.
const KEY = new URLSearchParams(location.hash.slice(1)).get('key');

/** @param {string} path  @param {RequestInit} init */
function ask(path, init = {}) {
  const headers = { 'content-type': 'application/json', ...(KEY && { authorization: `Bearer ${KEY}` }) };
  return fetch(path, { ...init, headers, signal: AbortSignal.timeout(RTC_PATIENCE_MS) });
}

export class Denied extends Error {}

export class Refused extends Error {
  /** @param {{ code: string, message: string }} error */
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

/** What a conversation begins with: the model that the server has, and who does what it hands over. */
async function session() {
  const response = await ask('v1/models');
  if (response.status === 401) throw new Denied('This server wants a key: put #key=… behind its address.');
  const [{ id, background }] = (await response.json()).data;
  return { model: id, microturn: { ticks: true, packages: true }, ...(background && { delegation: { type: 'responses' } }) };
}

export class Busy extends Error {
  /** @param {number} retryS */
  constructor(retryS) {
    super(`All places are taken. Trying again in ${retryS} s.`);
    this.retryS = retryS;
  }
}

/** A new conversation. @param {MediaStream | undefined} microphone  @param {Listener} on  @param {boolean} rtc whether to try WebRTC
 *  @returns {Promise<Wire>} once `session.started` has come */
export async function connect(microphone, on, rtc) {
  const wanted = await session();
  if (rtc && microphone && 'RTCPeerConnection' in window) {
    try {
      return await overWebRtc(wanted, microphone, on);
    } catch (error) {
      if (error instanceof Busy) throw error;
      console.info(`WebRTC does not get through (${error}); using a WebSocket`);
    }
  }
  return overWebSocket(wanted, on);
}

/** Back to a conversation whose connection was lost. @param {string} id  @param {number} afterMs what has arrived of it
 *  @param {Listener} on */
export const resume = (id, afterMs, on) => overWebSocket(null, on, `?session_id=${id}&after_ms=${afterMs}&ticks=1&packages=1`);

/** @param {object} session  @param {MediaStream} microphone  @param {Listener} on @returns {Promise<Wire>} */
async function overWebRtc(session, microphone, on) {
  const peer = new RTCPeerConnection();
  let id = '';
  try {
    const audio = peer.addTransceiver(microphone.getAudioTracks()[0], { direction: 'sendrecv' });
    const video = peer.addTransceiver('video', { direction: 'sendonly' });
    const channel = peer.createDataChannel('oai-events');
    peer.ontrack = ({ track }) => on.stream(new MediaStream([track]));
    await peer.setLocalDescription();
    await gathered(peer);
    if (!peer.localDescription?.sdp.includes('a=candidate')) throw new Error('no way out');
    const transport = { type: 'webrtc', sdp: peer.localDescription.sdp };
    const response = await ask(PATH, { method: 'POST', body: JSON.stringify({ session, transport }) });
    if (response.status === 503) throw new Busy(Number(response.headers.get('retry-after') ?? BUSY_S));
    if (!response.ok) throw new Refused((await response.json()).error);
    const started = firstEvent(channel, on, RTC_PATIENCE_MS);
    const answer = await response.json();
    id = answer.session.id;
    await peer.setRemoteDescription({ type: 'answer', sdp: answer.transport.sdp });
    await started;
    let ended = false;
    const lost = () => {
      if (!ended) on.lost();
      ended = true;
      peer.close();
    };
    channel.onclose = lost;
    peer.onconnectionstatechange = () => peer.connectionState === 'failed' && lost();
    return {
      transport: 'WebRTC',
      send: (event) => channel.readyState === 'open' && channel.send(JSON.stringify(event)),
      line: () => lineOf(peer),
      close: () => {
        ended = true;
        setTimeout(() => peer.close(), 300); // what was sent last still goes out
      },
      picture: (track, share, everyTicks) => showTrack(video.sender, track, share, everyTicks),
      microphone: (track) => void audio.sender.replaceTrack(track),
      buffer: (ms) => void (audio.receiver.jitterBufferTarget = ms),
    };
  } catch (error) {
    peer.close();
    if (id) await ask(`${PATH}/${id}/hangup`, { method: 'POST' }).catch(() => {}); // its place is free at once
    throw error;
  }
}

/** @param {object | null} session  @param {Listener} on  @param {string} query @returns {Promise<Wire>} */
async function overWebSocket(session, on, query = '') {
  const url = new URL(PATH + query, location.href.replace(/^http/, 'ws'));
  const socket = new WebSocket(url, KEY ? ['microturn', `microturn-key.${KEY}`] : []);
  await new Promise((open, fail) => {
    socket.onopen = open;
    socket.onclose = () => fail(new Error('The server cannot be reached.'));
  });
  const started = firstEvent(socket, on, 2 * RTC_PATIENCE_MS);
  /** @param {LiveEvent} event */
  const send = (event) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(event));
  const audio = { format: { type: 'audio/pcm', rate: 24000 } };
  if (session) send({ type: 'session.start', session: { ...session, audio } });
  await started;
  let ended = false;
  socket.onclose = () => ended || on.lost();
  return {
    transport: 'WebSocket',
    send,
    line: async () => ({ rttMs: 0, loss: 0, bufferMs: 0, unsentMs: socket.bufferedAmount / 64 }), // base64 of 24 kHz: 64 bytes a ms
    close: () => {
      ended = true;
      setTimeout(() => socket.close(), 300);
    },
  };
}

/** Hands every event to `on`; resolves at session.started, rejects at an error before it.
 *  @param {RTCDataChannel | WebSocket} channel  @param {Listener} on  @param {number} patienceMs */
function firstEvent(channel, on, patienceMs) {
  return new Promise((start, fail) => {
    setTimeout(() => fail(new Error('The server does not answer.')), patienceMs);
    /** @type {any} */ (channel).onmessage = (/** @type {MessageEvent<string>} */ { data }) => {
      /** @type {LiveEvent} */
      const event = JSON.parse(data);
      if (event.type === 'session.started') start(event);
      else if (event.type === 'error') fail(event.error.code === 'busy' ? new Busy(BUSY_S) : new Refused(event.error));
      on.event(event);
    };
  });
}

/** @param {RTCPeerConnection} peer @returns {Promise<void>} */
const gathered = (peer) =>
  new Promise((done) => {
    const check = () => peer.iceGatheringState === 'complete' && done();
    peer.onicegatheringstatechange = check;
    setTimeout(done, 1000); // a candidate that takes longer is not worth the wait
    check();
  });

/** @param {RTCRtpSender} sender  @param {MediaStreamTrack | null} track  @param {number} share  @param {number} everyTicks */
async function showTrack(sender, track, share, everyTicks) {
  await sender.replaceTrack(share > 0 ? track : null);
  const parameters = sender.getParameters();
  if (!track || share === 0 || !parameters.encodings.length) return;
  const width = track.getSettings().width ?? 640;
  parameters.encodings[0].scaleResolutionDownBy = Math.max(1, width / 320 / share);
  parameters.encodings[0].maxFramerate = Math.max(1, 5 / everyTicks); // the model sees one a tick
  await sender.setParameters(parameters);
}

/** @typedef {{ lost: number, received: number, delayS: number, emitted: number }} Counts  since the connection began */
/** @type {WeakMap<RTCPeerConnection, Counts>} */
const counted = new WeakMap();

/** @param {RTCPeerConnection} peer @returns {Promise<Line>} */
async function lineOf(peer) {
  let [rttMs, outgoing] = [0, 0];
  const now = { lost: 0, received: 0, delayS: 0, emitted: 0 };
  for (const report of (await peer.getStats()).values()) {
    if (report.type === 'candidate-pair' && report.nominated) rttMs = 1000 * (report.currentRoundTripTime ?? 0);
    if (report.kind !== 'audio') continue;
    if (report.type === 'remote-inbound-rtp') outgoing = report.fractionLost ?? 0;
    if (report.type === 'inbound-rtp') {
      [now.lost, now.received] = [report.packetsLost, report.packetsReceived];
      [now.delayS, now.emitted] = [report.jitterBufferDelay, report.jitterBufferEmittedCount];
    }
  }
  const before = counted.get(peer) ?? now;
  counted.set(peer, now);
  const [lost, received, emitted] = [now.lost - before.lost, now.received - before.received, now.emitted - before.emitted];
  const bufferMs = emitted > 0 ? (1000 * (now.delayS - before.delayS)) / emitted : 0;
  return { rttMs, loss: Math.max(outgoing, lost > 0 ? lost / (lost + received) : 0), unsentMs: 0, bufferMs };
}
