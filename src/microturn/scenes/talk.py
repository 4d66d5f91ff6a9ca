"""Plain everyday talk: a grammar of statements that ask for nothing, with slots for the words of words.py.

Everything here is something that a person may say near the model without expecting an answer. `sentence`
makes any of them, `sentence_with` one that contains a given word, `story` the clauses of a small tale,
`aside` what people say to somebody else. Slots are named after the classes of words; `{name2}` is a second
one of a class.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from microturn.scenes.wording import fill
from microturn.scenes.words import CLASSES, classes_of

_SLOT = re.compile(r"\{([a-z]+)(\d?)\}")

SENTENCES = (
    # animals
    "there was a {animal} (sitting|sleeping|waiting) in front of the (house|door|shop) this morning",
    "my (sister|brother|cousin|neighbour) has a {animal} and two {animal2} pictures on the wall",
    "i (saw|heard|noticed) a {animal} near the {place} (yesterday|last night|on sunday)",
    "the {animal} ran across the road and nobody saw where it went",
    "(we|they) wanted a {animal} but the flat is too small",
    "the children drew a {adjective} {animal} with a {colour} hat",
    "a {animal} can be really {adjective} when you get close to it",
    "{name} is afraid of every {animal} (in the world|that comes near)",
    "i dreamed about a {animal} that lived in the {place}",
    "that {animal} over there looks (tired|happy|hungry|lost) to me",
    "the book was about a {animal} and its best friend the {animal2}",
    "somebody found a {animal} behind the {place} and called {name}",
    "you don't see a {animal} like that every day",
    # foods
    "we (had|ate|shared) {food} for (lunch|dinner|breakfast) and it was (lovely|too salty|just right)",
    "i put some {food} on the table next to the {object}",
    "{name} (makes|sells|buys) the best {food} in town",
    "there is no {food} left so i'll have {food2} instead",
    "i bought {food} and {food2} at the market",
    "the {food} was so {adjective} that nobody finished it",
    "my (grandmother|father|aunt) never eats {food} after six",
    "a little {food} goes well with {food2} i think",
    "the smell of {food} came out of the kitchen",
    "i would rather have {food} than {food2} any day",
    "she dropped the {food} on the floor and laughed",
    "the shop on the corner sells {food} very cheaply",
    "(today|tonight) we are cooking {food} with {name}",
    # drinks
    "i spilled {drink} all over my {clothes}",
    "a glass of {drink} would be nice (right now|later on)",
    "{name} drinks {drink} every morning before work",
    "the {drink} was already cold when i got there",
    "there is {drink} in the fridge and some {food} too",
    "he ordered {drink} and then changed his mind",
    "they serve {drink} in a {adjective} glass over there",
    "too much {drink} keeps me awake at night",
    "she poured some {drink} into the {colour} cup",
    # colours
    "the {colour} one is (mine|hers|for the guests)",
    "(she|he) painted the {object} {colour} over the weekend",
    "i like the {colour} {clothes} more than the {colour2} one",
    "the walls were {colour} and the ceiling was {colour2}",
    "everything turned {colour} when the sun went down",
    "they were looking for a {colour} {object} all day",
    "my first car was {colour} and very slow",
    "{colour} has always been my favourite colour",
    "the flag is {colour} with a {colour2} stripe in the middle",
    "{name} came in with {colour} paint all over the place",
    "a {colour} light was shining through the window",
    # objects
    "i left the {object} (on the chair|in the car|under the bed) again",
    "the {object} is broken and we need a new one",
    "{name} bought a {adjective} {object} for the {place}",
    "there's a {object} in the hall that belongs to {name}",
    "i can't remember where the {object} came from",
    "we (carried|moved|pushed) the {object} up the stairs (together|this morning)",
    "the {object} and the {object2} were both on sale",
    "my old {object} still works after all these years",
    "somebody put a {object} right next to my {object2}",
    "the {colour} {object} fell down and made a {adjective} noise",
    "he gave me a {object} for my birthday last year",
    "she is looking at the {object} as if it were new",
    "you'll find the {object} behind the {adjective} door",
    "they took the {object} apart to see how it works",
    "i wrapped the {object} in paper and tied it with string",
    # clothes
    "i lost my {clothes} on the way to the {place}",
    "{name} was wearing a {colour} {clothes} at the party",
    "this {clothes} is a bit too {adjective} for me",
    "the {clothes} on the left belongs to my (mother|boss|friend)",
    "he washed his {clothes} and now it is too small",
    "a {adjective} {clothes} is hanging behind the door",
    "my {clothes} got wet in the rain this morning",
    "she sewed a new {clothes} for her little brother",
    "that {clothes} looks good with the {colour} {clothes2}",
    # places
    "we walked (past|around|through) the {place} on our way home",
    "the {place} is closed on mondays and so is the {place2}",
    "there is a {adjective} {place} at the end of the road",
    "{name} works near the {place} now and seems happy",
    "i went to the {place} with {name} the other day",
    "they are building a new {place} next to the {place2}",
    "it takes (ten|twenty) minutes from here to the {place} by bike",
    "the {place} was full of people and nobody was talking",
    "i used to spend hours in the {place} when i was young",
    "you can see the {place} from our window",
    "my uncle found a {object} in the {place} once",
    # names
    "{name} called me (last night|this morning|on the way home)",
    "i'm meeting {name} and {name2} for {drink} later",
    "{name} said the meeting is on friday",
    "i haven't seen {name} since the summer",
    "{name} lives with a {job} in a {adjective} house",
    "it was {name} who brought the {food}",
    "{name} and i are going to the {place} tomorrow",
    "my friend {name} can {verb} better than anyone i know",
    "everyone was waiting for {name} to arrive",
    "i told {name} about the {object} and she laughed",
    "{name} is getting married in {adjective} shoes",
    "we named the {animal} after {name}",
    "{name} moved to another city two years ago",
    # jobs
    "my (uncle|aunt|neighbour) is a {job} and loves it",
    "the {job} was very friendly and gave us {food}",
    "she wants to be a {job} when she grows up",
    "we waited for the {job} almost an hour",
    "a {job} has to get up early in the morning",
    "{name} talked to the {job} about the {object}",
    "the new {job} lives above the {place}",
    "i met a {job} on the train who could {verb}",
    "he was a {job} before he became a {job2}",
    # nature
    "the {nature} was beautiful this morning",
    "we sat and watched the {nature} for an hour",
    "there's a {nature} on the cover of that {object}",
    "you could hear the {nature} all through the night",
    "after the {nature} everything smelled fresh",
    "the children drew a {nature} and a {colour} {nature2}",
    "i found a {nature} in my {clothes} when i came home",
    "it was all {nature} and {nature2} up there",
    "the song is about a {nature} and a lonely {animal}",
    "she took a photo of the {nature} over the {place}",
    # verbs
    "i (love|like|want|used) to {verb} (on weekends|in the evening|when nobody is looking)",
    "(we|they) usually {verb} after dinner",
    "my (brother|daughter|doctor) told me to {verb} more often",
    "you have to {verb} a little every day to get better",
    "{name} can {verb} for hours without a break",
    "nobody wanted to {verb} because of the {nature}",
    "it's too late to {verb} now so i'll go to bed",
    "i learned to {verb} when i was {number}",
    "she would rather {verb} than {verb2}",
    "they let the children {verb} in the {place}",
    "to {verb} in the {place} is not allowed",
    # adjectives
    "it was a {adjective} day and everybody stayed inside",
    "that was a {adjective} idea if you ask me",
    "the house looked {adjective} from the outside",
    "it's getting {adjective} and {adjective2} these days",
    "they live in a {adjective} flat above the {place}",
    "something {adjective} was lying on the {object}",
    "the music was {adjective} and the room was {adjective2}",
    "he has a {adjective} voice and a {adjective2} {animal}",
    "everything in that shop is {adjective} i must say",
    "her {adjective} {clothes} was the first thing i saw",
    # numbers
    "there were {number} people in the {place} (today|yesterday)",
    "i need {number} more minutes to finish this",
    "{name} has {number} cousins and all of them {verb}",
    "the bus leaves at {number} and arrives at {number2}",
    "we counted {number} boxes and one {object}",
    "it costs {number} dollars plus shipping",
    "they won by {number} points in the end",
    "my son turned {number} last week",
    "she read {number} pages and fell asleep",
    "we drove for {number} hours to reach the {place}",
    "{number} of them came back with {adjective} shoes",
    # nothing in particular
    "i think it's going to rain later",
    "i (really|just) don't know what happened there",
    "we had such a (good|long|busy|quiet) week",
    "the traffic was terrible this morning",
    "i'm a bit tired today to be honest",
    "my back hurts from sitting all day",
    "it took me forever to find a parking space",
    "i should really clean up in here",
    "the neighbours are (loud|moving out|on holiday) again",
    "we are going on holiday next month",
    "i forgot my keys at work (again|yesterday)",
    "it's nice to finally sit down for a while",
    "that film was much better than i expected",
    "i've been working on this all afternoon",
    "they changed the schedule without telling anyone",
    "she always says that and then she's late",
    "the weather has been strange lately",
    "i slept (well|badly|late) last night",
    "my phone was almost empty when i got home",
    "we might go out later if there is time",
    "the lift in our building doesn't work",
    "this chair is more comfortable than the other one",
    "i read something about that in the newspaper",
    "he still owes me money from last year",
    "i'm looking forward to the weekend",
    "the kids are playing outside with their friends",
    "well anyway that's how it went",
    "i guess that's just how things are",
    "i was late because the train didn't come",
    "the meeting went on much longer than planned",
    "i have to go to the bank tomorrow morning",
    "there's always something going on in this street",
)

OPENINGS = (
    "so (yesterday|last week|last summer) i went to / the {place}",
    "so when i was {number} years old / my family lived near a {place}",
    "(yesterday|this morning) i was walking to / the {place}",
    "it all started when {name} / called me about a {object}",
    "a while ago my friend {name} / bought a {adjective} {object}",
    "on saturday {name} and i / were sitting in the {place}",
    "last year we had a / {adjective} {animal} at home",
    "you know my neighbour {name} / has a {animal}",
    "there was this {job} who / lived above the {place}",
    "we were on our way to / the {place} with {name}",
)
MIDDLES = (
    "and then i saw a / {adjective} {animal}",
    "and it was holding a / {colour} {object}",
    "so i (picked|took) up the / {object}",
    "but the {object} was / completely broken",
    "and {name} said it was / {adjective}",
    "then we (found|heard) a / {animal} behind the {object}",
    "of course nobody had / a {object} with them",
    "the {animal} just looked at / us and ran away",
    "after that it started to / rain really hard",
    "so we all ran to / the {place}",
    "and the whole floor was / covered with {food}",
    "{name} had left the {food} / on the {object}",
    "i asked the {job} to / help us with it",
    "but the {job} only wanted / some {drink}",
    "everything was {colour} / even the {object}",
    "and we waited there for / {number} hours",
    "then somebody began to / {verb}",
    "i couldn't find my / {clothes} anywhere",
    "there were at least / {number} people watching",
    "at first i thought it was / a {animal}",
    "so i gave {name} the / {object} and some {food}",
    "it smelled like / {food} and {food2}",
    "and my {clothes} was / all wet by then",
    "suddenly the {object} / fell into the water",
    "nobody believed that / it was {name}",
)
ENDINGS = (
    "and in the end we / all went home",
    "and that's why i never / eat {food} anymore",
    "so now the {animal} lives / with {name}",
    "and we still laugh / about it today",
    "in the end {name} paid / for everything",
    "and that was the last time i / saw that {object}",
    "so that's the story of / the {adjective} {object}",
    "and nobody ever talked / about it again",
)

# to somebody else in the room; each names that person, asks for nothing from the model
ASIDES = (
    "{name} dinner is ready",
    "{name} can you close the door please",
    "hey {name} have you seen my {clothes}",
    "{name} your phone is ringing",
    "mom i can't find my {clothes}",
    "dad look at the {animal} over there",
    "{name} i'm going to the {place} now",
    "honey we need more {food}",
    "{name} please take the {object} with you",
    "see you later {name}",
    "{name} there's somebody at the door",
    "thanks {name} that's very kind of you",
    "{name} put the {object} over there please",
    "i'll be right there {name}",
    "{name} do you want some {drink}",
    "{name} the {drink} is on the table",
)
_BY_CLASS = {
    name: tuple(p for p in SENTENCES if any(slot[1] == name for slot in _SLOT.finditer(p)))
    for name in CLASSES
}


def sentence(rng: random.Random, avoid: tuple[str, ...] = ()) -> str:
    """A plain statement; none of the words to avoid is in it."""
    return _clean(rng, SENTENCES, avoid)


def sentence_with(rng: random.Random, word: str, avoid: tuple[str, ...] = ()) -> str:
    """A plain statement in which `word` occurs exactly once."""
    name = rng.choice(classes_of(word))
    while True:
        pattern = rng.choice(_BY_CLASS[name])
        slots = _slots(pattern, rng)
        slots[next(slot for slot in slots if slot.rstrip("2") == name)] = word
        text = fill(pattern, rng, **slots)
        words = text.split()
        if words.count(word) == 1 and not set(avoid) & set(words):
            return text


def sentences(rng: random.Random, avoid: tuple[str, ...] = ()) -> Iterator[str]:
    while True:
        yield sentence(rng, avoid)


def aside(rng: random.Random) -> str:
    return _clean(rng, ASIDES, ())


def story(rng: random.Random) -> Iterator[str]:
    """Clauses of a tale without end, `/` where the teller may hesitate; `story_end` makes the last one."""
    yield _clean(rng, OPENINGS, ())
    while True:
        for pattern in rng.sample(MIDDLES, len(MIDDLES)):
            yield _clean(rng, (pattern,), ())


def story_end(rng: random.Random) -> str:
    return _clean(rng, ENDINGS, ())


def _slots(pattern: str, rng: random.Random) -> dict[str, str]:
    """A word for every slot, no word twice."""
    slots: dict[str, str] = {}
    for slot in _SLOT.finditer(pattern):
        choices = [word for word in CLASSES[slot[1]] if word not in slots.values()]
        slots[slot[1] + slot[2]] = rng.choice(choices)
    return slots


def _clean(rng: random.Random, patterns: tuple[str, ...], avoid: tuple[str, ...]) -> str:
    while True:
        pattern = rng.choice(patterns)
        text = fill(pattern, rng, **_slots(pattern, rng))
        if not set(avoid) & set(text.split()):
            return text
