"""Keys are made once, are the same for every process, and nobody else may read their files."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.tenants import keys


class TestSecret:
    def test_is_made_once_and_kept_private(self, tmp_path: Path) -> None:
        first = keys.secret(tmp_path / "secrets", "pepper")
        keys._secret.cache_clear()

        assert keys.secret(tmp_path / "secrets", "pepper") == first
        assert len(first) == 32
        assert stat.S_IMODE((tmp_path / "secrets" / "pepper.secret").stat().st_mode) == 0o600

    def test_differs_by_name(self, tmp_path: Path) -> None:
        assert keys.secret(tmp_path, "one") != keys.secret(tmp_path, "two")

    def test_is_the_same_for_processes_that_start_together(self, tmp_path: Path) -> None:
        path = tmp_path / "race.secret"

        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: keys._load_or_create_secret(path), range(32)))

        assert len(found) == 1
        assert [each.name for each in tmp_path.iterdir()] == ["race.secret"]

    def test_refuses_a_name_that_leaves_the_folder(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError):
            keys.secret(tmp_path, "../outside")


class TestCommandKey:
    def test_names_the_tenant_and_stays_the_same(self, tmp_path: Path) -> None:
        kid, key = keys.command_key(tmp_path, "gxu")
        keys._command_key.cache_clear()
        again_kid, again = keys.command_key(tmp_path, "gxu")

        assert kid == again_kid == "gxu-1"
        assert key.private_bytes_raw() == again.private_bytes_raw()

    def test_differs_by_tenant(self, tmp_path: Path) -> None:
        one, other = keys.command_key(tmp_path, "gxu")[1], keys.command_key(tmp_path, "gxnu")[1]

        assert one.private_bytes_raw() != other.private_bytes_raw()
