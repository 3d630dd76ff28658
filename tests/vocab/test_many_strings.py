"""many_strings.py over a few hundred strings of the real vocabularies, RWKV and PLaMo 2. The families of
tokenizer.json have test_tokenizer_json.py."""
from vocab import many_strings


def test_generated_strings_are_equal(weft, smollm2, gemma3):
    for row in many_strings.rows(weft, 400, [smollm2, gemma3], names=[]):
        assert row["tried"] > 350
        assert row["bad"] == [], row["family"]
