/**
 * What is given up when the line is bad, one rung at a time, and when it is taken back. Pure: one look a second.
 */

/** @typedef {{ rttMs: number, loss: number, missed: number, underruns: number, unsentMs: number }} Health
 *  loss and missed (ticks in which nothing came) are shares; underruns are those of the last second */

/** @typedef {{ says: string, video: number, everyTicks: number, bufferTicks: number, sound: boolean }} Rung
 *  video: size against the model's frame; 0 is none */

/** @type {readonly Rung[]} */
export const RUNGS = [
  { says: '', video: 1, everyTicks: 1, bufferTicks: 1, sound: true },
  { says: 'The connection is slow: smaller pictures.', video: 0.5, everyTicks: 5, bufferTicks: 1, sound: true },
  { says: 'The connection is slow: no pictures.', video: 0, everyTicks: 0, bufferTicks: 1, sound: true },
  { says: 'The connection is unsteady: sound comes a little later.', video: 0, everyTicks: 0, bufferTicks: 3, sound: true },
  { says: 'The connection is too weak for sound: text only. Type to go on.', video: 0, everyTicks: 0, bufferTicks: 3, sound: false },
];

const BAD_S = 2;
const GOOD_S = 6;
const MOST_GOOD_S = 60;

/** @param {Health} health */
export const isBad = ({ rttMs, loss, missed, underruns, unsentMs }) =>
  rttMs > 600 || loss > 0.05 || missed > 0.1 || underruns > 1 || unsentMs > 600;

export class Ladder {
  rung = 0;
  bad = 0; // seconds in a row
  good = 0;
  patience = GOOD_S; // good seconds before a rung is climbed; doubles after a climb that did not hold
  climbed = false; // the last move was up

  /** One second has passed. Without pictures their rungs are skipped. @param {Health} health @param {boolean} pictures */
  look(health, pictures) {
    if (isBad(health)) {
      this.good = 0;
      if (++this.bad >= BAD_S && this.rung < RUNGS.length - 1) this.move(this.rung < 2 && !pictures ? 3 : this.rung + 1);
    } else {
      this.bad = 0;
      if (++this.good >= this.patience && this.rung > 0) this.move(this.rung === 3 && !pictures ? 0 : this.rung - 1);
      if (this.rung === 0 && this.good >= MOST_GOOD_S) this.patience = GOOD_S;
    }
    return RUNGS[this.rung];
  }

  /** @param {number} rung */
  move(rung) {
    const down = rung > this.rung;
    if (down && this.climbed) this.patience = Math.min(MOST_GOOD_S, this.patience * 2);
    this.climbed = !down;
    this.bad = this.good = 0;
    this.rung = rung;
  }
}
