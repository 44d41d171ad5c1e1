"""Settings come from the environment; a wrong one is named."""

from pathlib import Path

import pytest

from backend.config import ConfigError, load


class TestLoad:
    def test_needs_no_setting_for_one_machine(self) -> None:
        config = load({})

        assert config.database_url.startswith("sqlite:///")
        assert config.broker_host == config.http_host == "127.0.0.1"
        assert config.public_url == "http://127.0.0.1:8080"

    def test_takes_what_it_is_told(self) -> None:
        config = load({"CAMPUSTAP_HTTP_PORT": "9000", "CAMPUSTAP_SECRETS_DIR": "/run/secrets"})

        assert config.http_port == 9_000
        assert config.public_url.endswith(":9000")
        assert config.secrets_dir == Path("/run/secrets")

    @pytest.mark.parametrize("name", ["CAMPUSTAP_HTTP_PORT", "CAMPUSTAP_BROKER_PORT", "CAMPUSTAP_INGEST_BATCH"])
    def test_names_the_setting_that_is_no_number(self, name: str) -> None:
        with pytest.raises(ConfigError, match=name):
            load({name: "many"})
