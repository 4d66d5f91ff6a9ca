"""The words that scenes are about: everyday, concrete, easy to say, in classes that sentences can ask for.

Every word trains. What a test holds back is how rules are worded and which *pairs* of words a rule joins:
`is_reserved` divides the pairs by a hash, so that a rule in a test is one that training never stated.
"""

# ruff: noqa: SIM905 — word lists read better as running text

from __future__ import annotations

import random
import zlib

ANIMALS = tuple(
    """dog cat horse cow pig sheep goat duck goose chicken rabbit mouse hamster turtle snake lizard frog toad
    fish shark whale dolphin seal penguin eagle owl parrot pigeon sparrow crow robin swan fox wolf bear
    tiger lion zebra giraffe elephant monkey gorilla kangaroo koala panda camel donkey deer moose
    squirrel hedgehog otter badger bat spider ant bee butterfly beetle worm snail crab lobster
    octopus""".split()
)
FOODS = tuple(
    """apple banana pear peach plum cherry lemon lime mango melon grape strawberry raspberry coconut pineapple
    tomato potato carrot onion garlic pepper cabbage lettuce spinach pumpkin cucumber mushroom corn rice
    pasta bread toast butter cheese egg bacon sausage ham chicken salmon pizza burger sandwich salad
    soup noodle pancake waffle muffin cookie cake pie chocolate candy honey jam sugar salt popcorn
    cereal yogurt pudding biscuit""".split()
)
DRINKS = tuple("water coffee tea milk juice lemonade cocoa soda wine beer cider smoothie".split())
COLOURS = tuple("red blue green yellow orange purple pink brown black white gray gold silver violet".split())
OBJECTS = tuple(
    """table chair sofa lamp mirror clock carpet pillow blanket curtain door window key lock bottle cup mug
    plate bowl spoon fork knife kettle oven fridge toaster bucket broom towel soap brush comb pencil pen
    notebook book magazine newspaper letter stamp envelope ruler scissors hammer ladder rope wheel
    bicycle car truck bus train boat airplane rocket camera phone computer keyboard radio television
    guitar piano violin drum trumpet whistle balloon kite puzzle doll ball bat basket box suitcase
    backpack umbrella wallet ticket coin candle lantern battery magnet telescope shovel tent compass map
    flag trophy medal""".split()
)
CLOTHES = tuple(
    "shirt jacket sweater coat dress skirt hat scarf glove sock shoe boot belt necklace ring watch".split()
)
PLACES = tuple(
    """kitchen garden garage bathroom bedroom attic basement office school library museum hospital bakery
    market station airport park beach forest river lake mountain island village city castle church
    theater restaurant farm bridge harbor desert stadium""".split()
)
NAMES = tuple(
    """anna peter maria david laura thomas emma james sarah daniel lucy martin sophie oscar julia victor helen
    robert alice henry clara simon nina george paula leo kate arthur diana frank rosa walter""".split()
)
JOBS = tuple("teacher doctor nurse farmer baker driver painter singer dentist plumber pilot sailor".split())
NATURE = tuple(
    """sun moon star cloud rain snow storm thunder wind fog rainbow tree leaf flower rose tulip grass stone
    sand mud fire ice wave shell feather""".split()
)
VERBS = tuple(
    """run jump swim dance sing cook read write paint draw climb walk sleep laugh whisper shout drive travel
    study work play clean fish garden knit sew bake rest""".split()
)
ADJECTIVES = tuple(
    """big small old new heavy light soft loud quiet bright dark clean dirty cheap expensive broken empty
    funny strange lovely tiny huge warm cold wet dry round shiny""".split()
)
DIGITS = tuple("zero one two three four five six seven eight nine".split())
_TEENS = tuple("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split())
TENS = tuple("twenty thirty forty fifty sixty seventy eighty ninety".split())
NUMBERS = DIGITS[2:] + _TEENS[:11]

CLASSES: dict[str, tuple[str, ...]] = {
    "animal": ANIMALS,
    "food": FOODS,
    "drink": DRINKS,
    "colour": COLOURS,
    "object": OBJECTS,
    "clothes": CLOTHES,
    "place": PLACES,
    "name": NAMES,
    "job": JOBS,
    "nature": NATURE,
    "verb": VERBS,
    "adjective": ADJECTIVES,
    "number": NUMBERS,
}
ALL = tuple(sorted({word for words in CLASSES.values() for word in words}))
DAYS = tuple("monday tuesday wednesday thursday friday saturday sunday".split())
MONTHS = tuple(
    "january february march april may june july august september october november december".split()
)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")

# what the model may answer to a cue beside a single word
REPLIES = (
    "good job",
    "well done",
    "thank you",
    "oh no",
    "hello there",
    "of course",
    "not again",
    "yes sir",
    "no way",
    "very nice",
    "go on",
    "bless you",
    "good morning",
    "good night",
    "ding dong",
    "tick tock",
    "bravo",
    "hooray",
    "yes",
    "no",
    "maybe",
    "never",
    "always",
    "ouch",
    "wow",
    "beep",
    "boom",
    "hello",
    "stop",
    "go",
    "bingo",
    "perfect",
)
# what a user may ask to be reminded of: "remind me to …", and the model says just that
TASKS = (
    "breathe",
    "blink",
    "stretch",
    "smile",
    "relax",
    "sit up straight",
    "stand up",
    "drink water",
    "drink some tea",
    "look up",
    "look away",
    "take a break",
    "take my pills",
    "check the oven",
    "stir the soup",
    "turn the page",
    "push harder",
    "slow down",
    "keep going",
    "switch sides",
    "lift my head",
    "drop my shoulders",
    "wash my hands",
    "lock the door",
    "feed the cat",
    "walk the dog",
    "water the flowers",
    "call my mother",
    "pay the rent",
    "wake up",
)


def number(n: int) -> str:
    """0 … 999 in words."""
    if n < 10:
        return DIGITS[n]
    if n < 20:
        return _TEENS[n - 10]
    if n < 100:
        return TENS[n // 10 - 2] + ("" if n % 10 == 0 else " " + DIGITS[n % 10])
    return f"{DIGITS[n // 100]} hundred" + ("" if n % 100 == 0 else " " + number(n % 100))


def classes_of(word: str) -> tuple[str, ...]:
    return tuple(name for name, words in CLASSES.items() if word in words)


def is_reserved(first: str, second: str) -> bool:
    """Whether a rule that joins these two appears in tests only: one pair in eight."""
    return zlib.crc32(f"{first}→{second}".encode()) % 8 == 0


def same_sound(a: str, b: str) -> bool:
    """Whether one could be taken for a form of the other ("egg", "eggs"), so that neither can distract."""
    return a.startswith(b[:4]) or b.startswith(a[:4]) or a.endswith(b) or b.endswith(a)


def pair(rng: random.Random, split: str, avoid: tuple[str, ...] = ()) -> tuple[str, str]:
    """A cue and what to answer to it, the pair belonging to `split`."""
    while True:
        cue = rng.choice(ALL)
        reply = rng.choice(ALL) if rng.random() < 0.8 else rng.choice(REPLIES)
        clash = any(same_sound(cue, word) or same_sound(reply, word) for word in avoid)
        if not clash and not same_sound(cue, reply) and is_reserved(cue, reply) == (split == "test"):
            return cue, reply


def near(rng: random.Random, word: str, avoid: tuple[str, ...] = ()) -> str:
    """Another word that sounds a little like `word`: the likeliest of a handful."""
    choices = [w for w in rng.sample(ALL, 40) if not any(same_sound(w, a) for a in (word, *avoid))]
    return max(choices, key=lambda w: (_likeness(w, word), w))


def _likeness(a: str, b: str) -> int:
    """Shared first and last letters and vowels: a rough ear, enough to choose distractors."""
    head = sum(x == y for x, y in zip(a, b, strict=False))
    tail = sum(x == y for x, y in zip(reversed(a), reversed(b), strict=False))
    return head + tail - abs(len(a) - len(b))
