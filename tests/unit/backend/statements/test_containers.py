"""Packed files: opened whole within bounds, or refused."""

import gzip
import zipfile
from collections.abc import Iterator

import pytest

from backend.statements import containers
from backend.statements.containers import Part, lines, parts
from backend.statements.types import StatementRefused
from tests.unit.backend.statements.writing import zipped

TEXT = b"one\r\ntwo\r\n" * 400


def _content(name: str, data: bytes) -> list[tuple[str, bytes]]:
    return [(part.name, b"".join(part.chunks())) for part in parts(name, data, encoding="gbk")]


def _part(*chunks: bytes) -> Part:
    return Part("x", lambda: iter(chunks))


class TestParts:
    def test_gives_a_plain_file_as_it_is(self) -> None:
        assert _content("bill.csv", TEXT) == [("bill.csv", TEXT)]

    def test_unpacks_gzip(self) -> None:
        assert _content("bill.csv.gz", gzip.compress(TEXT)) == [("bill.csv", TEXT)]

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
    def test_unpacks_zip_with_gbk_names_without_the_flag(self, method: int) -> None:
        members = {"20880_20261121_业务明细.csv": TEXT, "empty": b""}

        assert _content("x.zip", zipped(members, encoding="gbk", method=method)) == list(members.items())

    def test_believes_the_utf_8_flag(self) -> None:
        packed = bytearray(zipped({"é": TEXT}, encoding="utf-8"))
        packed[7] |= 8
        packed[packed.index(b"PK\x01\x02") + 9] |= 8

        assert _content("x.zip", bytes(packed)) == [("é", TEXT)]

    def test_reads_a_part_again(self) -> None:
        (part,) = parts("x.zip", zipped({"a": TEXT}), encoding="gbk")

        assert b"".join(part.chunks()) == b"".join(part.chunks()) == TEXT

    @pytest.mark.parametrize("packed", [gzip.compress(TEXT, mtime=0), zipped({"a": TEXT, "b": TEXT})])
    def test_refuses_every_truncation(self, packed: bytes) -> None:
        for length in range(3, len(packed)):
            with pytest.raises(StatementRefused) as refused:
                _content("x", packed[:length])
            assert refused.value.details["cause"] == "container"

    def test_refuses_more_after_gzip(self) -> None:
        with pytest.raises(StatementRefused, match="more follows"):
            _content("x", gzip.compress(TEXT) + gzip.compress(TEXT))

    def test_refuses_a_wrong_checksum(self) -> None:
        packed = bytearray(zipped({"a": TEXT}, method=zipfile.ZIP_STORED))
        packed[100] ^= 1

        with pytest.raises(StatementRefused, match="damaged"):
            _content("x", bytes(packed))

    def test_refuses_a_locked_member(self) -> None:
        packed = bytearray(zipped({"a": TEXT}))
        packed[6] |= 1
        packed[packed.index(b"PK\x01\x02") + 8] |= 1

        with pytest.raises(StatementRefused, match="damaged"):
            _content("x", bytes(packed))


class TestBounds:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(containers, "UNPACKED_BYTES_MAX", 1_000_000)

    def _refuses(self, data: bytes) -> None:
        with pytest.raises(StatementRefused) as refused:
            _content("x", data)
        assert refused.value.details["cause"] == "size"

    def test_refuses_a_gzip_bomb(self) -> None:
        self._refuses(gzip.compress(bytes(50_000_000)))

    def test_refuses_a_zip_bomb(self) -> None:
        self._refuses(zipped({"a": bytes(50_000_000)}))

    def test_refuses_a_zip_bomb_that_lies_about_its_size(self) -> None:
        packed = zipped({"a": bytes(50_000_000)})

        lying = packed.replace((50_000_000).to_bytes(4, "little"), (900).to_bytes(4, "little"))

        with pytest.raises(StatementRefused):
            _content("x", lying)

    def test_refuses_many_members(self) -> None:
        self._refuses(zipped({str(number): b"" for number in range(40)}))

    def test_refuses_a_large_packed_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(containers, "PACKED_BYTES_MAX", 100)
        self._refuses(TEXT)


class TestLines:
    @pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("is_ended", [True, False])
    def test_joins_chunks_wherever_they_are_cut(self, ending: bytes, is_ended: bool) -> None:
        text = ending.join([b"one", b"", b"three"]) + (ending if is_ended else b"")
        wanted = [(1, b"one"), (2, b""), (3, b"three")]

        for cut in range(len(text) + 1):
            assert list(lines(_part(text[:cut], text[cut:]))) == wanted

    def test_gives_nothing_for_an_empty_part(self) -> None:
        assert list(lines(_part())) == list(lines(_part(b""))) == []

    @pytest.mark.parametrize("text", [b"a\r\nb\nc\r\n", b"a\nb\r\n"])
    def test_refuses_mixed_endings(self, text: bytes) -> None:
        with pytest.raises(StatementRefused, match="line 2"):
            list(lines(_part(text)))

    def test_refuses_a_line_without_end(self) -> None:
        def endless() -> Iterator[bytes]:
            while True:
                yield bytes(10_000)

        with pytest.raises(StatementRefused, match="does not end"):
            list(lines(Part("x", endless)))


class TestUnknownPacking:
    @pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, 97])
    def test_refuses_a_way_of_packing_that_no_provider_uses(self, method: int) -> None:
        packed = bytearray(zipped({"a": TEXT}, method=zipfile.ZIP_STORED))
        packed[8] = packed[packed.index(b"PK\x01\x02") + 10] = method

        with pytest.raises(StatementRefused, match="no provider packs"):
            _content("x", bytes(packed))
