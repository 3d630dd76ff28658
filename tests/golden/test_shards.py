"""Two ranks that share a real model find what one finds alone, within the rounding of activations.

The program `shards` (shards.c) makes the comparison; this only says where it and the models are.
"""
import os
import subprocess

import numpy as np
import pytest

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_two_ranks_find_what_one_finds(weft, tmp_path, request, name):
    model = str(request.getfixturevalue(name))
    program = weft.parent / "tests" / "golden" / "shards"
    assert program.exists(), f"{program} is not built: run make"
    tokens = tmp_path / "tokens"
    tokens.write_bytes(np.load(os.path.join(FIXTURES, name + ".npz"))["tokens"].astype("<i4").tobytes())
    done = subprocess.run([str(program), model, str(tokens)], capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok ")
