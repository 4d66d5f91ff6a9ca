"""`python -m microturn.train.mouth PART`: teach the model to speak, one part after the other (runs/voice.sh).

    bank     the teacher's speech, or with --folder somebody's recordings → a voice bank
    minds    what goes on in the backbone while it says the bank's utterances, laid beside them
    lexicon  how the teacher pronounces each word that it knows → model/lexicon.json.gz
    vocoder  learns to make sound of frames; with --head, also of that head's frames
    head     learns durations and frames
    distil   the flow of a head learns to reach in one step what it reached in four
    paces    how long it takes for the words of scenes → scenes/paces.json
    voice    vocoder and head → one voice file
    join     a voice file and weights → weights that speak
    look     spectrograms of the teacher, the vocoder and the model, the curves of both runs, and samples to listen to

Everything goes on where it stopped; --minutes counts over all resumptions.
"""

import argparse
import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from microturn.model import phonemes, voicefile
from microturn.model.checkpoint import RELEASED, network_of
from microturn.model.phonemes import SYMBOLS, from_ipa
from microturn.model.speech import SpeechHead
from microturn.train.mouth import course, head, minds, paces, sentences, sound

SAMPLES = (
    "Hello! You can stop me whenever you like.",
    "It is seven thirty, and the train to Copenhagen leaves at ten past eight.",
    "One, two, three, four, five. Mm-hm. That will be twelve dollars and fifty cents.",
)
WEAK = {"a": "ɐ", "the": "ðə", "to": "tə"}  # as they are said inside a sentence


def bank(args: argparse.Namespace) -> None:
    from microturn.train.mouth import teacher
    from microturn.train.mouth.bank import Builder

    if args.folder:
        teacher.own(Builder(args.bank, args.name), args.folder, args.phones)
        return
    builder = Builder(args.bank, f"{args.name}-{args.worker}", args.worker * 10_000_000)
    teacher.fill(builder, sentences.numbered(builder.number), args.minutes)


def lexicon(args: argparse.Namespace) -> None:
    from microturn.train.mouth import teacher

    known = {
        word: " ".join(SYMBOLS[i] for i in from_ipa(sounds))
        for word, sounds in sorted((teacher.lexicon() | WEAK).items())
    }
    ours = phonemes.Lexicon(known)
    for word in sentences.names():  # the teacher's own guess is what the head has heard
        if not ours.knows(word):
            known[word] = " ".join(SYMBOLS[i] for i in from_ipa(teacher.pronounced(word)))
    phonemes.LEXICON.write_bytes(gzip.compress(json.dumps(known).encode(), 9, mtime=0))
    print(f"{len(known)} words, {phonemes.LEXICON.stat().st_size / 1e6:.1f} MB")


def part_head(args: argparse.Namespace) -> tuple[SpeechHead, int]:
    """An untaught mouth of the model's widths, with what --head and --vocoder hold in it."""
    network, _ = network_of(args.model)
    made = network.voice
    if args.vocoder:
        made.vocoder.load_state_dict(course.part_of(args.vocoder, "vocoder"))
    if args.head:
        missing = made.load_state_dict(course.part_of(args.head, "head"), strict=False)
        assert not missing.unexpected_keys
    return made, network.c.d_model


def pictures(args: argparse.Namespace, mouth: SpeechHead) -> None:
    """Of the longest utterance among the first ones."""
    from microturn.engine import Engine
    from microturn.say import Reader, read_aloud, sound_of
    from microturn.train.mouth import look
    from microturn.train.mouth.bank import VoiceBank

    held = VoiceBank(args.bank)
    u = max((held[i] for i in range(min(40, len(held)))), key=lambda one: one.seconds)
    reader = Reader(args.model, voicefile.read_voice(args.voice))
    engine = Engine(reader, slots=1)
    args.out.mkdir(parents=True, exist_ok=True)
    own = sound_of(read_aloud(reader, engine, u.text))
    for number, text in enumerate(SAMPLES):
        look.opus(
            args.out / f"{reader.spec.voices[0]}-{number}.opus", sound_of(read_aloud(reader, engine, text))
        )
    engine.close()
    teacher = (u.samples / 32768).astype("float32")
    named = {"teacher: " + u.text: teacher, "vocoder": look.vocoded(mouth.vocoder, u), "model": own}
    look.spectrograms(named).save(args.out / "voice.png")
    for run in (args.vocoder, args.head):
        look.curves(run).save(args.out / f"curves-{run.name}.png")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="microturn.train.mouth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "part",
        choices=("bank", "minds", "lexicon", "vocoder", "head", "distil", "paces", "voice", "join", "look"),
    )
    parser.add_argument("--bank", type=Path, default=Path("voicebank"))
    parser.add_argument("--out", type=Path, help="the run folder, voice file or weights to make")
    parser.add_argument("--minutes", type=float, default=60.0, help="of speech to make, or of training")
    parser.add_argument("--model", default=RELEASED, help="weights whose mouth this is")
    parser.add_argument("--name", default="heart", help="of the voice")
    parser.add_argument("--worker", type=int, default=0, help="bank: builders side by side")
    parser.add_argument("--folder", type=Path, help="bank: recordings beside a transcripts.jsonl")
    parser.add_argument(
        "--phones", type=Path, default=Path("bank/phones.pt"), help="bank --folder: times phones"
    )
    parser.add_argument("--vocoder", type=Path, help="voice, vocoder: the vocoder's run folder to take")
    parser.add_argument("--head", type=Path, help="voice, vocoder: the head's run folder to take")
    parser.add_argument("--voice", type=Path, help="join, look: the voice file")
    parser.add_argument(
        "--packed", action="store_true", help="join: a byte a number, as released weights are"
    )
    parser.add_argument("--device", default="cpu", help="vocoder, head: where they learn")
    parser.add_argument("--flow-steps", type=int, help="voice, vocoder: of the flow; 0 is the average alone")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.part not in ("bank", "minds", "lexicon", "paces") and args.out is None:
        parser.error(f"{args.part} needs --out")
    if args.part in ("join", "look") and args.voice is None:
        parser.error(f"{args.part} needs --voice")
    if args.part == "bank":
        bank(args)
    elif args.part == "lexicon":
        lexicon(args)
    elif args.part == "minds":
        minds.think(args.bank, network_of(args.model)[0])
    elif args.part == "paces":
        print(f"{paces.measure(part_head(args)[0].durations)} words")
    elif args.part == "join":
        voicefile.join(args.model, args.voice, args.out, args.packed)
    else:
        mouth, width = part_head(args)
        torch.set_default_device(args.device)
        mouth.to(args.device)
        if args.flow_steps is not None:
            mouth.config = replace(mouth.config, flow_steps=args.flow_steps)
        if args.part == "distil":
            head.distil(args.bank, args.out, args.minutes, mouth, width)
        elif args.part == "head":
            head.train(args.bank, args.out, args.minutes, mouth, width)
        elif args.part == "vocoder":
            remake = head.remaker(mouth, width) if args.head else None
            sound.train(args.bank, args.out, args.minutes, mouth.vocoder, remake)
        elif not (args.vocoder and args.head):
            parser.error(f"{args.part} needs --vocoder and --head")
        elif args.part == "look":
            pictures(args, mouth)
        else:
            size = voicefile.write_voice(args.out, args.name, mouth, width, {"teacher": args.name})
            print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
