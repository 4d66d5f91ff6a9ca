#!/usr/bin/env bash
# Bank, training and release on two CPU cores, given the recordings that docs/data.md describes: hours for the bank, minutes of training as in ears.json, eyes.json and nano.json.
# Stop and start it as you like: the bank and the run go on where they stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -d "${MICROTURN_DATA:-../shared/data}/read" ]; then
	echo "this needs recordings: set MICROTURN_DATA to the folder that docs/data.md describes" >&2
	exit 2
fi
make bank
.venv/bin/microturn train runs/ears.json --out runs/out/ears
.venv/bin/microturn train runs/eyes.json --out runs/out/eyes
.venv/bin/microturn train runs/nano.json --out runs/out/nano
.venv/bin/microturn bench all --n 100 --model runs/out/nano/weights --json runs/out/nano/scores.json
.venv/bin/python -m microturn.train.release runs/out/nano
