"""How people ask for what scenes of the camera do, see watch.py."""

from __future__ import annotations

from microturn.scenes.wording import Wordings

COUNT = Wordings(
    (
        "(please|can you|) count (out|) my {x}",
        "count (the|my|all the|) {x} (out loud|for me|please|)",
        "(please|can you|) count how many {x} (there are|i do|you see)",
        "count (every one|each) of my {x}",
        "say the number of my {x} (as i go|while i do them)",
        "i want you to count (the|my) {x}",
        "keep count of (the|my) {x} (out loud|for me)",
    ),
    (
        "number my {x} (for me|one by one)",
        "(could|would) you keep a running count of my {x}",
        "call out the count of my {x}",
        "i'll do some {x} and you count (them|along)",
        "let me hear the count of (my|the) {x}",
        "every time you see one of the {x} say its number",
    ),
)
GOAL = Wordings(
    (
        "tell me when i have done {n} {x}",
        "(please|can you|) let me know (when|once) (there were|you saw|i did) {n} {x}",
        "(please|) say when (i did|you have seen|there were) {n} {x}",
        "tell me (as soon as|when) i reach {n} {x}",
        "i want to do {n} {x} tell me when that's it",
        "stop me after {n} {x}",
        "watch my {x} and tell me when it is {n}",
        "(please|) tell me when {n} {x} are done",
        "let me know at {n} {x}",
    ),
    (
        "after {n} {x} (say so|tell me)",
        "my goal is {n} {x} (tell me when i'm there|say when i have it)",
        "(could|would) you stop me (at|after) {n} {x}",
        "once you have counted {n} {x} let me know",
        "{n} {x} is what i want (so|) tell me when i get there",
        "give me a sign after {n} {x}",
    ),
)
HOW_MANY = Wordings(
    (
        "how many (was|were) (that|those|they)",
        "how many {x} (was that|were that|did you see|did you count|were there|have you seen)",
        "(okay|so|and|) how many did (i do|you see|you count)",
        "(so|) how many {x} did i do",
        "what was the count (of {x}|)",
        "how often was that",
        "what number did i reach",
    ),
    (
        "(could|would) you tell me how many {x} that made",
        "what's the total (of {x}|)",
        "give me the number of {x}",
        "how high did you count",
        "what did you get to",
        "and the number of {x} is",
    ),
)
TURNS = Wordings(
    (
        "(please|can you|) (tell me|say) when the {x} (turns|becomes|gets|goes|is) {c}",
        "(please|) let me know when the {x} (turns|becomes|is) {c}",
        "watch the {x} and tell me when it (turns|is) {c}",
        "when the {x} (turns|is) {c} tell me",
    ),
    (
        "(as soon as|once) the {x} changes to {c} (say so|tell me)",
        "wait until the {x} is {c} and tell me",
        "give me a shout when the {x} goes {c}",
        "(could|would) you say when the {x} has become {c}",
    ),
)
EVERY_COLOUR = Wordings(
    (
        "(please|can you|) (tell me|say|name|call out) every colour (that|) the {x} (turns|becomes|changes to|takes)",
        "(please|) say the new colour (whenever|when|every time) the {x} changes",
        "(whenever|when|every time) the {x} changes (colour|) tell me the (new|) colour",
        "name the colours of the {x} as it changes",
    ),
    (
        "keep me posted on the colour of the {x}",
        "each new colour of the {x} (please say it|i want to hear)",
        "(could|would) you announce the colours of the {x}",
        "as the {x} changes colour name it",
    ),
)
APPEARS = Wordings(
    (
        "(please|can you|) (tell me|say) when (a|the) {x} (appears|comes|shows up|is there)",
        "(please|) let me know when you see (a|the) {x}",
        "(whenever|when) you see a {x} tell me",
        "tell me as soon as there is a {x}",
        "watch out for a {x}",
    ),
    (
        "(say so|shout) once a {x} comes into view",
        "keep an eye out for a {x} (and tell me|)",
        "(could|would) you alert me to a {x}",
        "if a {x} turns up (say so|let me know)",
    ),
)
WHAT_APPEARS = Wordings(
    (
        "(please|can you|) tell me what (appears|comes|shows up|you see coming)",
        "(please|) name (everything|whatever|each thing) that (appears|comes in|shows up)",
        "(whenever|when) something (appears|comes|shows up) (say|tell me) what it is",
        "say what is new (every time|whenever) something comes",
    ),
    (
        "call out what comes into view",
        "anything new that you see (name it|say it)",
        "(could|would) you list what comes along as it comes",
        "keep telling me what turns up",
    ),
)
LEAVES = Wordings(
    (
        "(please|can you|) (tell me|say) when the {x} (leaves|is gone|goes away|disappears|goes out)",
        "(please|) let me know when the {x} (has left|is gone|disappears|is out)",
        "watch the {x} and tell me when it (is gone|leaves)",
        "when the {x} (leaves|disappears) tell me",
        "say it when the {x} leaves the picture",
    ),
    (
        "(as soon as|once) you lose sight of the {x} (say so|tell me)",
        "keep an eye on the {x} and say when it has gone",
        "(could|would) you shout when the {x} is out of view",
        "wait until the {x} is out of sight and tell me",
    ),
)
SAYING = Wordings(
    (
        "say {w} when the {x} {v}",
        "when the {x} {v} (say|call|) {w}",
        "(please|) say {w} (every time|whenever) the {x} {v}",
    ),
    ("{w} is your word for when the {x} {v}", "call {w} the moment the {x} {v}"),
)
CHARADES = Wordings(
    (
        "(please|) say {a} when i start {x} and {b} when i stop",
        "(please|can you|) say {a} when the person starts {x} and {b} when they stop",
        "when i start {x} say {a} and when i stop say {b}",
        "{a} when i begin {x} and {b} when i stop (please|)",
        "tell me {a} when (somebody|the person) starts {x} and {b} when that is over",
        "say {a} (as|when|once) i start {x} and say {b} when i (am done|stop)",
        "(if|once) i start {x} say {a} (if|once|when) i stop say {b}",
        "watch me (and|) say {a} when i start {x} and {b} when i (end|stop)",
        "i want you to say {a} when i start {x} and {b} (at the end|when i stop)",
    ),
    (
        "at the start of my {x} say {a} at the end say {b}",
        "(could|would) you say {a} once i am {x} and {b} (once|when) i am not",
        "(please|) mark my {x} with {a} and {b}",
        "as soon as you see me {x} say {a} and {b} as soon as you don't",
        "{a} means i am {x} now and {b} means it is over (say so|say them)",
        "give me {a} when the {x} begins and {b} when it ends",
    ),
)
CALL = Wordings(
    (
        "(please|can you|) call the game (for me|)",
        "(please|can you|) commentate (the game|this game|on the game)",
        "(please|) tell me who has the ball and (when somebody scores|about every goal)",
        "say (who|which colour) has the ball (all the time|every time)",
        "be my commentator",
        "comment on the (game|match) (for me|please|)",
        "tell me what happens in the (game|match)",
        "follow the ball and (say|tell me) what happens",
        "i can't see the game (please|) call it",
        "give me a live commentary",
    ),
    (
        "(could|would) you be the announcer",
        "do the play by play (please|)",
        "talk me through the (game|match)",
        "i want to hear the game as it happens",
        "be the voice of the (match|game)",
        "keep me up to date on the ball",
    ),
)
ASKS: dict[str, Wordings] = {
    "colour": Wordings(
        (
            "what colour is the {x}",
            "(can you tell me|tell me) the colour of the {x}",
            "which colour (has|is) the {x}",
            "what is the colour of (the|that) {x}",
        ),
        ("the {x} is what colour", "how would you call the colour of the {x}"),
    ),
    "many": Wordings(
        (
            "how many {x} (are there|do you see|can you see)",
            "(can you|) count the {x} (you see|)",
            "tell me how many {x} there are",
            "what number of {x} do you see",
        ),
        ("how many {x} have i got here", "the number of {x} please"),
    ),
    "what": Wordings(
        (
            "what (is|do you see|can you see) (there|)",
            "what is (that|this)",
            "(can you|) tell me what (that|this) is",
            "(can you|) name (that|this) (thing|) (please|)",
        ),
        ("what am i showing you", "what have i got here", "which thing is this"),
    ),
    "side": Wordings(
        (
            "(is|) the {x} (is|) on the left or on the right",
            "which side is the {x} on",
            "where is the {x} (left or right|)",
            "left or right where is the {x}",
        ),
        ("on what side do you see the {x}", "do i find the {x} left or right"),
    ),
    "doing": Wordings(
        (
            "what am i doing (now|right now|)",
            "what (do you see me doing|is the person doing|are they doing)",
            "(can you|) tell me what i am doing",
            "what (exercise|move) is (this|that)",
        ),
        ("what do you call what i do", "name my exercise", "what am i up to"),
    ),
}
BOUNDS = (("start", "stop"), ("go", "stop"), ("now", "done"), ("on", "off"), ("hello", "bye"), ("up", "down"))
