import subprocess
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from hardware.c_header import PREFIXES, file_name, header
from hardware.generate import REGISTERS
from hardware.points import load

STRICT = ("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")


def compiled(source: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    path = folder / "use.c"
    path.write_text(source, encoding="utf-8")
    command = [*STRICT, *options, f"-I{REGISTERS}", str(path)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


class TestHeader:
    @pytest.mark.parametrize("map_id", sorted(PREFIXES))
    def test_compiles_without_a_warning(self, map_id: str, tmp_path: Path) -> None:
        both = f'#include "{file_name(map_id)}"\n' * 2 + "typedef int used;\n"

        assert compiled(both, tmp_path, "-fsyntax-only").stderr == ""

    def test_fails_to_compile_when_the_test_compiler_must_object(self, tmp_path: Path) -> None:
        wrong = f'#include "{file_name("chw.hwo1")}"\nint v = HWO1_REG_NO_SUCH_POINT;\n'

        assert "HWO1_REG_NO_SUCH_POINT" in compiled(wrong, tmp_path, "-fsyntax-only").stderr

    @pytest.mark.parametrize("map_id", sorted(PREFIXES))
    def test_gives_a_program_every_row_of_the_map(self, map_id: str, tmp_path: Path) -> None:
        register_map, prefix = load(map_id), PREFIXES[map_id]
        source = (
            f'#include <stdio.h>\n#include "{file_name(map_id)}"\n'
            "#define ROW(name, table, address, words, type, access, low, high, fallback, persist) \\\n"
            f'    printf("%s %s %u %d %s %s %d %d\\n", #name, #table, {prefix}_REG_##name, words, #type, #access, \\\n'
            "           (int)(fallback), persist);\n"
            f"int main(void) {{ {prefix}_POINTS(ROW) return 0; }}\n"
        )
        program = tmp_path / "rows"

        assert compiled(source, tmp_path, "-o", str(program)).stderr == ""

        printed = subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=60).stdout
        assert printed.splitlines() == [
            f"{p.name.upper()} {p.table.upper()} {p.address} {p.words} {p.type.upper()} {p.access.upper()}"
            f" {p.default or 0} {int(p.persist)}"
            for p in register_map.points.values()
        ]

    def test_has_codes_masks_bounds_and_the_record(self) -> None:
        text = header(load("chw.hwo1"))

        for line in (
            "#define HWO1_FAULTS_CAL_INVALID UINT32_C(0x00080000)",
            "    HWO1_CLOSE_REASON_POWER_LOSS = 8,",
            "#define HWO1_EVENT_WORDS 20u",
            "#define HWO1_EVENT_AT_TOTAL_PULSES 13u",
            "#define HWO1_EVENT_QUALITY_SHIFT 12u",
            "#define HWO1_CFG_TEMP_CUTOFF_MAX 600u",
            "#define HWO1_COMMIT_XOR 0xA5C3u",
        ):
            assert f"{line}\n" in text

    def test_refuses_two_things_of_one_name(self) -> None:
        register_map = load("chw.hwo1")
        doubled = replace(register_map, bits=MappingProxyType({"faults": ("SAME", "SAME")}))

        with pytest.raises(ValueError, match="HWO1_FAULTS_SAME"):
            header(doubled)
