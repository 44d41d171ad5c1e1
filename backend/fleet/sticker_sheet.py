"""
Sheets of stickers for outlets: A4, three by seven labels of 63.5 × 38.1 mm, each a 30 mm QR code beside its words.

Codes are vectors (a rectangle per run of dark modules), level Q: a quarter of a code may be scratched away. The same
labels give the same bytes. Chinese is set in a font every PDF reader brings; nothing is embedded.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import segno
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

COLUMNS, ROWS = 3, 7
PER_PAGE = COLUMNS * ROWS
QR_MM = 30.0
_LABEL_WIDTH_MM, _LABEL_HEIGHT_MM, _GUTTER_MM = 63.5, 38.1, 2.5
_CHINESE, _LATIN = "STSong-Light", "Helvetica"
_BEYOND_LATIN = "\u2000"
_FONT_PT_MIN = 4.5
_ONLY_HERE = ("127.0.0.1", "localhost", "::1", "")


@dataclass(frozen=True, slots=True)
class Label:
    """What one sticker says. `link` is what the code carries."""

    link: str
    place: str
    name: str
    name_en: str
    device_id: str


def link_of(public_url: str, sticker_token: str) -> str:
    """Return what an outlet's code carries."""
    return f"{public_url.rstrip('/')}/w/{sticker_token}"


def leads_nowhere(public_url: str) -> bool:
    """Return whether a phone that reads a code would look for the product on itself."""
    return (urlsplit(public_url).hostname or "") in _ONLY_HERE


def draw(labels: Sequence[Label], *, title: str) -> bytes:
    """Return the sheets as PDF, in the order given."""
    assert labels, "a sheet has labels"
    pdfmetrics.registerFont(UnicodeCIDFont(_CHINESE))
    sheet = io.BytesIO()
    canvas = Canvas(sheet, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle(title)
    canvas.setCreator("CampusTap")
    for index, label in enumerate(labels):
        if index and index % PER_PAGE == 0:
            canvas.showPage()
        row, column = divmod(index % PER_PAGE, COLUMNS)
        _label(canvas, label, *_corner_mm(row, column))
    canvas.save()
    return sheet.getvalue()


def _corner_mm(row: int, column: int) -> tuple[float, float]:
    """Return a label's lower left corner."""
    width_mm, height_mm = A4[0] / mm, A4[1] / mm
    left_mm = (width_mm - COLUMNS * _LABEL_WIDTH_MM - (COLUMNS - 1) * _GUTTER_MM) / 2
    top_mm = height_mm - (height_mm - ROWS * _LABEL_HEIGHT_MM) / 2
    return left_mm + column * (_LABEL_WIDTH_MM + _GUTTER_MM), top_mm - (row + 1) * _LABEL_HEIGHT_MM


def draw_code(canvas: Canvas, link: str, left_mm: float, bottom_mm: float, size_mm: float = QR_MM) -> None:
    """Draw a code, `size_mm` without its quiet zone, from its lower left corner."""
    matrix = [list(row) for row in segno.make(link, error="q", micro=False, boost_error=False).matrix]
    module = size_mm * mm / len(matrix)
    path = canvas.beginPath()
    for line, row in enumerate(matrix):
        y = bottom_mm * mm + (len(matrix) - 1 - line) * module
        start = None
        for at, dark in enumerate([*row, 0]):
            if dark and start is None:
                start = at
            elif not dark and start is not None:
                path.rect(left_mm * mm + start * module, y, (at - start) * module, module)
                start = None
    canvas.setFillGray(0)
    canvas.drawPath(path, stroke=0, fill=1)


def _label(canvas: Canvas, label: Label, left_mm: float, bottom_mm: float) -> None:
    canvas.setStrokeGray(0.8)
    canvas.setLineWidth(0.2)
    canvas.roundRect(left_mm * mm, bottom_mm * mm, _LABEL_WIDTH_MM * mm, _LABEL_HEIGHT_MM * mm, 2 * mm)
    draw_code(canvas, label.link, left_mm + 3.5, bottom_mm + (_LABEL_HEIGHT_MM - QR_MM) / 2)
    text_mm, room_mm = left_mm + 37.0, _LABEL_WIDTH_MM - 38.5
    lines = (
        ("扫码用热水", 12, 30.5), ("Scan for hot water", 7.5, 26.5), (label.place, 7.5, 20.0),
        (label.name, 10, 15.0), (label.name_en, 7.5, 11.0), (label.device_id, 6.5, 5.0),
    )  # fmt: skip
    for text, size_pt, up_mm in lines:
        write(canvas, text, text_mm, bottom_mm + up_mm, size_pt=size_pt, room_mm=room_mm)


def _runs(text: str) -> list[tuple[str, str]]:
    """Return a text as (font, piece)."""
    runs: list[tuple[str, str]] = []
    for char in text:
        font = _CHINESE if char >= _BEYOND_LATIN else _LATIN
        if runs and runs[-1][0] == font:
            runs[-1] = (font, runs[-1][1] + char)
        else:
            runs.append((font, char))
    return runs


def _width_pt(runs: Sequence[tuple[str, str]], size_pt: float) -> float:
    return float(sum(pdfmetrics.stringWidth(piece, font, size_pt) for font, piece in runs))


def write(canvas: Canvas, text: str, left_mm: float, up_mm: float, *, size_pt: float, room_mm: float) -> None:
    """Write a line that fits its room: smaller if need be, and cut when smaller could not be read."""
    pdfmetrics.registerFont(UnicodeCIDFont(_CHINESE))
    room_pt = room_mm * mm
    runs = _runs(text)
    while _width_pt(runs, size_pt) > room_pt and size_pt > _FONT_PT_MIN:
        size_pt -= 0.25
    while _width_pt(runs, size_pt) > room_pt and len(text) > 1:
        text = text.rstrip("…")[:-1] + "…"
        runs = _runs(text)
    at = left_mm * mm
    canvas.setFillGray(0)
    for font, piece in runs:
        canvas.setFont(font, size_pt)
        canvas.drawString(at, up_mm * mm, piece)
        at += pdfmetrics.stringWidth(piece, font, size_pt)
