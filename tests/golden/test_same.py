"""On both real models a request's answer has the same bits whatever else the engine does.

The program `same` (same.c) makes the comparisons; this only says where it and the models are.
"""
import subprocess

import pytest

CHECKS = 8


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_answers_do_not_depend_on_the_others(weft, request, tmp_path, name):
    model = str(request.getfixturevalue(name))
    program = weft.parent / "tests" / "same"
    assert program.exists(), f"{program} is not built: run make"
    done = subprocess.run([str(program), model, str(tmp_path / "pages")], capture_output=True,
                          text=True, timeout=1800)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == CHECKS
