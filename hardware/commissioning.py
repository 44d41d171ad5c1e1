"""
Prints a checklist for each outlet: `python -m hardware.commissioning outlets.csv --out checklists.pdf`.

`campustap stickers --list` writes that list: device_id, place, name, name_en, link. `--check` proves that guide and
checklist name points and words which the register map has.
"""

import argparse
import csv
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import segno
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from hardware.model import RegisterMap
from hardware.points import MAPS_DIR, load_file

GUIDE = Path(__file__).parent / "commissioning.md"
COLUMNS = ("device_id", "place", "name", "name_en", "link")
_CHINESE, _LATIN = "STSong-Light", "Helvetica"
_OUTLETS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the checklist: what to do, and what to write down; `points` are read for it."""

    zh: str
    en: str
    points: tuple[str, ...]
    result: str


STEPS = (
    Step("断电、锁定、验电为 0 V，关水", "Isolated, locked, 0 V measured, water shut", (), "______ V"),
    Step("供电预算通过", "Feed budget says ok", (), "______ mm²"),
    Step("按图接线，压线端子，格兰头拧紧", "Wired as drawn, ferrules, glands tight", (), ""),
    Step("终端与偏置跳线", "Termination and bias jumpers", (), "JP1 □  JP2 □  JP3 □"),
    Step("站号已写入且唯一", "Address written, unique", ("cfg_unit",), "______"),
    Step("上电：身份、电压、无故障", "First light: supply, no faults", ("v_supply", "faults"), "______ mV"),
    Step("关阀一分钟无漏水", "Closed for a minute: no leak", ("total_pulses", "leak"), ""),
    Step("一升试验：起止脉冲", "1-litre test: pulses before and after", ("total_pulses",), "______ → ______"),
    Step("K 系数（脉冲/升）", "K-factor, pulses per litre", ("k_factor", "cfg_cal_k"), "______ /L"),
    Step("水温与温度计相差不超过 1 °C", "Within 1 °C of a thermometer", ("temp_out", "cfg_temp_cutoff"), "___ / ___"),
    Step("停止后 1 秒内关阀", "Valve closed within 1 s of stopping", ("valve_pos", "close_reason"), "______ s"),
    Step("断开总线 A 线：30 秒内停水", "Dead man: core A off", ("close_reason", "lease_left"), "______ s"),
    Step("断电：立即停水，来电不再开", "Power cut: stops at once, stays closed", ("state", "boot_id"), ""),
    Step("开盖报警；扫码打开本龙头页面", "Cover alarm; sticker opens this outlet's page", ("tamper",), ""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outlet:
    """What a checklist says at its top."""

    device_id: str
    place: str
    name: str
    name_en: str
    link: str


class ListMalformed(Exception):
    """The list of outlets cannot be used; the message says where and why."""


def outlets(path: Path) -> list[Outlet]:
    """
    Return the outlets of a list.

    :raises ListMalformed: naming file, line and reason.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ListMalformed(f"{path}: cannot be read: {error}") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ListMalformed(f"{path}:1: column {missing[0]} is missing")
    found = [Outlet(**{name: row[name] or "" for name in COLUMNS}) for row in reader]
    for number, outlet in enumerate(found, start=2):
        if not outlet.device_id or not outlet.link:
            raise ListMalformed(f"{path}:{number}: device_id and link must not be empty")
    if not 0 < len(found) <= _OUTLETS_MAX:
        raise ListMalformed(f"{path}: {len(found)} outlets; one to {_OUTLETS_MAX} can be printed")
    return found


def complaints(register_map: RegisterMap, guide: str, steps: Sequence[Step] = STEPS) -> list[str]:
    """Return the words of guide and checklist that the map does not know."""
    words = {label for enum in register_map.enums.values() for label in enum.values()}
    words |= {name for names in register_map.bits.values() for name in names}
    named = set(re.findall(r"`([a-z]+_[a-z_0-9]+|[a-z]{2,})`", guide)) | {
        each for step in steps for each in step.points
    }
    said = [f"{name}: the map has no such point" for name in sorted(named - set(register_map.points))]
    shouted = set(re.findall(r"`([A-Z][A-Z_]+)`", guide))
    return said + [f"{name}: the map knows no such word" for name in sorted(shouted - words)]


def draw(found: Sequence[Outlet]) -> bytes:
    """Return the checklists as PDF, a page for each outlet; the same list gives the same bytes."""
    pdfmetrics.registerFont(UnicodeCIDFont(_CHINESE))
    sheet = io.BytesIO()
    canvas = Canvas(sheet, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle("Commissioning")
    for outlet in found:
        _page(canvas, outlet)
        canvas.showPage()
    canvas.save()
    return sheet.getvalue()


def _page(canvas: Canvas, outlet: Outlet) -> None:
    _write(canvas, "热水龙头投运检查表", 18, 275, 20)
    _write(canvas, "Commissioning checklist", 18, 268, 11)
    for index, text in enumerate((outlet.place, f"{outlet.name}  {outlet.name_en}", outlet.device_id)):
        _write(canvas, text[:60], 18, 257 - index * 7, 12)
    _write(canvas, "站号 unit ______   序列号 serial ____________", 18, 234, 11)
    _code(canvas, outlet.link, 157, 244, 35)
    up_mm = 224.0
    for number, step in enumerate(STEPS, start=1):
        canvas.setStrokeGray(0.75)
        canvas.setLineWidth(0.3)
        canvas.line(18 * mm, (up_mm + 6) * mm, 192 * mm, (up_mm + 6) * mm)
        canvas.setStrokeGray(0)
        canvas.setLineWidth(0.8)
        canvas.rect(18 * mm, (up_mm - 2.5) * mm, 5 * mm, 5 * mm)
        _write(canvas, f"{number}. {step.zh}", 26, up_mm + 1, 11)
        _write(canvas, step.en, 26, up_mm - 3.5, 8)
        _write(canvas, " · ".join(step.points), 106, up_mm - 3.5, 7)
        _write(canvas, step.result, 149, up_mm - 1, 10)
        up_mm -= 13.2
    _write(canvas, "有一项未打勾则不得投运，拔下电磁阀插头。", 18, 33, 10)
    _write(canvas, "One box not ticked: not in service; leave the valve unplugged.", 18, 28, 8)
    _write(
        canvas,
        "电工 Electrician __________________   安装 Installer __________________   日期 Date ____________",
        18,
        16,
        10,
    )


def _write(canvas: Canvas, text: str, left_mm: float, up_mm: float, size_pt: float) -> None:
    """Write Chinese in a font every reader brings, all else in Helvetica."""
    at = left_mm * mm
    canvas.setFillGray(0)
    for piece in re.findall(r"[\u2000-\uffff]+|[^\u2000-\uffff]+", text):
        font = _CHINESE if piece[0] >= "\u2000" else _LATIN
        canvas.setFont(font, size_pt)
        canvas.drawString(at, up_mm * mm, piece)
        at += pdfmetrics.stringWidth(piece, font, size_pt)


def _code(canvas: Canvas, link: str, left_mm: float, bottom_mm: float, size_mm: float) -> None:
    """Draw a QR code of level Q as one filled path."""
    matrix = [list(row) for row in segno.make(link, error="q", micro=False, boost_error=False).matrix]
    module = size_mm * mm / len(matrix)
    path = canvas.beginPath()
    for line, row in enumerate(matrix):
        for column, dark in enumerate(row):
            if dark:
                up = bottom_mm * mm + (len(matrix) - 1 - line) * module
                path.rect(left_mm * mm + column * module, up, module * 1.02, module * 1.02)
    canvas.setFillGray(0)
    canvas.drawPath(path, stroke=0, fill=1)


def main(arguments: Sequence[str]) -> int:
    """Print checklists, or check the guide; return 0, or 1 or 2 with the reason."""
    parser = argparse.ArgumentParser(prog="python -m hardware.commissioning")
    parser.add_argument("outlets", type=Path, nargs="?", metavar="OUTLETS.csv")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the PDF")
    parser.add_argument("--check", action="store_true", help="compare guide and checklist with the register map")
    args = parser.parse_args(arguments)
    if args.check:
        said = complaints(load_file(MAPS_DIR / "chw.hwo1.toml"), GUIDE.read_text(encoding="utf-8"))
        print("\n".join(said) or "guide and checklist: every point and word is in the map")
        return 1 if said else 0
    if args.outlets is None or args.out is None:
        print("give a list of outlets and --out FILE, or --check", file=sys.stderr)
        return 2
    try:
        found = outlets(args.outlets)
        args.out.write_bytes(draw(found))
    except ListMalformed as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{args.out}: cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{args.out}: {len(found)} checklists")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
