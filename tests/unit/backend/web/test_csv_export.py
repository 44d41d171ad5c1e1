"""Exported tables open in a spreadsheet as they are, and nothing in them runs."""

import asyncio

import pytest

from backend.web.csv_export import answer, cell, lines, yuan


class TestCell:
    @pytest.mark.parametrize("text", ["=1+1", "+86 771", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "-"])
    def test_defuses_what_a_spreadsheet_would_run(self, text: str) -> None:
        assert cell(text) == f"'{text}"

    @pytest.mark.parametrize(
        ("value", "text"), [("-1.50", "-1.50"), (-3, "-3"), ("ws_1", "ws_1"), (None, ""), (0, "0")]
    )
    def test_leaves_numbers_and_words_as_they_are(self, value: object, text: str) -> None:
        assert cell(value) == text


class TestYuan:
    @pytest.mark.parametrize(("minor", "text"), [(3_620, "36.20"), (5, "0.05"), (-5, "-0.05"), (1_000_000, "10000.00")])
    def test_writes_what_adds_up(self, minor: int, text: str) -> None:
        assert yuan(minor) == text


class TestLines:
    def test_begin_with_the_mark_and_quote_what_must_be(self) -> None:
        assert list(lines(["编号", "说明"], [("a", 'he said "no",\nand left')])) == [
            "\ufeff编号,说明\r\n",
            'a,"he said ""no"",\nand left"\r\n',
        ]

    def test_are_written_one_by_one(self) -> None:
        taken = []

        def rows() -> object:
            for number in range(3):
                taken.append(number)
                yield (number,)

        written = lines(["n"], rows())  # type: ignore[arg-type]
        next(written)
        next(written)

        assert taken == [0]


class TestAnswer:
    def test_is_a_download(self) -> None:
        sent = answer("cases-2026-11-22.csv", ["n"], [(1,)])

        async def read() -> str:
            return "".join([str(part) async for part in sent.body_iterator])

        assert asyncio.run(read()) == "\ufeffn\r\n1\r\n"
        assert sent.headers["content-disposition"] == 'attachment; filename="cases-2026-11-22.csv"'
        assert sent.headers["content-type"] == "text/csv; charset=utf-8"

    def test_has_a_name_that_ends_no_header(self) -> None:
        with pytest.raises(AssertionError):
            answer('a"\r\nset-cookie: b.csv', ["n"], [])
