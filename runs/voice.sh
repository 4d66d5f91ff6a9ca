#!/usr/bin/env bash
# From nothing to a voice: a teacher's speech, vocoder, speech head, one voice file, weights that speak.
# Stop and start it as you like: every part goes on where it stopped. Times are of training on one CPU core.
#
#   runs/voice.sh                            the built-in teacher
#   RECORDINGS=folder NAME=anna runs/voice.sh    somebody's sound files beside a transcripts.jsonl
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=${NAME:-heart}
HOURS=${HOURS:-6}                  # of the teacher's speech
MODEL=${MODEL:-nano}               # whose mouth it will be
OUT=${OUT:-runs/out/voice-$NAME}
BANK=${BANK:-$OUT/bank}
export OMP_NUM_THREADS=${THREADS:-1}
mouth() { .venv/bin/python -m microturn.train.mouth "$@" --threads "$OMP_NUM_THREADS"; }

make voices
mouth lexicon
if [ -n "${RECORDINGS:-}" ]; then
  mouth bank --bank "$BANK" --name "$NAME" --folder "$RECORDINGS"
else
  mouth bank --bank "$BANK" --name "$NAME" --minutes "$((HOURS * 60))"
fi
mouth minds --bank "$BANK" --model "$MODEL"
mouth vocoder --bank "$BANK" --model "$MODEL" --out "$OUT/vocoder" --minutes "${VOCODER_MINUTES:-80}"
mouth head --bank "$BANK" --model "$MODEL" --out "$OUT/head" --minutes "${HEAD_MINUTES:-80}"
VOCODER=$OUT/vocoder
if [ "${TUNE_MINUTES:-0}" -gt 0 ]; then
  # the vocoder once more, on what the head makes: a copy, so that both can be compared
  [ -d "$OUT/vocoder-own" ] || cp -r "$OUT/vocoder" "$OUT/vocoder-own"
  VOCODER=$OUT/vocoder-own
  mouth vocoder --bank "$BANK" --model "$MODEL" --out "$VOCODER" --head "$OUT/head" \
    --minutes "$((${VOCODER_MINUTES:-80} + TUNE_MINUTES))"
fi
mouth voice --model "$MODEL" --name "$NAME" --vocoder "$VOCODER" --head "$OUT/head" \
  --flow-steps "${FLOW_STEPS:-0}" --out "$OUT/$NAME.voice"
mouth join --model "$MODEL" --voice "$OUT/$NAME.voice" --out "$OUT/weights" --packed

.venv/bin/microturn say "Hello. At 7:30 PM it was 20°C, and we had \$12.50 left." "$OUT/hello.wav" --model "$OUT/weights"
mouth look --bank "$BANK" --model "$MODEL" --voice "$OUT/$NAME.voice" --vocoder "$VOCODER" --head "$OUT/head" \
  --out "$OUT/pictures"
.venv/bin/microturn bench speech --n 300 --model "$OUT/weights" --json "$OUT/speech.json"
