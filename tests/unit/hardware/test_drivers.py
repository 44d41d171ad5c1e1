from hardware.drivers import PAGE, page
from hardware.points import load, map_ids


class TestPage:
    def test_is_fresh(self) -> None:
        assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m hardware.generate"

    def test_names_every_map_and_claims_no_metal(self) -> None:
        text = page()
        for map_id in map_ids():
            assert f"`{map_id}`" in text
            assert load(map_id).status["metal"].startswith("no")
