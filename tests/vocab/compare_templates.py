#!/usr/bin/env python3
"""Chat templates over generated conversations: the same bytes as jinja2, or both refuse.

    tests/vocab/compare_templates.py FOLDER|FILE.jinja... [--conversations 300] [--build build]

Needs jinja2 and a build with tests. Prints a line a template, each difference in full with -v, and
ends with the counts; the exit code is 1 when anything differs. The clock both sides see stands
still, so that templates which print the date can be compared.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "golden" / "jinja"), str(pathlib.Path(__file__).parent)]
import conversations  # noqa: E402
import jinja_reference  # noqa: E402

NOW_S = 1700000000  # as tests/vocab/render_lines.c has it


class StandingClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW_S, tz)


jinja_reference.datetime = StandingClock


def render_lines(build, path, objects, *options):
    """[(text or None, message or None)] of what weft makes of each object."""
    lines = b"".join(json.dumps(o, ensure_ascii=i % 2 == 0).encode() + b"\n"
                     for i, o in enumerate(objects))
    ran = subprocess.run([str(build / "tests" / "vocab" / "render_lines"), *options, str(path)],
                         input=lines, capture_output=True, timeout=600, check=False)
    if ran.returncode != 0:
        return [(None, ran.stderr.decode())] * len(objects)
    answers = []
    rest = ran.stdout
    while rest:
        head, _, rest = rest.partition(b"\n")
        n_bytes = int(head[1:])
        text = rest[:n_bytes].decode()
        rest = rest[n_bytes:]
        answers.append((text, None) if head[:1] == b"=" else (None, text))
    return answers


def compare(build, path, n_conversations):
    """(how many rendered alike, [(error, message)] refused alike, [(seed, wanted, error, got, message)]
    that differ)"""
    source = path.read_text(encoding="utf-8")
    given = [json.loads(json.dumps(conversations.variables(seed))) for seed in range(n_conversations)]
    answers = render_lines(build, path, given)
    n_rendered, refused, different = 0, [], []
    for seed, (variables, (got, message)) in enumerate(zip(given, answers, strict=True)):
        want, error = jinja_reference.render_or_error(source, variables)
        if want != got:
            different.append((seed, want, error, got, message))
        elif want is None:
            refused.append((error, message))
        else:
            n_rendered += 1
    return n_rendered, refused, different


def show(difference):
    seed, want, error, got, message = difference
    print(f"  conversation {seed}:")
    if want is not None and got is not None:
        at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
        want, got = want[max(at - 60, 0):at + 60], got[max(at - 60, 0):at + 60]
    print(f"    jinja2: {want!r} {error!r}"[:600])
    print(f"    weft:   {got!r} {message or ''}"[:600])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    parser.add_argument("--conversations", type=int, default=300)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / os.environ.get("WEFT_BUILD", "build"))
    parser.add_argument("-v", action="store_true", help="show why each refused, and the first differences")
    args = parser.parse_args()
    files = [f for p in args.paths for f in (sorted(p.rglob("*.jinja")) if p.is_dir() else [p])]
    total = [0, 0, 0]
    for path in files:
        n_rendered, refused, different = compare(args.build, path, args.conversations)
        counts = n_rendered, len(refused), len(different)
        print("%-60s %5d equal %5d refused by both %5d differ" % (path.stem, *counts), flush=True)
        for difference in different[:3] if args.v else []:
            show(difference)
        for error, message in sorted({(str(e), m) for e, m in refused}) if args.v else []:
            print(f"  refused: {error!r} / {message!r}"[:300])
        total = [a + b for a, b in zip(total, counts)]
    print(f"{len(files)} templates: {sum(total)} renderings, {total[0]} with the same bytes, "
          f"{total[1]} refused by both, {total[2]} differ")
    return 1 if total[2] else 0


if __name__ == "__main__":
    sys.exit(main())
