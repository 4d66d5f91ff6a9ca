/** What was said, as lines of text: the model's last words large. And work in the background, as cards. */

/** @import { Who } from './lanes.js' */
/** @import { LiveEvent } from './live.js' */

const GAP_MS = 1200; // of silence, after which words begin a new line; only the page's lines are made by it
const LETTERS = 90; // after which they do as well
const LINES = 60; // kept
const CARDS = 8;
const TOLD = 512; // more than a server tells again
export const WORKING = 'Working on it';
export const TAKEN_BACK = 'Taken back';

export class Talk {
  /** @type {Partial<Record<Who, { item: HTMLElement, ms: number }>>} the line that each of the two is in */
  lines = {};
  told = new Set(); // ids of events about work: after a lost connection the last ones are told again

  /** @param {HTMLElement} list  @param {HTMLElement} work */
  constructor(list, work) {
    this.list = list;
    this.work = work;
  }

  clear() {
    this.list.replaceChildren();
    for (const card of this.work.querySelectorAll('.card')) card.remove();
    this.work.hidden = true;
    this.lines = {};
  }

  /** A piece of what was said at `ms`. @param {Who} who  @param {string} piece  @param {number} ms */
  say(who, piece, ms) {
    let line = this.lines[who];
    const length = line?.item.textContent?.length ?? 0;
    if (!line || ms - line.ms > GAP_MS || (length > LETTERS && piece.startsWith(' '))) line = { item: this.begin(who), ms };
    line.item.textContent = `${line.item.textContent}${piece}`.trimStart();
    line.ms = ms;
    this.lines[who] = line;
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** @param {string} text */
  typed(text) {
    this.begin('you').textContent = `“${text}”`;
    delete this.lines.you;
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** @param {Who} who */
  begin(who) {
    const item = document.createElement('li');
    item.className = who;
    item.dataset.who = who === 'you' ? 'you' : 'it';
    if (this.list.lastElementChild?.classList.contains(who)) item.classList.add('same');
    if (who === 'model') {
      this.list.querySelector('.latest')?.classList.remove('latest');
      item.classList.add('latest');
    }
    this.list.append(item);
    if (this.list.children.length > LINES) this.list.firstElementChild?.remove();
    return item;
  }

  /** Whether an event about work is told for the first time. @param {string} id */
  fresh(id) {
    if (this.told.has(id)) return false;
    if (this.told.add(id).size > TOLD) this.told.delete(this.told.values().next().value);
    return true;
  }

  /** @param {string} id of a delegation  @param {string} title */
  card(id, title) {
    this.work.hidden = false;
    let card = this.work.querySelector(`[data-id="${CSS.escape(id)}"]`);
    if (!card) {
      card = document.createElement('article');
      card.className = 'card';
      card.setAttribute('data-id', id);
      card.append(document.createElement('b'), document.createElement('p'));
      this.work.querySelector('h3')?.after(card);
      if (this.work.children.length > CARDS) this.work.lastElementChild?.remove();
    }
    card.children[0].textContent = title;
    return card;
  }

  /** What is given to whoever works on it, beneath its card. @param {string} id  @param {LiveEvent} event */
  given(id, { text, omitted, audio_ms, frames }) {
    const card = this.work.querySelector(`[data-id="${CSS.escape(id)}"]`);
    if (!card) return; // one of long ago
    const [details, summary, amounts, lines] = ['details', 'summary', 'p', 'pre'].map((tag) => document.createElement(tag));
    details.ariaLive = 'off'; // nobody wants a whole conversation read out
    summary.textContent = 'What was handed over';
    amounts.textContent = `Sound: ${Math.round(audio_ms / 1000)} s. Pictures: ${frames}. Older texts left out: ${omitted}.`;
    lines.textContent = text;
    lines.tabIndex = 0; // so that keys scroll it
    lines.role = 'region';
    lines.ariaLabel = summary.textContent;
    details.append(summary, amounts, lines);
    card.querySelector('details')?.remove();
    card.append(details);
  }

  /** A piece of what the background model sends. @param {string} id  @param {LiveEvent} event */
  report(id, event) {
    if (event.type === 'response.output_text.delta') this.card(id, WORKING).children[1].append(event.delta);
    if (event.type === 'response.completed') this.card(id, 'Done').classList.add('done');
    if (event.type === 'response.failed') this.card(id, 'Did not work');
    if (event.type === 'response.incomplete') this.card(id, TAKEN_BACK);
  }
}
