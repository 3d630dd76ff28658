"""Packed weights are kept between starts: same answers, checked files, nothing kept when off."""
import pytest

PROMPT = ("The capital of France is", "--max-tokens", "8", "--temp", "0", "--raw")


@pytest.fixture
def cached(run, smollm2, tmp_path):
    """cached(*options) answers with tmp_path as the user's cache; the files kept there."""
    def call(*options):
        done = run("run", smollm2, *PROMPT, *options, env={"XDG_CACHE_HOME": str(tmp_path)})
        return done.stdout, done.stderr, list((tmp_path / "weft").glob("packed/*"))
    return call


def test_the_second_start_maps_what_the_first_packed(cached):
    answer, err, files = cached()
    assert len(files) == 1 and files[0].suffix == ".pack" and "warning" not in err
    before = files[0].stat().st_ino
    again, err, files = cached()
    assert again == answer and "warning" not in err
    assert len(files) == 1 and files[0].stat().st_ino == before


def test_a_damaged_file_is_reported_and_replaced(cached):
    answer, _, files = cached()
    size = files[0].stat().st_size
    with open(files[0], "r+b") as file:
        file.seek(size // 3)
        byte = file.read(1)[0]
        file.seek(size // 3)
        file.write(bytes([byte ^ 8]))
    again, err, files = cached()
    assert again == answer and "its checksum is wrong" in err
    assert len(files) == 1
    again, err, files = cached()
    assert again == answer and "warning" not in err
    with open(files[0], "r+b") as file:
        file.truncate(size // 2)
    again, err, files = cached()
    assert again == answer and "not used" in err
    assert files[0].stat().st_size == size


def test_nothing_is_kept_when_off_or_too_large(cached, run, smollm2):
    answer, err, files = cached("--pack-cache", "off")
    assert files == [] and "warning" not in err
    again, err, files = cached("--pack-cache", "20M")
    assert again == answer and files == []
    bad = run("run", smollm2, "Hi", "--pack-cache", "much", code=2)
    assert bad.stderr == "weft: option --pack-cache is 'much', wanted a size such as 8G, or off\n"
