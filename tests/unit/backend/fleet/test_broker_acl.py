from pathlib import Path

from backend.fleet.broker_acl import Account, acl, mosquitto_conf

ACCOUNTS = [Account("gxu", "gw_west"), Account("gzu", "gw_1")]


class TestAcl:
    def test_gives_each_gateway_its_own_prefix_for_mosquitto(self) -> None:
        text = acl("mosquitto", ACCOUNTS)

        assert "user gxu/gw_west\ntopic write ct/v1/gxu/gw_west/up/#\ntopic read ct/v1/gxu/gw_west/down/#\n" in text
        assert text.count("user ") == 3
        assert "pattern" not in text
        assert "topic readwrite" not in text

    def test_gives_each_gateway_its_own_prefix_for_emqx_and_denies_the_rest(self) -> None:
        text = acl("emqx", ACCOUNTS)

        assert '{allow, {username, "gzu/gw_1"}, publish, ["ct/v1/gzu/gw_1/up/#"]}.' in text
        assert '{allow, {username, "gzu/gw_1"}, subscribe, ["ct/v1/gzu/gw_1/down/#"]}.' in text
        assert text.endswith("{deny, all}.\n")
        rules = [line for line in text.splitlines() if not line.startswith("%%")]
        assert all(line.endswith("}.") for line in rules)
        assert len(rules) == 2 + 2 * len(ACCOUNTS) + 1

    def test_without_gateways_lets_in_our_own_processes_only(self) -> None:
        assert acl("mosquitto", []).count("user ") == 1


class TestMosquittoConf:
    def test_lets_nobody_in_without_a_certificate(self) -> None:
        text = mosquitto_conf(Path("/etc/x"), port=8883)

        for line in ("require_certificate true", "use_identity_as_username true", "allow_anonymous false"):
            assert line in text.splitlines()
        assert "listener 8883" in text.splitlines()
        assert "user root" not in text
