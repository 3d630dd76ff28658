#!/usr/bin/env python3
"""Generated expressions: the same bytes as jinja2, or both refuse.

    tests/vocab/compare_expressions.py [--count 20000] [--seed 0] [--build build] [-v]

Needs jinja2 and a build with tests. Where Python prints an address there is nothing to compare.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import tempfile
import warnings

import compare_templates
import expressions
import jinja_reference

sys.path.insert(0, str(pathlib.Path(jinja_reference.__file__).parent))
import make_cases  # noqa: E402


def compare(build, seeds):
    """(how many equal, how many refused by both, [(source, wanted, error, got, message)])"""
    data = json.dumps(make_cases.DATA)
    sources = [expressions.source(seed) for seed in seeds]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as variables:
        variables.write(data)
        variables.flush()
        answers = compare_templates.render_lines(build, variables.name, sources, "--sources")
    n_equal, n_refused, different = 0, 0, []
    warnings.simplefilter("ignore", SyntaxWarning)  # of Python, about what jinja2 compiles to
    for source, (got, message) in zip(sources, answers, strict=True):
        fresh = json.loads(data)  # some of jinja2's filters change lists
        want, error = jinja_reference.render_or_error(source, fresh)
        letters = re.sub("[^a-z]", "", (want or "").lower())
        if any(name in letters for name in ("generatorobject", "iteratorobject", "builtin", "reversedobject", "boundmethod")):
            continue
        if want != got:
            different.append((source, want, error, got, message))
        elif want is None:
            n_refused += 1
        else:
            n_equal += 1
    return n_equal, n_refused, different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--build", type=pathlib.Path,
                        default=compare_templates.ROOT / os.environ.get("WEFT_BUILD", "build"))
    parser.add_argument("-v", action="store_true", help="show every difference")
    args = parser.parse_args()
    n_equal, n_refused, different = compare(args.build, range(args.seed, args.seed + args.count))
    for source, want, error, got, message in different if args.v else []:
        print(f"{source}\n  jinja2: {want!r} {error!r}\n  weft:   {got!r} {message or ''}"[:700])
    print(f"{args.count} expressions: {n_equal} with the same bytes, {n_refused} refused by both, "
          f"{len(different)} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
