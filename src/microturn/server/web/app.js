/** The page: one conversation, what is seen of it, and the buttons. */

import { Film } from './film.js';
import { isBad, Ladder, RUNGS } from './ladder.js';
import { Lanes, TICK_MS } from './lanes.js';
import { Busy, connect, Denied, Refused, resume } from './live.js';
import { fromBase64, peakOf, Sound, toBase64 } from './sound.js';
import { TAKEN_BACK, Talk, WORKING } from './talk.js';

/** @import { LiveEvent, Wire } from './live.js' */
/** @import { Played } from './sound.js' */

/** @template {HTMLElement} T  @param {string} id  @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}
/** @param {string} id */
const button = (id) => element(id, HTMLButtonElement);
/** @param {string} id  @param {string} text */
const write = (id, text) => void (element(id, HTMLElement).textContent = text);

const text = element('text', HTMLInputElement);
const lanes = new Lanes(element('lanes', HTMLCanvasElement));
const film = new Film(element('frame', HTMLCanvasElement));
const talk = new Talk(element('talk', HTMLElement), element('work', HTMLElement));
const RETRY_S = [0.5, 1, 2, 4, 8];
const NOTE_MS = 6000;

/** @type {Wire | undefined} */ let wire;
/** @type {Sound | undefined} */ let sound;
let ladder = new Ladder();
let rung = RUNGS[0];
let wanted = false; // the user wants to be connected
let muted = false;
let deaf = false; // no microphone was to be had: typing still works
let busy = false; // the line is good, and yet the server misses what is said

let conversation = ''; // its id, to come back to
let until = 0; // session ms that has been answered
let origin = 0; // performance.now() at session ms 0, once `settled` by a tick
let settled = false;
let decided = 'listen'; // in the last tick
/** @type {Float32Array | undefined} */ let sounding; // of the tick whose decision comes next
/** @type {Float32Array[]} */ let unsent = []; // slices of the tick that is being heard
/** @type {number[]} */ let inFlight = []; // when the ticks went that have not been answered
let seen = { ticks: 0, missed: 0, underruns: 0 }; // since the last look
let played = { depthMs: 0, underruns: 0, dropped: 0 }; // of our own jitter buffer

const now = () => performance.now() - origin;

// ---- connecting ----

/** @param {'idle' | 'connecting' | 'live' | 'reconnecting' | 'weak'} state  @param {string} says */
function show(state, says) {
  document.body.dataset.state = state;
  write('status', says);
  write('start', wanted ? 'Stop' : 'Start');
  const off = state !== 'live' && state !== 'weak';
  for (const control of document.querySelectorAll('.senses button, #typing *')) control.toggleAttribute('disabled', off);
}

async function begin() {
  wanted = true;
  show('connecting', 'Connecting');
  talk.clear();
  lanes.reset();
  const mine = (sound = new Sound());
  try {
    await mine.open();
  } catch {
    return sound === mine && end('Sound needs https, or http://localhost.');
  }
  if (sound !== mine) return; // stopped meanwhile
  const without = await mine.listen(heard).then(() => false, () => true);
  if (sound !== mine) return;
  deaf = without;
  await join();
}

/** Connect, and go on trying until it works or is no longer wanted. */
async function join() {
  for (let tries = 0; wanted && sound; tries++) {
    try {
      const draw = (/** @type {Float32Array} */ slice) => lanes.sound('model', now(), peakOf(slice));
      const on = { event: happen, lost, stream: (/** @type {MediaStream} */ stream) => sound?.playStream(stream, draw) };
      const rtc = !deaf && new URLSearchParams(location.search).get('transport') !== 'websocket';
      wire = await (conversation ? resume(conversation, until, on) : connect(sound.microphone, on, rtc));
      if (!wanted) return wire.close();
      write('delay', wire.transport === 'WebRTC' ? 'round trip' : 'answer');
      if (wire.transport === 'WebSocket') sound.playPieces(play);
      ladder = new Ladder();
      mute();
      return climb(RUNGS[0]);
    } catch (error) {
      if (error instanceof Denied) return end(error.message);
      if (error instanceof Refused) conversation = '';
      show('reconnecting', error instanceof Busy ? error.message : 'No connection. Trying again.');
      const wait = error instanceof Busy ? error.retryS : RETRY_S[Math.min(tries, RETRY_S.length - 1)];
      await new Promise((done) => setTimeout(done, wait * 1000));
    }
  }
}

function lost() {
  wire = undefined;
  sound?.silence();
  show('reconnecting', 'The connection was lost. Trying again.');
  join();
}

/** @param {string} says */
function end(says) {
  wanted = false;
  conversation = '';
  wire?.send({ type: 'session.close' });
  wire?.close();
  wire = undefined;
  closeFilm();
  sound?.close();
  sound = undefined;
  show('idle', says);
}

// ---- what comes ----

/** @param {LiveEvent} event */
function happen(event) {
  switch (event.type) {
    case 'session.started':
      return started(event.session);
    case 'session.output_audio.delta':
      if (sounding) hear(false); // whose decision was not told
      return void (sounding = rung.sound ? fromBase64(event.delta) : undefined);
    case 'session.tick':
      return beat(event);
    case 'session.input_transcript.delta':
      lanes.word({ who: 'you', ms: event.start_ms, text: event.delta });
      return talk.say('you', event.delta, event.start_ms);
    case 'session.output_transcript.delta':
      lanes.word({ who: 'model', ms: event.start_ms, text: event.delta });
      return talk.say('model', event.delta, event.start_ms);
    case 'session.delegation.created':
      return talk.fresh(event.event_id) && void talk.card(event.delegation.id, event.delegation.target === 'client' ? 'Handed to the application' : WORKING);
    case 'session.delegation.package':
      return talk.fresh(event.event_id) && talk.given(event.delegation_id, event);
    case 'info':
      return event.delegation_id && talk.fresh(event.event_id) && void talk.card(event.delegation_id, TAKEN_BACK);
    case 'response.event':
      return event.delegation_id && talk.fresh(event.event_id) && talk.report(event.delegation_id, event.event);
    case 'session.closed':
      return void (wanted && event.reason !== 'connection_lost' && end('The conversation has ended.'));
    case 'error':
      return wire && note(event.error.message);
  }
}

/** @param {{ id: string, frame_size: number[] }} session */
function started({ id, frame_size }) {
  [film.canvas.height, film.canvas.width] = frame_size;
  if (id !== conversation) {
    until = 0;
    lanes.reset();
  }
  conversation = id;
  origin = performance.now() - until; // while nobody was connected its time stood still
  settled = false;
  decided = 'listen';
  unsent = [];
  inFlight = [];
  played.underruns = played.dropped = 0;
}

/** What the microphone hears goes nowhere, and the server knows that it is so. */
function mute() {
  button('mute').ariaPressed = String(muted);
  for (const track of sound?.microphone?.getAudioTracks() ?? []) track.enabled = !muted;
  wire?.send({ type: muted ? 'session.input_audio.mute' : 'session.input_audio.unmute' });
}

/** @param {LiveEvent} event */
function beat({ tick, decision, missed }) {
  lanes.tick({ number: tick, decision, missed });
  until = (tick + 1) * TICK_MS;
  const late = performance.now() - until - origin; // the fastest tick sets the origin; clocks drift, ticks are skipped
  origin += settled && late < 2 * TICK_MS ? Math.min(late, 0) + 0.02 : late;
  settled = true;
  const went = missed ? undefined : inFlight.shift();
  if (went) write('latency', `${Math.round(performance.now() - went)} ms`);
  hear(decided === 'speak' && decision === 'listen');
  decided = decision;
  if (missed) seen.missed++;
}

/** The answer of one tick. @param {boolean} drop  whether the model has yielded */
function hear(drop) {
  sound?.play({ drop, samples: sounding });
  sounding = undefined;
  seen.ticks++;
}

/** @param {Played} news of the last 20 ms */
function play({ peak, depthMs, targetMs, underruns, dropped }) {
  lanes.sound('model', now(), peak);
  write('buffer', `${Math.round(targetMs)} ms`);
  seen.underruns += underruns - played.underruns;
  if (dropped > played.dropped) wire?.send({ type: 'session.playback.dropped' });
  played = { depthMs, underruns, dropped };
}

// ---- what goes ----

/** 20 ms from the microphone. @param {Float32Array} slice */
function heard(slice) {
  if (!wire) return;
  lanes.sound('you', now(), peakOf(slice));
  unsent.push(slice);
  if (unsent.length * 20 < TICK_MS) return;
  if (wire.transport === 'WebSocket' && rung.sound) {
    wire.send({ type: 'session.input_audio.append', audio: toBase64(unsent) });
    inFlight = [...inFlight.slice(-5), performance.now()];
  }
  unsent = [];
}

/** Once a tick. */
function picture() {
  if (!film.source || !rung.video || Math.floor(performance.now() / TICK_MS) % rung.everyTicks) return;
  const image = film.draw(wire?.picture ? 1 : rung.video);
  if (!image || wire?.picture) return; // WebRTC has a track of its own
  const [, base64] = image.toDataURL('image/jpeg', 0.8).split(',');
  wire?.send({ type: 'session.input_video.append', image: base64, format: 'jpeg' });
}

/** @param {string} typed */
function type(typed) {
  if (!typed.trim() || !wire) return;
  wire.send({ type: 'session.input_text.append', text: typed });
  talk.typed(typed);
}

// ---- the line ----

/** Once a second. */
async function look() {
  const line = await wire?.line();
  if (!wire || !line) return;
  const missed = !deaf && rung.sound && seen.ticks ? seen.missed / seen.ticks : 0;
  if (line.rttMs) write('latency', `${Math.round(line.rttMs)} ms`);
  if (line.bufferMs) write('buffer', `${Math.round(line.bufferMs)} ms`);
  write('loss', `${(100 * Math.max(line.loss, missed)).toFixed(0)} %`);
  wire.send({ type: 'session.playback.ack', end_ms: Math.max(0, Math.round(until - (line.bufferMs || played.depthMs))) });
  const stalled = seen.ticks === 0; // no tick in a second: nothing gets through
  const wasBusy = busy;
  busy = wire.transport === 'WebRTC' && missed > 0.1 && !stalled && !isBad({ ...line, missed: 0, underruns: 0 });
  const next = ladder.look({ ...line, missed: stalled ? 1 : busy ? 0 : missed, underruns: seen.underruns }, film.source !== undefined);
  seen = { ticks: 0, missed: 0, underruns: 0 };
  if (next !== rung || busy !== wasBusy) climb(next);
}

/** @param {typeof rung} next */
function climb(next) {
  rung = next;
  const fine = deaf ? 'Connected without a microphone: type to it.' : `Connected over ${wire?.transport}`;
  const says = rung.says || (busy ? 'The server is short of time: it misses some of what you say.' : '');
  if (wire) show(says ? 'weak' : 'live', says || fine);
  wire?.picture?.(film.track ?? null, rung.video, rung.everyTicks);
  wire?.microphone?.(rung.sound ? (sound?.microphone?.getAudioTracks()[0] ?? null) : null);
  wire?.buffer?.(rung.bufferTicks > 1 ? rung.bufferTicks * TICK_MS : 0);
  sound?.play({ least: rung.bufferTicks });
  if (sound) sound.element.muted = !rung.sound;
}

/** For a while. @param {string} says */
function note(says) {
  write('status', says);
  setTimeout(() => wire && climb(rung), NOTE_MS);
}

// ---- buttons and keys ----

/** @param {'camera' | 'screen'} source */
async function toggleFilm(source) {
  const same = film.source === source;
  closeFilm();
  if (same) return;
  try {
    await film.open(source, closeFilm);
  } catch {
    return void (wire && note(`The ${source} was not allowed.`));
  }
  element('film', HTMLElement).hidden = false;
  button(source).ariaPressed = 'true';
  climb(rung);
}

function closeFilm() {
  film.close();
  element('film', HTMLElement).hidden = true;
  button('camera').ariaPressed = button('screen').ariaPressed = 'false';
  wire?.picture?.(null, 0, 0);
}

addEventListener('pagehide', () => wanted && end('Not connected'));
button('start').onclick = () => (wanted ? end('Not connected') : begin());
button('camera').onclick = () => toggleFilm('camera');
button('screen').onclick = () => toggleFilm('screen');
button('screen').hidden = !navigator.mediaDevices?.getDisplayMedia;
button('mute').onclick = () => {
  muted = !muted;
  mute();
};
element('typing', HTMLFormElement).onsubmit = (event) => {
  event.preventDefault();
  type(text.value);
  text.value = '';
};
for (const chip of document.querySelectorAll('.chip')) chip.addEventListener('click', () => type(chip.textContent ?? ''));

const darkness = matchMedia('(prefers-color-scheme: dark)');
const root = document.documentElement;
if (localStorage.theme) root.dataset.theme = localStorage.theme;
button('theme').onclick = () => {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : darkness.matches;
  root.dataset.theme = localStorage.theme = dark ? 'light' : 'dark';
  lanes.restyle();
};
darkness.addEventListener('change', () => lanes.restyle());

/** @type {Record<string, string>} */
const KEYS = { m: 'mute', v: 'camera', s: 'screen' };
document.addEventListener('keydown', (event) => {
  if (event.target === text) return void (event.key === 'Escape' && text.blur());
  if (event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === '/') event.preventDefault(), text.focus();
  if (KEYS[event.key]) button(KEYS[event.key]).click();
});

lanes.restyle();
show('idle', 'Not connected');
setInterval(look, 1000);
setInterval(picture, TICK_MS);
const calm = matchMedia('(prefers-reduced-motion: reduce)');
let drawn = 0;
requestAnimationFrame(function frame(at) {
  if (wire && (!calm.matches || at - drawn > TICK_MS)) {
    lanes.draw(now());
    drawn = at;
  }
  requestAnimationFrame(frame);
});
