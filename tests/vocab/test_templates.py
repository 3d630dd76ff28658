"""Chat templates over generated conversations, against jinja2 set up as transformers sets it up.

The templates in tests/golden/jinja/templates are written in the style of the families people run;
compare_templates.py, which does the work here, takes any other folder of templates.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import compare_expressions  # noqa: E402
import compare_templates  # noqa: E402
import conversations  # noqa: E402
import jinja2.defaults  # noqa: E402
import jinja_reference  # noqa: E402
import make_cases  # noqa: E402

TEMPLATES = sorted((compare_templates.ROOT / "tests" / "golden" / "jinja" / "templates").glob("*.jinja"))
N_CONVERSATIONS = 300
N_EXPRESSIONS = 3000


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_same_bytes_as_jinja2(path):
    build = compare_templates.ROOT / os.environ.get("WEFT_BUILD", "build")
    n_rendered, _, different = compare_templates.compare(build, path, N_CONVERSATIONS)
    assert not different, different[0]
    assert n_rendered > N_CONVERSATIONS // 2


def test_expressions_give_the_same_bytes():
    build = compare_templates.ROOT / os.environ.get("WEFT_BUILD", "build")
    n_equal, _, different = compare_expressions.compare(build, range(N_EXPRESSIONS))
    assert n_equal > N_EXPRESSIONS // 2
    assert not different, different[0]


@pytest.mark.parametrize("name", sorted({*jinja2.defaults.DEFAULT_FILTERS} - {"random"}))
def test_every_filter_has_a_case(name):
    assert any(f"| {name}" in s or f"'{name}'" in s for s in make_cases.FILTERS), name


@pytest.mark.parametrize("name", sorted(jinja2.defaults.DEFAULT_TESTS))
def test_every_test_has_a_case(name):
    cases = make_cases.EXPRESSIONS + make_cases.FILTERS
    assert any(f"is {name}" in s or f"is not {name}" in s or f"'{name}'" in s for s in cases), name


@pytest.mark.parametrize("seed", range(8))
def test_the_program_gives_the_same_bytes(weft, seed):
    path = next(p for p in TEMPLATES if p.stem == "tools")
    given = json.loads(json.dumps(conversations.variables(seed)))
    ran = subprocess.run([str(weft), "template", str(path)], input=json.dumps(given).encode(),
                         capture_output=True, timeout=60, check=False)
    assert ran.stdout.decode() == (jinja_reference.render(path.read_text(encoding="utf-8"), given) or "")


def test_the_program_says_why_a_template_refuses(weft, tmp_path):
    path = tmp_path / "picky.jinja"
    path.write_text("{{ x }}\n{{ raise_exception('no') }}")
    ran = subprocess.run([str(weft), "template", str(path)], input=b"{}", capture_output=True,
                         timeout=60, check=False)
    assert ran.returncode == 1 and ran.stdout == b""
    assert ran.stderr.decode() == f"weft: {path}: line 2, column 19: no\n"
