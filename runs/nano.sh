#!/usr/bin/env bash
# From an empty disk to released weights, on two CPU cores: hours for the bank, minutes of training as in ears.json, eyes.json and nano.json.
# Stop and start it as you like: the bank and the run go on where they stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

make bank
.venv/bin/microturn train runs/ears.json --out runs/out/ears
.venv/bin/microturn train runs/eyes.json --out runs/out/eyes
.venv/bin/microturn train runs/nano.json --out runs/out/nano
.venv/bin/microturn bench all --n 100 --model runs/out/nano/weights --json runs/out/nano/scores.json
.venv/bin/python -m microturn.train.release runs/out/nano
