"""Generated expressions: filters, tests, methods, operators and functions on values of every kind.

Mostly each is given what it is made for, with the edges in it (nothing, negative, far too large);
sometimes anything at all, so that both sides have to refuse. `source(seed)` is one template.
"""

import random

STRINGS = [
    "''", "'a'", "'abc'", "'Hello World'", "'  pad  '", "'a,b,,c'", "'one two  three'", "'ÄÖü ß'",
    "'straße ǆ İ'", "'日本語 🎉'", "'line\\none\\r\\ntwo'", "'a\\tb'", "'42'", "'-7'", "'3.5'", "'1e3'", "'0x1f'",
    "'<b>x & \"y\"</b>'", "'it\\'s'", "'foo bar baz qux'", "'under_score'", "'UPPER'", "s", "u", "long", "html",
    "lines", "emoji", "('x<' | safe)", "'aXbXc'", "'they\\'re x2y bill\\'s'", "'well-known (fact) [x] {y}'",
]
LINKS = [
    "'http://a.example/b?c=d'", "'see www.example.org/x, or me@x.org.'", "'(http://x.com) <https://y.org/z>!'",
    "'mailto:a@b.com example.com foo.txt 1.2.3.4'", "'http://1.2.3.4:80/a http://[::1]/ www.a.b.c.dk'",
    "'a.b@c d@e.f g@h.i, (j@k.lm)'", "'www.x.com/a(b)c http://x.y/(z &amp; https://é.de'", "html", "long",
    "'https://example.com/a_very/long?path=yes#frag, end.'", "'xn--a.com HTTP://UP.COM www.'", "['www.a.com']",
]
NUMBERS = [
    "0", "1", "-1", "2", "3", "7", "42", "-7", "100", "1000000", "12345678901", "0.0", "1.0", "0.5", "-2.5",
    "2.675", "42.55", "1e16", "1e-7", "123456.789", "true", "false", "n", "f", "-0.0", "2.5", "3.5",
]
LISTS = [
    "[]", "[1]", "[3, 1, 2]", "[1, 2, 3, 4, 5, 6, 7]", "['b', 'A', 'c']", "['x', 'X', 'y']", "[1, 'a', none]",
    "[[1, 2], [3]]", "[1.5, 2, true]", "()", "(1,)", "(1, 'b')", "((1, 'a'), (2, 'b'))", "range(5)",
    "range(1, 10, 3)", "range(0)", "words", "mixed", "list", "['a', '', none, 0, 'b']", "['%s', 'a%']",
    "(words | map('upper'))", "[{'a': 1}, {'a': 0}, {}]",
    "['<a>' | safe, '<b>']", "[1, 1.0, true, '1']", "[(2, 'b'), (1, 'z'), (1, 'a')]", "[-1, 0.5, 10, 2]",
]
DICTS = [
    "{}", "{'a': 1}", "{'b': 2, 'a': 1}", "{'k': [1, {'z': none}], 'n': 'x'}", "{1: 'one', 2: 'two'}", "d", "big",
    "users[0]", "{'B': 'x', 'a': 'Y', 'c': 'z'}", "{'x y': '&', 'é': none, 'q': 1.5}", "{(1, 2): [3], none: true}",
]
RECORDS = ["users", "[{'name': 'x', 'age': 1}]", "[]", "tree"]
VIEWS = ["d.keys()", "d.values()", "d.items()", "big.values()"]
ANY = VIEWS + STRINGS + NUMBERS + LISTS + DICTS + RECORDS + ["none", "missing", "namespace(a=1)"]
PLAIN = ["'a'", "'x'", "','", "' '", "''", "1", "0", "2", "-1", "none", "true", "'ab'", "missing", "[1]", "'name'"]

N = ["0", "1", "2", "3", "5", "8", "20", "-1", "100", "true"]
C = ["'*'", "'-'", "' '", "'é'", "'ab'", "''"]
S = ["'a'", "'b'", "'X'", "'l'", "' '", "','", "'ab'", "''", "'\\n'", "'o'", "'日'", "'foo'", "none"]
B = ["true", "false", "0", "1"]
ATTRIBUTE = ["attribute='name'", "attribute='age'", "attribute='city'", "attribute='tags.0'", "attribute='nope'"]


def pick(r, *pools):
    """Arguments from the pools in order, as many as it likes."""
    return [r.choice(p) for p in pools[: r.randrange(len(pools) + 1)]]


def some(r, *keywords):
    return [k for k in keywords if r.random() < 0.4]


FILTERS = {
    "abs": (NUMBERS, lambda r: []),
    "attr": (ANY, lambda r: [r.choice(["'upper'", "'name'", "'items'", "'a'", "'nope'"])]),
    "batch": (LISTS + STRINGS, lambda r: [r.choice(N[1:])] + pick(r, PLAIN)),
    "capitalize": (STRINGS, lambda r: []),
    "center": (STRINGS, lambda r: pick(r, N)),
    "count": (STRINGS + LISTS + DICTS, lambda r: []),
    "d": (ANY, lambda r: pick(r, PLAIN, B)),
    "default": (ANY, lambda r: pick(r, PLAIN) + some(r, "boolean=true")),
    "dictsort": (DICTS, lambda r: some(r, "by='value'", "reverse=true", "case_sensitive=true")),
    "e": (ANY, lambda r: []),
    "escape": (STRINGS, lambda r: []),
    "filesizeformat": (NUMBERS + ["'1500'", "10**9", "999999", "1023"], lambda r: pick(r, B)),
    "first": (ANY, lambda r: []),
    "float": (ANY, lambda r: pick(r, PLAIN)),
    "forceescape": (STRINGS, lambda r: []),
    "format": (["'%s-%s'", "'x=%d'", "'%(a)s'", "'%5.2f|%-6s'", "'%%'", "'%r'", "'%s' | safe"],
               lambda r: pick(r, ANY, ANY) if r.random() < 0.8 else ["a=1"]),
    "groupby": (RECORDS + ["[(1, 'a'), (1, 'b'), (2, 'a')]", "['a', 'b', 'A']"],
                lambda r: [r.choice(["'city'", "'age'", "0", "1", "'name'", "'nope'"])] +
                some(r, "default='?'", "case_sensitive=true")),
    "indent": (STRINGS, lambda r: pick(r, ["2", "0", "'> '", "-1"], B, B)),
    "int": (ANY, lambda r: pick(r, PLAIN, ["10", "16", "2", "8", "0"])),
    "items": (DICTS, lambda r: []),
    "join": (LISTS + STRINGS + RECORDS, lambda r: pick(r, C) + some(r, r.choice(ATTRIBUTE))),
    "last": (ANY, lambda r: []),
    "length": (ANY, lambda r: []),
    "list": (ANY, lambda r: []),
    "lower": (ANY, lambda r: []),
    "map": (LISTS + RECORDS, lambda r: r.choice([
        [r.choice(ATTRIBUTE)], [r.choice(ATTRIBUTE), "default='?'"], ["'upper'"], ["'string'"], ["'length'"],
        ["'default', 'q', true"], ["'replace', 'a', 'b'"], ["'center', 5"], ["'round', 1"], ["'first'"], ["'tojson'"]])),
    "max": (LISTS + STRINGS + RECORDS, lambda r: some(r, r.choice(ATTRIBUTE), "case_sensitive=true")),
    "min": (LISTS + STRINGS + RECORDS, lambda r: some(r, r.choice(ATTRIBUTE), "case_sensitive=true")),
    "pprint": (ANY, lambda r: []),
    "reject": (LISTS, lambda r: r.choice([[], ["'odd'"], ["'none'"], ["'in', [1, 2]"], ["'string'"], ["'gt', 1"]])),
    "rejectattr": (RECORDS, lambda r: r.choice([["'admin'"], ["'age', 'gt', 26"], ["'city', 'defined'"], ["'tags'"]])),
    "replace": (STRINGS, lambda r: [r.choice(S), r.choice(S + N)] + pick(r, N)),
    "reverse": (ANY, lambda r: []),
    "round": (NUMBERS, lambda r: pick(r, ["0", "1", "2", "-1", "-2", "5"], ["'common'", "'floor'", "'ceil'", "'x'"])),
    "safe": (ANY, lambda r: []),
    "select": (LISTS, lambda r: r.choice([[], ["'odd'"], ["'none'"], ["'in', [1, 2]"], ["'string'"], ["'lt', 3"]])),
    "selectattr": (RECORDS, lambda r: r.choice([["'admin'"], ["'age', 'equalto', 30"], ["'name', 'in', 'Ann'"]])),
    "slice": (LISTS + STRINGS, lambda r: [r.choice(N[1:])] + pick(r, PLAIN)),
    "sort": (LISTS + RECORDS + STRINGS, lambda r: some(
        r, "reverse=true", "case_sensitive=true", r.choice(ATTRIBUTE + ["attribute='age,name'", "attribute=1"]))),
    "string": (ANY, lambda r: []),
    "striptags": (STRINGS + ["'<p>a <!-- b --> c</p>\\n  d'", "'a &lt;b&gt; &amp;&#65;&#x42;&#233; &nope; <'"],
                  lambda r: []),
    "sum": (LISTS + RECORDS, lambda r: some(r, r.choice(ATTRIBUTE), r.choice(["start=10", "start=0.5"]))),
    "title": (STRINGS, lambda r: []),
    "tojson": (ANY, lambda r: some(r, "indent=2", "sort_keys=true", "ensure_ascii=true", "separators=(',', ':')")),
    "trim": (STRINGS, lambda r: pick(r, S)),
    "truncate": (STRINGS, lambda r: pick(r, ["5", "9", "11", "20", "3"], B, ["'~'", "''", "'...'"], ["0", "3", "5"])),
    "unique": (LISTS + STRINGS + RECORDS, lambda r: some(r, r.choice(ATTRIBUTE), "case_sensitive=true")),
    "upper": (ANY, lambda r: []),
    "urlencode": (ANY, lambda r: []),
    "urlize": (LINKS + STRINGS, lambda r: some(r, "trim_url_limit=12", "nofollow=true", "target='_blank'", "rel='me a'",
                                               "extra_schemes=['tel:', 'x:']")),
    "wordcount": (STRINGS, lambda r: []),
    "wordwrap": (STRINGS + ["'--a--b--c-- d-e'", "'word1-2 3-4 a-b-c ---'"], lambda r: pick(r, ["5", "8", "20", "3"]) +
                 some(r, "break_long_words=false", "wrapstring='|'", "break_on_hyphens=false")),
    "xmlattr": (DICTS, lambda r: pick(r, B)),
}
TESTS = {
    **{name: (ANY, None) for name in "boolean callable defined escaped even false filter float integer iterable "
       "lower mapping none number odd sequence string test true undefined upper".split()},
    **{name: (ANY, PLAIN + NUMBERS[:8]) for name in "divisibleby eq equalto ge gt greaterthan in le lessthan lt ne "
       "sameas".split()},
}
METHODS = {
    **{name: (STRINGS, lambda r: []) for name in "capitalize casefold isalnum isalpha isascii isdecimal isdigit "
       "isidentifier islower isnumeric isprintable isspace istitle isupper lower swapcase title upper".split()},
    **{name: (STRINGS, lambda r: [r.choice(N)] + pick(r, C)) for name in ("center", "ljust", "rjust")},
    **{name: (STRINGS, lambda r: [r.choice(S)] + pick(r, N + ["none", "-3"], N + ["none", "-2"]))
       for name in ("count", "find", "index", "rfind", "rindex")},
    **{name: (STRINGS, lambda r: [r.choice(S + ["('a', 'H')", "()"])] + pick(r, N + ["none"], N + ["none"]))
       for name in ("startswith", "endswith")},
    **{name: (STRINGS, lambda r: pick(r, S)) for name in ("strip", "lstrip", "rstrip")},
    **{name: (STRINGS, lambda r: [r.choice(S)])
       for name in ("partition", "rpartition", "removeprefix", "removesuffix")},
    **{name: (STRINGS, lambda r: pick(r, S) + some(r, "maxsplit=1")) for name in ("split", "rsplit")},
    "splitlines": (STRINGS, lambda r: pick(r, B)),
    "expandtabs": (STRINGS, lambda r: pick(r, N)),
    "zfill": (STRINGS, lambda r: [r.choice(N)]),
    "replace": (STRINGS[:20], lambda r: [r.choice(S), r.choice(S)] + pick(r, N)),
    "join": (STRINGS, lambda r: [r.choice(LISTS + STRINGS + DICTS)]),
    "format": (["'{}:{}'", "'{0}{1}{0}'", "'{a}'", "'{:>5}|{:<5}'", "'{0!r:^9}'", "'{:,}'", "'{:.2f}'", "'{0[0]}'",
                "'{{}}{}'", "'{!s:.3}'", "'{:08.3f}'", "'{0.name}'", "'{!a}'", "'{:#x}{:+}'"],
               lambda r: [r.choice(ANY), r.choice(ANY)] + some(r, "a=1")),
    "format_map": (["'{a}'", "'{b}{a!r}'", "'{}'", "'{k[0]}'"], lambda r: [r.choice(DICTS)]),
    "maketrans": (STRINGS, lambda r: r.choice([["'ab'", "'xy'"], ["'ab'", "'xy'", "'c'"], ["{'a': 'b', 'o': none}"],
                                               ["{97: 'z'}"], ["'ab'", "'x'"]])),
    "translate": (STRINGS, lambda r: r.choice([["{97: 'x', 108: none}"], ["''.maketrans('alo', 'xyz')"], ["{}"],
                                               ["{97: 98, 32: '__'}"], ["''.maketrans({'a': 'b'})"]])),
    "get": (DICTS, lambda r: [r.choice(["'a'", "1", "'nope'", "none", "[1]"])] + pick(r, PLAIN)),
    **{name: (DICTS, lambda r: []) for name in ("items", "keys", "values", "copy")},
    "fromkeys": (DICTS, lambda r: [r.choice(LISTS + STRINGS)] + pick(r, PLAIN)),
    **{name: (LISTS, lambda r: [r.choice(PLAIN)]) for name in ("append", "pop", "nope")},
}
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
LAZY = ["batch", "items", "map", "reject", "reverse", "select", "slice", "unique"]
WRAPPERS = ["{{ %s }}", "{{ (%s) | list }}", "{{ [%s] }}", "{%% for x in %s %%}{{ loop.index }}{{ x }};{%% endfor %%}",
            "{{ (%s) | tojson }}", "{{ (%s) | map('string') | join('/') }}"]


def applied(r, table, form):
    name = r.choice(sorted(table))
    values, arguments = table[name]
    values = values if r.random() < 0.9 else ANY
    args = arguments(r) if r.random() < 0.93 else [r.choice(PLAIN) for _ in range(r.randrange(4))]
    return form(r.choice(values), name, ", ".join(args))


def expression(r):
    kind = r.randrange(12)
    if kind < 5:
        return applied(r, FILTERS, lambda v, name, args: f"{v} | {name}" + (f"({args})" if args else ""))
    if kind < 6:
        name = r.choice(sorted(TESTS))
        values, others = TESTS[name]
        return f"{r.choice(values)} is {name}" + (f"({r.choice(others)})" if others else "")
    if kind < 8:
        return applied(r, METHODS, lambda v, name, args: f"({v}).{name}({args})")
    if kind < 10:
        same = r.choice([STRINGS, NUMBERS, NUMBERS, LISTS, DICTS])
        other = same if r.random() < 0.8 else ANY[len(VIEWS):]  # views are no sets here
        operator = r.choice(OPERATORS)
        if operator == "*" and same is not NUMBERS:
            other = N  # or Python would make texts of many gigabytes
        elif operator == "*":
            other = NUMBERS
        return f"{r.choice(same)} {operator} {r.choice(other)}"
    if kind == 10:
        ends = ["", "0", "1", "-1", "2", "-3", "9"]
        key = r.choice([r.choice(PLAIN), f"{r.choice(ends)}:{r.choice(ends)}",
                        f"{r.choice(ends)}:{r.choice(ends)}:{r.choice(['1', '-1', '2', '-2', '0'])}"])
        return f"({r.choice(STRINGS + LISTS + LISTS + VIEWS + ['n', 'f', 'd', 'nil'])})[{key}]"
    return r.choice([
        f"range({', '.join(pick(r, N, N, N))})", f"dict({r.choice(DICTS + LISTS)})", f"dict(a={r.choice(ANY)})",
        f"dict.fromkeys({r.choice(LISTS + STRINGS)}, {r.choice(PLAIN)})", f"namespace(a={r.choice(ANY)}).a",
        f"cycler({r.choice(ANY)}, 2).next()", f"joiner({r.choice(PLAIN)})()", f"({r.choice(ANY)}) ~ ({r.choice(ANY)})",
        f"({r.choice(ANY)}).{r.choice(['name', 'a', 'start', 'k39', '0'])}",
        f"{r.choice(ANY)} if {r.choice(ANY)} else {r.choice(ANY)}", f"not {r.choice(ANY)}", f"-{r.choice(NUMBERS)}"])


def source(seed):
    r = random.Random(seed)
    e = expression(r)
    if any(f"| {name}" in e for name in LAZY):
        e = f"({e}) | list"  # jinja2 gets to see an error in them only when it needs the item
    if r.random() < 0.15:
        e = applied(r, FILTERS, lambda v, name, args: f"({e}) | {name}" + (f"({args})" if args else ""))
    return r.choice(WRAPPERS[:1] * 5 + WRAPPERS) % e
