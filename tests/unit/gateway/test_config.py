from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.config import Config, ConfigRefused, load_config
from gateway.contract.signing import public_text

KEY = public_text(Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key())
GOOD = f"""
tenant = "school"
gateway = "gw_1"
state_dir = "/tmp/x"
[broker]
host = "127.0.0.1"
port = 1883
[command_keys]
school-1 = "{KEY}"
[[lines]]
line_id = "l1"
transport = "tcp"
host = "127.0.0.1"
port = 5020
timeout_ms = 200
[[lines]]
line_id = "l2"
transport = "serial"
path = "/dev/ttyUSB0"
baud = 19200
[[devices]]
device_id = "dev_1"
line_id = "l1"
unit = 1
map_id = "chw.hwo1"
kind = "outlet"
"""


class TestLoadConfig:
    def load(self, folder: Path, text: str) -> object:
        path = folder / "gateway.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    def test_reads_what_is_right(self, tmp_path: Path) -> None:
        path = tmp_path / "gateway.toml"
        path.write_text(GOOD, encoding="utf-8")
        config = load_config(path)
        assert [(line.transport, line.flags_period_ms) for line in config.lines] == [("tcp", 100), ("serial", 1_000)]
        assert config.lines[1].baud == 19_200
        assert config.devices[0].unit == 1

    @pytest.mark.parametrize(
        ("old", "new", "complaint"),
        [
            ('tenant = "school"', "", "tenant: write the id"),
            ('gateway = "gw_1"', 'gateway = "GW 1"', "gateway: 'GW 1' cannot stand in a topic"),
            ("port = 1883", "port = 0", r"\[broker\] port: write a whole number from 1 to 65535"),
            (f'"{KEY}"', '"short"', r"\[command_keys\] school-1: write the key's 32 bytes"),
            (f'school-1 = "{KEY}"', "", "no command is ever obeyed"),
            (
                'transport = "tcp"',
                'transport = "pigeon"',
                r'\[lines 1\] transport: write one of "tcp", "rtu_tcp", "serial"',
            ),
            ('line_id = "l2"', 'line_id = "l1"', "each line its own line_id"),
            ("unit = 1", "unit = 300", r"\[devices 1\] unit: write a whole number from 1 to 247"),
            ('line_id = "l1"\nunit', 'line_id = "l9"\nunit', "no line is called 'l9'"),
            ('kind = "outlet"', 'kind = "lamp"', r"\[devices 1\] kind"),
            ("[broker]", "[broker", "is not TOML"),
            ("timeout_ms", "timeout_mss", r"\[lines 1\] timeout_mss: is no key here; did you mean timeout_ms\?"),
            ("[broker]", '[broker]\ncafile = "/ca"', r"\[broker\] cafile: is no key here; did you mean ca\?"),
            ("[broker]", "look_period = 1\n[broker]", "look_period: is no key here; did you mean look_period_s"),
            ("unit = 1", "unit = 1\nunits = 2", r"\[devices 1\] units: is no key here; did you mean unit\?"),
            ("[broker]", "zzz = 1\n[broker]", "zzz: is no key here: take it out, or write one of backend_url, broker"),
            ("baud = 19200", 'host = "127.0.0.1"', r"\[lines 2\] host: is no key here"),
        ],
    )
    def test_complaints_name_file_field_and_remedy(self, tmp_path: Path, old: str, new: str, complaint: str) -> None:
        with pytest.raises(ConfigRefused, match=complaint) as caught:
            self.load(tmp_path, GOOD.replace(old, new))
        assert "gateway.toml" in str(caught.value)

    def test_knows_every_key_it_reads(self, tmp_path: Path) -> None:
        top = (
            "journal_rows_max = 100\njournal_free_bytes_min = 0\nmeter_period_s = 5\nresend_s = 2\nlook_period_s = 0\n"
            "sample_period_ms = 100\n"
            'backend_url = "http://b"\nmetrics_port = 0\n[broker]\nca = "a"\ncert = "b"\nkey = "c"\n'
        )
        periods = 'flags_period_ms = 20\nhot_period_ms = 20\nidle_period_ms = 20\nparity = "N"\n'
        text = GOOD.replace("[broker]\n", top)
        text = text.replace("timeout_ms = 200", "timeout_ms = 200\nin_flight = 2\nbaud = 9600\n" + periods)
        text = text.replace("baud = 19200", "baud = 19200\ntimeout_ms = 100\n" + periods)
        assert self.load(tmp_path, text)

    def test_a_unit_belongs_to_one_device(self, tmp_path: Path) -> None:
        twice = GOOD + GOOD[GOOD.index("[[devices]]") :].replace("dev_1", "dev_2")
        with pytest.raises(ConfigRefused, match="already taken"):
            self.load(tmp_path, twice)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigRefused, match=r"nowhere\.toml: cannot be read"):
            load_config(tmp_path / "nowhere.toml")


COMPOSED = """
[[devices]]
device_id = "dev_c1"
kind = "outlet"
[[devices.parts]]
role = "valve"
line_id = "l1"
unit = 5
map_id = "waveshare.relay8"
[[devices.parts]]
role = "meter"
line_id = "l2"
unit = 5
map_id = "wirenboard.wbmcm8"
k_factor = "450"
"""


class TestParts:
    def load(self, folder: Path, text: str) -> Config:
        path = folder / "gateway.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    def test_are_units_of_their_own_and_the_valve_stands_for_all(self, tmp_path: Path) -> None:
        device = self.load(tmp_path, GOOD + COMPOSED).devices[1]
        assert (device.line_id, device.unit, device.map_id, device.kind) == ("l1", 5, "waveshare.relay8", "outlet")
        assert [(place.role, place.line_id, place.unit) for place in device.places] == [
            ("valve", "l1", 5),
            ("meter", "l2", 5),
        ]
        assert device.parts[1].k_factor == "450"

    def test_of_several_outlets_may_share_a_unit_by_channels(self, tmp_path: Path) -> None:
        def channel(number: int) -> str:
            own = f'points = {{ valve_cmd = "relay_{number}", valve_pulse = "pulse_{number}" }}'
            text = COMPOSED.replace("dev_c1", f"dev_c{number}").replace('relay8"', 'relay8"\n' + own)
            return text.replace('"450"', f'"450"\npoints = {{ pulses_total = "count_{number}" }}')

        assert len(self.load(tmp_path, GOOD + channel(1) + channel(2)).devices) == 3
        with pytest.raises(ConfigRefused, match="dev_c3: unit: 5 is already taken on its line; parts that share it"):
            self.load(tmp_path, GOOD + channel(1) + channel(1).replace("dev_c1", "dev_c3"))
        for both in (COMPOSED + channel(1).replace("dev_c1", "dev_c3"), channel(3) + COMPOSED):
            # one has the map's own relay and input, which may be the other's
            with pytest.raises(ConfigRefused, match="unit: 5 is already taken on its line; parts that share it"):
                self.load(tmp_path, GOOD + both)

    @pytest.mark.parametrize(
        ("old", "new", "complaint"),
        [
            ('role = "meter"', 'role = "valve"', "parts: write one valve and one meter"),
            ('role = "meter"', 'role = "pump"', 'devices 2 part 2. role: write one of "valve", "meter", "temperature"'),
            ('kind = "outlet"\n[[devices.parts]]', 'kind = "door"\n[[devices.parts]]', "kind: what is made of parts"),
            ('line_id = "l2"\nunit = 5', 'line_id = "l9"\nunit = 5', "no line is called 'l9'"),
            ('unit = 5\nmap_id = "waveshare', 'unit = 1\nmap_id = "waveshare', "unit: 1 is already taken"),
            ('line_id = "l2"\nunit = 5', 'line_id = "l1"\nunit = 5', "unit: 5 is already taken"),
            ('k_factor = "450"', "k_factor = 450", "write the pulses per liter as text"),
            ('k_factor = "450"', 'k_factor = "-1"', "write the pulses per liter as text"),
            ('k_factor = "450"', 'k_factor = "1/0"', "write the pulses per liter as text"),
            ('k_factor = "450"', 'k_factor = "1e999999"', "write the pulses per liter as text"),
            ('k_factor = "450"', 'points = ["a"]', "points: write roles and points"),
            ('k_factor = "450"', 'kfactor = "450"', "did you mean k_factor"),
            (
                'kind = "outlet"\n[[devices.parts]]',
                'kind = "outlet"\nunit = 3\n[[devices.parts]]',
                "unit: is no key here",
            ),
        ],
    )
    def test_are_refused_with_the_place(self, tmp_path: Path, old: str, new: str, complaint: str) -> None:
        assert COMPOSED.count(old) == 1
        with pytest.raises(ConfigRefused, match=complaint.replace("[", r"\[")):
            self.load(tmp_path, GOOD + COMPOSED.replace(old, new))


class TestCare:
    def config(self, tmp_path: Path, top: str = "", broker: str = "") -> Path:
        key = public_text(Ed25519PrivateKey.generate().public_key())
        path = tmp_path / "gateway.toml"
        path.write_text(
            f'tenant = "s"\ngateway = "g"\nstate_dir = "{tmp_path}"\n{top}\n'
            f'[broker]\nhost = "h"\n{broker}\n[command_keys]\nk = "{key}"\n',
            encoding="utf-8",
        )
        return path

    def test_reads_certificate_backend_and_metrics(self, tmp_path: Path) -> None:
        top = 'backend_url = "https://campus"\nmetrics_port = 9464'

        config = load_config(self.config(tmp_path, top, 'ca = "/ca"\ncert = "/cert"\nkey = "/key"'))

        assert (config.backend_url, config.metrics_port, config.broker_cert) == ("https://campus", 9464, Path("/cert"))
        assert config.maps_dir == tmp_path / "register_maps"

    def test_needs_none_of_them(self, tmp_path: Path) -> None:
        config = load_config(self.config(tmp_path))

        assert (config.backend_url, config.metrics_port, config.broker_cert) == ("", 0, None)

    @pytest.mark.parametrize(
        ("top", "broker", "word"),
        [
            ("", 'cert = "/cert"', "cert and key together"),
            ("", 'key = "/key"', "cert and key together"),
            ("backend_url = 5", "", "backend_url"),
            ("metrics_port = 70000", "", "metrics_port"),
        ],
    )
    def test_says_what_to_write(self, tmp_path: Path, top: str, broker: str, word: str) -> None:
        with pytest.raises(ConfigRefused, match=word):
            load_config(self.config(tmp_path, top, broker))

    def test_names_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "gateway.toml"
        path.write_bytes(b"\xff\xfe")

        with pytest.raises(ConfigRefused, match="UTF-8"):
            load_config(path)
