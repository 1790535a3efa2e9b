"""Small pictures with words, for tests of what learns from both."""

from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": "#d22", "green": "#2a2", "blue": "#22d", "black": "#000"}
SHAPES = ("square", "circle", "bar")


def draw(folder: Path, style: str) -> Path:
    """A PNG of every shape in every colour, filled or in outline by `style`, each with its text beside it."""
    folder.mkdir(parents=True)
    for colour, code in COLOURS.items():
        for shape in SHAPES:
            image = Image.new("RGB", (40, 40), "white")
            how = {"fill": code} if style == "filled" else {"outline": code, "width": 3}
            box = (4, 14, 36, 26) if shape == "bar" else (6, 6, 34, 34)
            pen = ImageDraw.Draw(image)
            (pen.ellipse if shape == "circle" else pen.rectangle)(box, **how)
            image.save(folder / f"{colour}-{shape}.png")
            (folder / f"{colour}-{shape}.txt").write_text(f"{colour} {shape}\nthe rest is not read\n")
    return folder
