"""Two banks: whatever is torn, the state before it is still there."""

from pathlib import Path

import pytest

from firmware_sim.nvm import BANK_BYTES, FileNvm, NvmDamaged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nested" / "dev.nvm"


class TestFileNvm:
    def test_is_empty_when_new_and_gives_back_the_last_save(self, path: Path) -> None:
        nvm = FileNvm(path)
        assert nvm.load() is None
        for body in (b"one", b"two", b"three, longer than before", b"4"):
            nvm.save(body)
            assert FileNvm(path).load() == body

    def test_keeps_counting_after_a_reload(self, path: Path) -> None:
        FileNvm(path).save(b"one")
        again = FileNvm(path)
        again.load()
        again.save(b"two")

        assert FileNvm(path).load() == b"two"

    @pytest.mark.parametrize("cut", [0, 1, 4, 19, 20, 21, 30])
    def test_falls_back_when_the_newest_bank_is_torn(self, path: Path, cut: int) -> None:
        nvm = FileNvm(path)
        nvm.save(b"before " * 4)  # bank 1
        nvm.save(b"torn!! " * 4)  # bank 0
        data = bytearray(path.read_bytes())
        data[cut : cut + 12] = b"\xff" * 12
        path.write_bytes(data)

        assert FileNvm(path).load() == b"before " * 4

    def test_says_so_when_nothing_is_left(self, path: Path) -> None:
        FileNvm(path).save(b"one")
        path.write_bytes(b"\xff" * 2 * BANK_BYTES)

        with pytest.raises(NvmDamaged):
            FileNvm(path).load()

    def test_refuses_more_than_a_bank(self, path: Path) -> None:
        with pytest.raises(ValueError, match="do not fit a bank"):
            FileNvm(path).save(b"x" * BANK_BYTES)
