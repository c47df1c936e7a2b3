"""The words that are burnt into every slice of the model, so that no print-out can lose them.

The letters are drawn here: they must be the same on every machine, and slices are small.
"""

from __future__ import annotations

import numpy as np

from pipeline.types import Mask

WARNING = "MODEL FROM RADIOGRAPHS - NOT A CT"

PARTS = WARNING.split(" - ")
"""What it is, and what it is not: each makes sense by itself, and none is torn apart."""

LETTERS = {
    "A": (".##.", "#..#", "####", "#..#", "#..#"),
    "C": (".###", "#...", "#...", "#...", ".###"),
    "D": ("###.", "#..#", "#..#", "#..#", "###."),
    "E": ("####", "#...", "###.", "#...", "####"),
    "F": ("####", "#...", "###.", "#...", "#..."),
    "G": (".###", "#...", "#.##", "#..#", ".###"),
    "H": ("#..#", "#..#", "####", "#..#", "#..#"),
    "I": ("#", "#", "#", "#", "#"),
    "L": ("#..", "#..", "#..", "#..", "###"),
    "M": ("#...#", "##.##", "#.#.#", "#...#", "#...#"),
    "N": ("#..#", "##.#", "#.##", "#..#", "#..#"),
    "O": (".##.", "#..#", "#..#", "#..#", ".##."),
    "P": ("###.", "#..#", "###.", "#...", "#..."),
    "R": ("###.", "#..#", "###.", "#.#.", "#..#"),
    "S": (".###", "#...", ".##.", "...#", "###."),
    "T": ("###", ".#.", ".#.", ".#.", ".#."),
    "-": ("...", "...", "###", "...", "..."),
    " ": ("..", "..", "..", "..", ".."),
}
HEIGHT_PX = 5
MARGIN_PX = 1
LEADING_PX = HEIGHT_PX + 1


def burnt_in(rows: int, columns: int) -> Mask:
    """True where an image says along its upper edge what it is, along the lower what it is not.

    Slices stand one behind the other: words that reached into the image would be walls before the
    bones in every view from the front or the side. At the edges there is no bone.

    Returns:
        Shape (rows, columns); all False where the image is too small to hold the text.
    """
    image = np.zeros((rows, columns), dtype=np.bool_)
    room = columns - 2 * MARGIN_PX
    above, below = ([_line(words) for words in _wrapped(part.split(), room)] for part in PARTS)
    lines = [*above, *below]
    needed = 2 * MARGIN_PX + len(lines) * LEADING_PX
    if needed > rows // 2 or any(line.shape[1] > room for line in lines):
        return image
    for number, line in enumerate(lines):
        top = MARGIN_PX + number * LEADING_PX
        if number >= len(above):
            top = rows - MARGIN_PX - (len(lines) - number) * LEADING_PX + 1
        image[top : top + HEIGHT_PX, MARGIN_PX : MARGIN_PX + line.shape[1]] = line
    return image


def _wrapped(words: list[str], width_px: int) -> list[str]:
    lines = [words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if _line(longer).shape[1] <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _line(text: str) -> Mask:
    rows = [".".join(LETTERS[letter][row] for letter in text) for row in range(HEIGHT_PX)]
    return np.array([[dot == "#" for dot in row] for row in rows], dtype=np.bool_)
