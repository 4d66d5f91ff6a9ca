/** The page: one conversation, what is seen of it, and the buttons. */

import { Film } from './film.js';
import { Ladder, RUNGS } from './ladder.js';
import { Lanes, TICK_MS } from './lanes.js';
import { Busy, connect, Denied, Refused, resume } from './live.js';
import { fromBase64, peakOf, Sound, toBase64 } from './sound.js';

/** @import { LiveEvent, Wire } from './live.js' */
/** @import { Who } from './lanes.js' */

/** @template {HTMLElement} T  @param {string} id  @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}
const [start, mute, camera, screen, theme] = ['start', 'mute', 'camera', 'screen', 'theme'].map((id) => element(id, HTMLButtonElement));
const [status, latency, loss, buffer, work, figure] = ['status', 'latency', 'loss', 'buffer', 'work', 'film'].map((id) => element(id, HTMLElement));
const talk = element('talk', HTMLOListElement);
const text = element('text', HTMLInputElement);
const typing = element('typing', HTMLFormElement);
const canvas = element('lanes', HTMLCanvasElement);

const query = new URLSearchParams(location.search);
const lanes = new Lanes(canvas);
const film = new Film(element('frame', HTMLCanvasElement));
const UTTERANCE_GAP_MS = 1200; // captions only: after such a silence words begin a new line
const LINE = 90; // letters after which they do as well
const RETRY_S = [0.5, 1, 2, 4, 8];

/** @type {Wire | undefined} */ let wire;
/** @type {Sound | undefined} */ let sound;
let ladder = new Ladder();
let rung = RUNGS[0];
let origin = 0; // performance.now() at session ms 0
let wanted = false; // the user wants to be connected
let muted = false;
let deaf = false; // no microphone was to be had: typing still works
/** @type {Float32Array[]} */ let unsent = []; // slices of the tick that is being heard
/** @type {number[]} */ let inFlight = []; // when the ticks went that have not been answered
let conversation = ''; // its id, to come back to
let until = 0; // session ms that has been answered
let decided = 'listen'; // in the last tick
/** @type {Float32Array | undefined} */ let sounding; // of the tick whose decision comes next
let seen = { ticks: 0, missed: 0, underruns: 0 }; // since the last look
let underruns = 0;
let waiting = 0; // ms in our own jitter buffer

const now = () => performance.now() - origin;

// ---- connecting ----

/** @param {'idle' | 'connecting' | 'live' | 'reconnecting' | 'weak'} state  @param {string} says */
function show(state, says) {
  document.body.dataset.state = state;
  status.textContent = says;
  const live = state === 'live' || state === 'weak';
  start.textContent = wanted ? 'Stop' : 'Start';
  for (const control of [mute, camera, screen, text, .../** @type {HTMLButtonElement[]} */ ([...typing.querySelectorAll('button')])]) control.disabled = !live;
  screen.hidden = !navigator.mediaDevices?.getDisplayMedia;
}

async function begin() {
  wanted = true;
  show('connecting', 'Connecting');
  talk.replaceChildren();
  lanes.reset();
  sound = new Sound();
  await sound.open();
  deaf = await sound.listen(heard).then(() => false, () => true);
  await join();
}

/** Connect, and go on trying until it works or is no longer wanted. */
async function join() {
  for (let tries = 0; wanted && sound; tries++) {
    try {
      const stream = (/** @type {MediaStream} */ stream) => sound?.playStream(stream, (slice) => lanes.sound('model', now(), peakOf(slice)));
      const on = { event: happen, stream, lost };
      wire = await (conversation ? resume(conversation, until, on) : connect(sound.microphone, on, query.get('transport') !== 'websocket'));
      if (!wanted) return wire.close();
      element('delay', HTMLElement).textContent = wire.transport === 'WebRTC' ? 'round trip' : 'answer';
      if (wire.transport === 'WebSocket') sound.playPieces(({ peak, depthMs, targetMs, underruns: all }) => {
        waiting = depthMs;
        lanes.sound('model', now(), peak);
        buffer.textContent = `${Math.round(targetMs)} ms`;
        seen.underruns += all - underruns;
        underruns = all;
      });
      climb(RUNGS[(ladder = new Ladder()).rung]);
      return;
    } catch (error) {
      if (error instanceof Denied) return end(error.message);
      if (error instanceof Refused && (error.code !== 'session_connected' || tries > 4)) conversation = '';
      const wait = error instanceof Busy ? error.retryS : RETRY_S[Math.min(tries, RETRY_S.length - 1)];
      show('reconnecting', error instanceof Busy ? error.message : 'No connection. Trying again.');
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
      [film.canvas.height, film.canvas.width] = event.session.frame_size;
      if (event.session.id !== conversation) {
        until = 0;
        lanes.reset();
      }
      conversation = event.session.id;
      origin = performance.now() - until; // while nobody was connected its time stood still
      [unsent, inFlight, underruns, decided] = [[], [], 0, 'listen'];
      break;
    case 'session.tick':
      return beat(event);
    case 'session.output_audio.delta':
      return void (sounding = fromBase64(event.delta));
    case 'session.input_transcript.delta':
      return say('you', event.delta, event.start_ms);
    case 'session.output_transcript.delta':
      return say('model', event.delta, event.start_ms);
    case 'session.delegation.created':
      return void card(event.delegation.id, event.delegation.target === 'client' ? 'Handed to the application' : 'Working on it');
    case 'response.event':
      return report(event.delegation_id, event.event);
    case 'session.closed':
      return event.reason === 'connection_lost' ? undefined : void (wanted && end('The conversation has ended.'));
    case 'error':
      if (wire) status.textContent = event.error.message;
  }
}

/** @param {LiveEvent} event */
function beat({ tick, decision, missed }) {
  lanes.tick({ number: tick, decision, missed });
  origin = Math.min(origin, performance.now() - (tick + 1) * TICK_MS) + 0.02; // the fastest event sets it; clocks drift
  until = (tick + 1) * TICK_MS;
  const went = missed ? undefined : inFlight.shift();
  if (went) latency.textContent = `${Math.round(performance.now() - went)} ms`;
  sound?.play({ drop: decided === 'speak' && decision === 'listen', samples: sounding });
  decided = decision;
  seen.ticks++;
  if (missed) seen.missed++;
}

/** @param {Who} who  @param {string} piece  @param {number} ms */
function say(who, piece, ms) {
  lanes.word({ who, ms, text: piece });
  let line = /** @type {HTMLLIElement | undefined} */ ([...talk.children].findLast((item) => item.classList.contains(who)));
  const long = (line?.textContent ?? '').length > LINE && piece.startsWith(' ');
  const fresh = long || ms - Number(line?.dataset.until ?? -Infinity) > UTTERANCE_GAP_MS;
  if (!line || fresh) {
    line = document.createElement('li');
    line.className = who;
    line.dataset.who = who === 'you' ? 'you' : 'it';
    if (talk.lastElementChild?.classList.contains(who)) line.classList.add('same');
    if (who === 'model') talk.querySelector('.latest')?.classList.remove('latest');
    if (who === 'model') line.classList.add('latest');
    talk.append(line);
    if (talk.children.length > 60) talk.firstElementChild?.remove();
  }
  line.textContent = fresh ? piece.trim() : line.textContent + piece;
  line.dataset.until = String(ms);
  talk.scrollTop = talk.scrollHeight;
}

/** @param {string} id  @param {string} title */
function card(id, title) {
  work.hidden = false;
  let found = /** @type {HTMLElement | null} */ (work.querySelector(`[data-id="${CSS.escape(id)}"]`));
  if (!found) {
    found = document.createElement('article');
    found.className = 'card';
    found.dataset.id = id;
    found.append(document.createElement('b'), document.createElement('p'));
    work.querySelector('h3')?.after(found);
  }
  /** @type {HTMLElement} */ (found.firstChild).textContent = title;
  return found;
}

/** A piece of the background model's answer. @param {string | undefined} id  @param {LiveEvent} event */
function report(id, event) {
  if (!id) return;
  if (event.type === 'response.output_text.delta') /** @type {HTMLElement} */ (card(id, 'Working on it').lastChild).textContent += event.delta;
  if (event.type === 'response.completed') card(id, 'Done').classList.add('done');
  if (event.type === 'response.failed') card(id, 'Did not work');
}

// ---- what goes ----

/** 20 ms from the microphone. @param {Float32Array} slice */
function heard(slice) {
  if (!wire) return;
  lanes.sound('you', now(), muted ? 0 : peakOf(slice));
  unsent.push(slice);
  if (unsent.length * 20 < TICK_MS) return;
  if (wire.transport === 'WebSocket' && rung.sound) {
    wire.send({ type: 'session.input_audio.append', audio: toBase64(unsent) });
    inFlight = [...inFlight.slice(-5), performance.now()];
  }
  unsent = [];
  if (film.source) picture();
}

async function picture() {
  if (!rung.video || (rung.everyTicks > 1 && Math.floor(now() / TICK_MS) % rung.everyTicks)) return;
  const image = wire?.picture ? void film.draw(1) : await film.jpeg(rung.video);
  if (image) wire?.send({ type: 'session.input_video.append', image, format: 'jpeg' });
}

/** @param {string} typed */
function type(typed) {
  if (!typed.trim() || !wire) return;
  wire.send({ type: 'session.input_text.append', text: typed });
  say('you', ` “${typed}”`, now() + 2 * UTTERANCE_GAP_MS);
}

// ---- the line ----

/** Once a second. */
async function look() {
  if (!wire) return;
  const line = await wire.line();
  if (!wire) return;
  if (line.rttMs) latency.textContent = `${Math.round(line.rttMs)} ms`;
  wire.send({ type: 'session.playback.ack', end_ms: Math.max(0, Math.round(until - (line.bufferMs || waiting))) });
  if (line.bufferMs) buffer.textContent = `${Math.round(line.bufferMs)} ms`;
  const missed = seen.ticks ? seen.missed / seen.ticks : 1;
  loss.textContent = `${(100 * Math.max(line.loss, rung.sound && !deaf ? missed : 0)).toFixed(0)} %`;
  const next = ladder.look({ ...line, missed: rung.sound && !deaf ? missed : 0, underruns: seen.underruns }, film.source !== undefined);
  seen = { ticks: 0, missed: 0, underruns: 0 };
  if (next !== rung) climb(next);
}

/** @param {typeof rung} next */
function climb(next) {
  rung = next;
  const fine = deaf ? 'Connected without a microphone: type to it.' : `Connected over ${wire?.transport}`;
  if (wire) show(rung.says ? 'weak' : 'live', rung.says || fine);
  wire?.picture?.(film.track ?? null, rung.video, rung.everyTicks);
  wire?.microphone?.(rung.sound ? (sound?.microphone?.getAudioTracks()[0] ?? null) : null);
  wire?.buffer?.(rung.bufferTicks > 1 ? rung.bufferTicks * TICK_MS : 0);
  sound?.play({ least: rung.bufferTicks });
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
    status.textContent = `The ${source} was not allowed.`;
    return;
  }
  figure.hidden = false;
  (source === 'camera' ? camera : screen).ariaPressed = 'true';
  climb(rung);
}

function closeFilm() {
  film.close();
  figure.hidden = true;
  camera.ariaPressed = screen.ariaPressed = 'false';
  wire?.picture?.(null, 0, 0);
}

start.onclick = () => (wanted ? end('Not connected') : begin());
camera.onclick = () => toggleFilm('camera');
screen.onclick = () => toggleFilm('screen');
mute.onclick = () => {
  muted = !muted;
  mute.ariaPressed = String(muted);
  wire?.send({ type: muted ? 'session.input_audio.mute' : 'session.input_audio.unmute' });
};
typing.onsubmit = (event) => {
  event.preventDefault();
  type(text.value);
  text.value = '';
};
for (const chip of document.querySelectorAll('.chip')) chip.addEventListener('click', () => type(chip.textContent ?? ''));
theme.onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === 'dark' || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = localStorage.theme = dark ? 'light' : 'dark';
  lanes.restyle();
};
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => lanes.restyle());
/** @type {Record<string, HTMLElement>} */
const KEYS = { m: mute, v: camera, s: screen };
document.addEventListener('keydown', (event) => {
  if (event.target === text) return void (event.key === 'Escape' && text.blur());
  if (event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === '/') event.preventDefault(), text.focus();
  KEYS[event.key]?.click();
});

if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
lanes.restyle();
show('idle', 'Not connected');
setInterval(look, 1000);
const calm = matchMedia('(prefers-reduced-motion: reduce)');
let drawn = 0;
requestAnimationFrame(function frame(at) {
  if (wire && (!calm.matches || at - drawn > TICK_MS)) {
    lanes.draw(now());
    drawn = at;
  }
  requestAnimationFrame(frame);
});
