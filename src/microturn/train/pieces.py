"""Learn the text pieces (model/pieces.json): `python -m microturn.train.pieces`. Done once; weights depend on it.

Corpus: chitchat-dataset (MIT), the English, Spanish, French and German parts of chatterbot-corpus (BSD).
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from microturn.model.tokenizer import learn

LANGUAGES = {"english": 1, "spanish": 6, "french": 3, "german": 3}  # how often each is repeated
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred"
)


def plain(text: str) -> str:
    """Lower case, no marks but apostrophes, one space before every word."""
    return "".join(" " + w for w in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.lower().replace("’", "'")))


def corpus() -> Iterator[str]:
    import chitchat_dataset

    for chat in chitchat_dataset.Dataset().values():
        for message in chat["messages"]:
            yield from (plain(part["text"]) for part in message)
    root = files("chatterbot_corpus").joinpath("data")
    for language, times in LANGUAGES.items():
        for path in sorted(Path(str(root / language)).glob("*.yml")):
            lines = [plain(line) for line in path.read_text("utf-8").splitlines() if "- " in line]
            yield from lines * times
    yield from [plain(NUMBERS)] * 300
    yield from ["".join(" " + letter for letter in "abcdefghijklmnopqrstuvwxyz")] * 300


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "model" / "pieces.json"
    target.write_text(learn(corpus()), "utf-8")
