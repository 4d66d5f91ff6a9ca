"""Where a film is set: a wall and a floor, drawn or cut out of photographs, and what stands about."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from microturn.drawing.motion import Numbers

PHOTOGRAPHS = ("brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png", "rocket.jpg")
MARGIN = 1.5  # of the place over what the camera sees


def _noise(rng: np.random.Generator, height: int, width: int, cells: float) -> Numbers:
    """Smooth random field about 0."""
    small = rng.normal(0, 1, (max(2, round(cells * height / width)), max(2, round(cells)))).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


def _surface(rng: np.random.Generator, height: int, width: int, deep: bool, checks: bool) -> Numbers:
    """A wall, or a floor seen at a slant: colour, stains, and boards, tiles or checks. [H, W, 3] in 0 … 1"""
    base = (
        rng.uniform(0.1, 0.95, 3) if rng.random() < 0.2 else rng.uniform(0.2, 0.95) + rng.normal(0, 0.05, 3)
    )
    field = np.zeros((height, width), np.float32)
    for cells in (3, 11, 50):
        field += _noise(rng, height, width, cells) * np.float32(rng.uniform(0, 0.06))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(width, 1)
    if deep:  # lines run together towards the wall
        far = y + np.float32(0.15 * height / width)
        x, y = (x - 0.5) / far, 1 / far
    lines = rng.random()
    if lines < 0.6:
        step_x, step_y = rng.uniform(0.06, 0.3, 2) * (3 if deep else 1)
        edge = rng.uniform(0.04, 0.12)
        row = np.floor(y / step_y)
        crossing = (x / step_x + 0.5 * (row % 2) * (lines < 0.3)) % 1 < edge
        field -= np.float32(rng.uniform(0.03, 0.3)) * (crossing | ((y / step_y) % 1 < edge) & (lines < 0.45))
    if checks:
        field += np.float32(0.12) * (np.sin(x * 9 * np.pi) * np.sin(y * 9 * np.pi) > 0)
    picture = base.astype(np.float32) * (1 + field[..., None]) + field[..., None] * 0.3
    return np.asarray(picture + np.linspace(0, rng.normal(0, 0.15), height)[:, None, None], np.float32)


@lru_cache(maxsize=1)
def _photographs() -> tuple[Image.Image, ...]:
    """Pictures in the public domain that scikit-image carries, where it is installed (`make voices` does)."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return ()
    folder = Path(spec.origin).parent / "data"
    return tuple(
        Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS if (folder / name).is_file()
    )


def _photographed(rng: np.random.Generator, photographs: tuple[Image.Image, ...], drawn: Numbers) -> Numbers:
    """A piece of a photograph, in other colours, alone or mixed with what was drawn."""
    photo = photographs[int(rng.integers(len(photographs)))]
    height, width = drawn.shape[:2]
    w = int(photo.width * rng.uniform(0.25, 1))
    h = min(photo.height, max(8, int(w * rng.uniform(0.5, 1.2))))
    x, y = (int(rng.integers(0, whole - part + 1)) for whole, part in ((photo.width, w), (photo.height, h)))
    piece = photo.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + w, y + h))
    seen = np.asarray(piece, np.float32)[:, :: rng.choice((-1, 1))] / 255 * rng.uniform(0.6, 1.3, 3)
    mixed = rng.choice((0.0, 0.0, rng.uniform(0, 0.6)))
    return np.asarray(seen * (1 - mixed) + drawn * mixed, np.float32)


def furnish(
    rng: np.random.Generator, size: tuple[int, int], floor: float, split: str, bare: bool
) -> Image.Image:
    """Wall, floor from row `floor` of the picture on, and what stands about; MARGIN times the picture's size.

    `bare`: things are named and counted in it, so only frames hang there: a cupboard would be one more box.
    """
    height, width = (round(x * MARGIN) for x in size)
    edge = int(np.clip(floor + (height - size[0]) / 2, 1, height - 1))
    checks = split == "test" and rng.random() < 0.6  # reserved for tests
    wall, ground = (
        _surface(rng, edge, width, False, checks),
        _surface(rng, height - edge, width, True, checks),
    )
    picture = np.concatenate([wall, ground])
    photographs, chance = _photographs(), rng.random()
    if photographs and split == "train" and chance < 0.3:
        picture = _photographed(np.random.default_rng(int(chance * 1e12)), photographs, picture)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    about = rng.poisson(0.6) if bare else rng.poisson(2.5) if rng.random() < 0.8 else 12
    for _ in range(about):  # windows, pictures, cupboards, plants
        w, h = (int(x) for x in rng.uniform(0.04, 0.3, 2) * width)
        x = int(rng.uniform(-0.05, 1) * width)
        y = (
            edge - h + int(rng.uniform(0, 0.05) * height)
            if rng.random() < 0.6
            else int(rng.uniform(0, 0.5) * edge)
        )
        tone = rng.uniform(0, 255, 3) if rng.random() < 0.3 else rng.uniform(20, 240) + rng.normal(0, 10, 3)
        fill, rim = (tuple(int(np.clip(v, 0, 255)) for v in tone * f) for f in (1, rng.uniform(0.4, 1.3)))
        shape = pen.ellipse if rng.random() < (0.6 if checks else 0.2) else pen.rectangle
        shape((x, y, x + w, y + h), fill=None if bare else fill, outline=rim, width=int(rng.integers(1, 4)))
    return image


def through(place: Image.Image, size: tuple[int, int], pan: complex, zoom: float) -> Numbers:
    """What of the place is in the picture now. [3, H, W]"""
    height, width = size[0] / zoom, size[1] / zoom
    x = np.clip(place.width / 2 - width / 2 - pan.real / zoom, 0, place.width - width)
    y = np.clip(place.height / 2 - height / 2 - pan.imag / zoom, 0, place.height - height)
    shown = place.resize((size[1], size[0]), Image.Resampling.BILINEAR, (x, y, x + width, y + height))
    return np.asarray(shown).transpose(2, 0, 1).astype(np.float32, order="C")
