"""A sheet of stickers prints the same bytes, and every code on it can be read from the paper."""

import pypdfium2
import pytest
import zxingcpp

from backend.fleet import stickers
from backend.fleet.sticker_sheet import PER_PAGE, Label, draw, leads_nowhere, link_of


def labels(count: int) -> list[Label]:
    """Return stickers as a campus would have them."""
    return [
        Label(
            link=link_of("https://tap.campus.example/", stickers.new_token(index.to_bytes(16, "big"))),
            place=f"三号学生公寓 {1 + index // 8} 层",
            name=f"{index + 101} 号淋浴",
            name_en=f"Shower {index + 101}",
            device_id=f"dev_b03_{index:03}",
        )
        for index in range(count)
    ]


def decoded(pdf: bytes) -> list[list[str]]:
    """Return what a camera reads off each page, printed at 150 dots per inch."""
    found = []
    for page in pypdfium2.PdfDocument(pdf):
        picture = page.render(scale=150 / 72).to_pil().convert("L")
        found.append([each.text for each in zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)])
    return found


class TestLeadsNowhere:
    @pytest.mark.parametrize(
        ("public_url", "nowhere"),
        [
            ("http://127.0.0.1:8000", True),
            ("http://localhost", True),
            ("http://[::1]:80", True),
            ("", True),
            ("https://tap.campus.example", False),
            ("http://10.0.0.7:8000", False),
        ],
    )
    def test_is_true_of_this_computer_only(self, public_url: str, nowhere: bool) -> None:
        assert leads_nowhere(public_url) == nowhere


class TestDraw:
    def test_prints_codes_that_all_read_back(self) -> None:
        wanted = labels(PER_PAGE + 4)

        pages = decoded(draw(wanted, title="gxu"))

        assert sorted(pages[0]) == sorted(label.link for label in wanted[:PER_PAGE])
        assert sorted(pages[1]) == sorted(label.link for label in wanted[PER_PAGE:])

    def test_gives_the_same_bytes_again(self) -> None:
        assert draw(labels(3), title="gxu") == draw(labels(3), title="gxu")

    def test_prints_chinese(self) -> None:
        text = pypdfium2.PdfDocument(draw(labels(1), title="gxu"))[0].get_textpage().get_text_bounded()

        assert "扫码用热水" in text
        assert "三号学生公寓" in text

    def test_draws_ink_where_the_chinese_words_stand(self) -> None:
        page = pypdfium2.PdfDocument(draw(labels(1), title="gxu"))[0].render(scale=150 / 72).to_pil().convert("L")
        words = page.crop((285, 115, 400, 150))  # the heading of the first label, in pixels

        dark = sum(words.histogram()[:128])

        assert dark > 100

    def test_cuts_words_that_do_not_fit(self) -> None:
        long = Label("https://x.example/w/a", "楼" * 60, "很长的名字" * 20, "long " * 40, "dev_" + "9" * 90)

        text = pypdfium2.PdfDocument(draw([long], title="gxu"))[0].get_textpage().get_text_bounded()

        assert text.count("…") >= 3
