/** The camera or the screen, and a picture of exactly what the model is shown: letterboxed to its frame, one a tick. */

import { stop } from './sound.js';

/** @typedef {'camera' | 'screen'} Source */

export class Film {
  /** @type {MediaStream | undefined} */ stream;
  /** @type {Source | undefined} */ source;
  video = document.createElement('video');
  asked = 0; // for a film, or for none

  /** @param {HTMLCanvasElement} canvas  where what is sent is shown */
  constructor(canvas) {
    this.canvas = canvas;
    this.video.muted = true;
  }

  /** @param {Source} source  @param {() => void} onend the user ended it outside of the page */
  async open(source, onend) {
    this.close();
    const asked = this.asked;
    const stream =
      source === 'camera'
        ? await navigator.mediaDevices.getUserMedia({ video: { width: 320, frameRate: 10, facingMode: 'user' } })
        : await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 5 } });
    if (asked !== this.asked) {
      stop(stream); // it is no longer wanted
      throw new Error('closed');
    }
    this.stream = stream;
    this.source = source;
    this.stream.getVideoTracks()[0].addEventListener('ended', onend);
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  get track() {
    return this.stream?.getVideoTracks()[0];
  }

  /** Draw the present picture, `share` of the frame's size. @param {number} share */
  draw(share) {
    const { canvas, video } = this;
    if (!video.videoWidth) return;
    const small = document.createElement('canvas');
    small.width = canvas.width * share;
    small.height = canvas.height * share;
    const scale = Math.min(small.width / video.videoWidth, small.height / video.videoHeight);
    const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
    const context = /** @type {CanvasRenderingContext2D} */ (small.getContext('2d'));
    context.fillRect(0, 0, small.width, small.height);
    context.drawImage(video, (small.width - width) / 2, (small.height - height) / 2, width, height);
    const shown = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    shown.imageSmoothingEnabled = false;
    shown.drawImage(small, 0, 0, canvas.width, canvas.height);
    return small;
  }

  close() {
    this.asked++;
    if (this.stream) stop(this.stream);
    this.stream = this.source = undefined;
    this.video.srcObject = null;
  }
}
