import pytest

from gateway.modbus.load import bits_per_character, exchange_ms, read_bytes, silence_ms, write_read_bytes


class TestSilenceMs:
    def test_is_never_shorter_than_the_standard_allows(self) -> None:
        assert [round(silence_ms(baud), 2) for baud in (9_600, 19_200, 38_400, 115_200)] == [4.01, 2.01, 1.75, 1.75]

    def test_is_shorter_without_parity(self) -> None:
        assert silence_ms(9_600, bits=bits_per_character("N")) < silence_ms(9_600, bits=bits_per_character("E"))


class TestExchangeMs:
    @pytest.mark.parametrize(
        ("question", "answer", "at_9600", "at_19200", "at_115200"),
        [
            (8, 8, 31.4, 18.2, 10.0),
            (8, 7, 30.2, 17.6, 9.9),
            (8, 9, 32.5, 18.8, 10.1),
            (8, 37, 64.6, 34.8, 12.8),
            (8, 61, 92.1, 48.5, 15.1),
            (8, 55, 85.2, 45.1, 14.5),
            (51, 21, 95.5, 50.3, 15.4),
            (47, 8, 76.0, 40.5, 13.8),
            (8, 239, 296.0, 150.5, 32.1),
            (17, 255, 324.7, 164.8, 34.5),
        ],
    )
    def test_is_the_bytes_the_silences_and_the_turnaround(
        self, question: int, answer: int, at_9600: float, at_19200: float, at_115200: float
    ) -> None:
        found = [exchange_ms(question, answer, baud) for baud in (9_600, 19_200, 115_200)]

        assert found == pytest.approx([at_9600, at_19200, at_115200], abs=0.06)


class TestReadBytes:
    @pytest.mark.parametrize(
        ("table", "count", "expected"), [("discrete", 16, (8, 7)), ("coil", 9, (8, 7)), ("input", 28, (8, 61))]
    )
    def test_counts_unit_and_checksum(self, table: str, count: int, expected: tuple[int, int]) -> None:
        assert read_bytes(table, count) == expected


class TestWriteReadBytes:
    def test_counts_a_command_with_its_result(self) -> None:
        assert write_read_bytes(19, 8) == (51, 21)

    def test_counts_a_page_of_the_log(self) -> None:
        assert write_read_bytes(2, 125) == (17, 255)
