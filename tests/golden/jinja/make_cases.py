"""Writes cases.json: small templates, their variables, and what jinja2 makes of them.

Run it after adding a case; tests/unit/test_jinja.c reads the file. A case whose "want" is null
must fail. Each line below is a template, or a pair of template and variables.
"""

import json
import pathlib

from jinja_reference import render

DATA = {
    "s": "Hello World",
    "u": "Straße ŉ ﬁ ΣΑΣ İ ǆ",
    "n": 42,
    "f": 3.5,
    "z": 0,
    "yes": True,
    "no": False,
    "nil": None,
    "list": [3, 1, 2],
    "mixed": [1, "a", None, True, 2.5, [1, 2], {"k": "v"}],
    "words": ["foo", "Bar", "baz", "foo"],
    "d": {"b": 1, "a": 2, "C": 3},
    "users": [
        {"name": "Ann", "age": 30, "city": "Rome", "admin": True, "tags": ["x", "y"]},
        {"name": "bob", "age": 25, "city": "rome", "admin": False, "tags": []},
        {"name": "Cy", "age": 30, "city": "Oslo", "tags": ["z"]},
    ],
    "tree": [{"v": 1, "c": [{"v": 2, "c": [{"v": 3, "c": []}]}, {"v": 4, "c": []}]}],
    "html": "<a href=\"x\">it's & that</a>",
    "lines": "one\ntwo\n\nthree\n",
    "long": "The quick brown fox jumps over the lazy dog, a well-known pangram.",
    "big": {"k%d" % i: i for i in range(40)},
    "emoji": "a🎉b日本",
}

LITERALS = r"""
{{ 1 }}|{{ 1.0 }}|{{ -1 }}|{{ 1e3 }}|{{ 1.5e-7 }}|{{ 1_000 }}|{{ 0x1f }}|{{ 0b101 }}|{{ 0o17 }}
{{ 1e16 }}|{{ 123456789012345680.0 }}|{{ 1e22 }}|{{ 0.1 + 0.2 }}|{{ 1/3 }}|{{ 1e-5 }}|{{ 0.0001 }}
{{ 5e-324 }}|{{ 1.7976931348623157e308 }}|{{ -0.0 }}|{{ 100000.0 }}|{{ 9007199254740993.0 }}
{{ 'a' 'b' "c" }}|{{ 'it\'s' }}|{{ "a\tb\\n\x41\u00e9\U0001F389\101\q" }}
{{ true }}|{{ True }}|{{ false }}|{{ none }}|{{ None }}|{{ missing }}|{{ [1, 'a', none] }}|{{ (1,) }}|{{ () }}|{{ (1, 2) }}
{{ {'a': 1, 'b': [1, {'c': none}]} }}|{{ {} }}|{{ {1: 2, true: 3, 'x': 4}['x'] }}|{{ [[], {}, ()] }}
{{ ["it's", 'say "x"', 'both \' and "', '\n\t\\', 'é', '\u200b', '\x7f'] }}
{{ 9223372036854775807 }}|{{ -9223372036854775807 - 1 }}
{{ [1, 2, 3,] }}|{{ {'a': 1,} }}|{{ 1, 2 }}
""".strip("\n").split("\n")

EXPRESSIONS = r"""
{{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }}
{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 2.0 ** 0.5 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}
{{ 1 + 2 * 3 - 4 / 2 }} {{ (1 + 2) * 3 }} {{ 1 ~ (2 + 3) }} {{ 'a' ~ 1 ~ none ~ missing ~ 2.0 }}
{{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [1, 2] * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' * -1 }}
{{ true + 1 }} {{ true * 3 }} {{ -true }} {{ +5 }} {{ not true }} {{ not not 1 }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 2) }} {{ 1 == 1.0 }} {{ true == 1 }}
{{ 'a' in 'abc' }} {{ 'x' not in 'abc' }} {{ 1 in [1, 2] }} {{ 'a' in {'a': 1} }} {{ 3 in range(5) }} {{ 'a' in missing }}
{{ none == none }} {{ none == false }} {{ missing == missing }} {{ missing == none }} {{ [] == () }} {{ [1] == [1.0] }} {{ {'a': 1} == {'a': true} }}
{{ 'yes' if n > 40 else 'no' }} {{ 'yes' if n < 40 }}| {{ 1 if false else 2 if false else 3 }}
{{ 0 or 'x' }} {{ 'a' and 'b' }} {{ '' or none or [] }} {{ 0 and 1 }} {{ missing or 'd' }}
{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[:-3] }} {{ s[20:] }}| {{ s[::2] }} {{ s[-3:] }} {{ s[5:1] }}| {{ emoji[1] }} {{ emoji[1:4] }} {{ emoji[::-1] }}
{{ list[0] }} {{ list[-1] }} {{ list[1:] }} {{ list[::-1] }} {{ list[10:] }} {{ list[10] }}| {{ list[:2] }} {{ list[-2:] }} {{ list[::-2] }} {{ range(10)[2:8:3]|list }}
{{ list.0 }} {{ d.a }} {{ d['a'] }} {{ d.nope }}| {{ d['nope'] }}| {{ users[0].name }} {{ users[0]['tags'][1] }} {{ users.0.name }}
{{ d.items() }} {{ d.keys() }} {{ d.values() }} {{ d.items }}
{{ range(5) }} {{ range(1, 5)|list }} {{ range(5, 0, -2)|list }} {{ range(0) | list }} {{ range(3)[1] }} {{ range(1, 10, 2) | length }} {{ range(3) == range(0, 3, 1) }}
{{ dict(a=1, b=2) }} {{ dict({'a': 1}, b=2) }} {{ dict([('x', 1)]) }}
{{ '%s and %d, %5.2f|%-5s|%05d|%x|%r|%%' % ('a', 3, 2.5, 'b', 42, 255, 'q') }}
{{ '%s' % 'x' }} {{ '%s' % [1] }} {{ '%(a)s' % {'a': 1} }} {{ '%+d % d' % (1, 2) }} {{ '%c%c' % (65, 'B') }} {{ '%e %g %G' % (12345.678, 1e-10, 1e20) }} {{ '%#x %o' % (255, 8) }} {{ '%.3s' % 'abcdef' }} {{ '%*d' % (5, 3) }}
{{ '{} {}'.format(1, 'a') }} {{ '{1} {0}'.format('a', 'b') }} {{ '{x} {y!r}'.format(x=1, y='q') }} {{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }} {{ '{:05d} {:,} {:.2f} {:x} {:b} {:%}'.format(42, 1234567, 3.14159, 255, 5, 0.5) }} {{ '{{}} {}'.format(1) }}
{{ '{0[a]} {0.b}'.format({'a': 1, 'b': 2}) }} {{ '{:{}}'.format('x', 5) }}| {{ '{:e} {:g} {:10.3f}|'.format(1234.5, 0.00001, 2.5) }} {{ '{} {} {}'.format(none, true, [1]) }} {{ '{:+d} {: d}'.format(3, 4) }}
{{ {'a': {'b': [10, 20]}}.a.b[1] }} {{ ('a', 'b')[1] }} {{ 'abc'.upper().lower()[1] }} {{ "x".join(['a', 'b']) }}
{{ n is defined and nope is not defined }} {{ nope is undefined }} {{ nil is none }} {{ nil is not none }}
{{ [1, 2, 3] | sum + 4 }} {{ -n | abs }} {{ - 3 | abs }} {{ not n is none }} {{ 2 * 3 is odd }}
{{ 3 in [1, 2] or 4 in [4] }} {{ not 3 in [3] }} {{ 'a' ~ 'b' in 'cab' }} {{ 1 if true and not false else 2 }}
{{ (1, 2, 3) | length }} {{ ((1)) }}
{{ 1 ~ 2 + 3 }}
{{ [x for x in y] }}
{{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.get('b', 'z') }} {{ d.get('nope', [])|length }}
{{ f is float }} {{ n is integer }} {{ yes is integer }} {{ yes is number }} {{ s is string }} {{ d is mapping }} {{ list is sequence }} {{ d is sequence }} {{ s is iterable }} {{ n is iterable }} {{ yes is boolean }} {{ yes is true }} {{ no is false }} {{ 1 is true }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 'a' is lower }} {{ 'A' is upper }} {{ 'A1' is upper }} {{ '1' is upper }} {{ 1 is eq 1 }} {{ 1 is equalto 1.0 }} {{ 1 is ne 2 }} {{ 2 is gt 1 }} {{ 2 is ge 2 }} {{ 2 is lt 1 }} {{ 2 is le 2 }} {{ 2 is greaterthan 1 }} {{ 1 is lessthan 2 }} {{ 'a' is in 'abc' }} {{ 1 is in [1] }}
{{ [1, 2, 3] | select('==', 2) | list }} {{ [1, 2, 3] | select('!=', 2) | list }} {{ [1, 2, 3] | select('>', 2) | list }} {{ [1, 2, 3] | select('>=', 2) | list }} {{ [1, 2, 3] | select('<', 2) | list }} {{ [1, 2, 3] | select('<=', 2) | list }}
{{ true is sameas true }} {{ 1 is sameas true }} {{ none is sameas none }} {{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ range is callable }} {{ 'x' is callable }} {{ 'x'|safe is escaped }} {{ 'x' is escaped }}
{{ loop is defined }} {{ range is defined }}
{{ nope.a is defined }}
{{ 'a'.nope }}| {{ none.x }}| {{ 1 .nope }}|
{{ big.k39 }} {{ big['k12'] }} {{ 'k7' in big }} {{ 'k40' in big }} {{ big | length }}
""".strip("\n").split("\n")

STATEMENTS = r"""
{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}:{{ x }} {% endfor %}
{% for x in list %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
{% for x in list %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{{ loop.depth }} {% endfor %}
{% for x in [] %}x{% else %}empty{% endfor %} {% for x in missing %}x{% else %}empty{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for k in d %}{{ k }}{% endfor %} {% for c in 'héy' %}{{ c }}.{% endfor %}
{% for x in range(10) if x is odd %}{{ x }}{{ loop.index }}/{{ loop.length }} {% endfor %}
{% for x in range(10) if x is odd %}{{ loop.last }}{{ x }} {% else %}none{% endfor %}
{% for x in range(10) %}{% if x == 3 %}{% continue %}{% elif x == 6 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in [1] %}{% break %}{% else %}else after break{% endfor %} {% for x in [1] %}{% continue %}{% else %}else after continue{% endfor %}
{% for a, (b, c) in [(1, (2, 3)), (4, (5, 6))] %}{{ a }}{{ b }}{{ c }} {% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for a, b in [1] %}{{ a }}{% endfor %}
{% for item in tree recursive %}{{ item.v }}@{{ loop.depth }}{{ loop.depth0 }}{% if item.c %}({{ loop(item.c) }}){% endif %}{% endfor %}
{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}
{% for x in list %}{% set y = x %}{% endfor %}{{ y }}|
{% set y = 1 %}{% for x in list %}{% set y = y + x %}{{ y }} {% endfor %}{{ y }}
{% set ns = namespace(a=0, b=[]) %}{% for x in list %}{% set ns.a = ns.a + x %}{% set ns.b = ns.b + [x] %}{% endfor %}{{ ns.a }} {{ ns.b }} {{ ns.c }}|{{ ns.c is defined }}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set (c, d) = [3, 4] %}{{ c }}{{ d }} {% set e = 1, %}{{ e }}
{% set x %}block {{ n }}{% endset %}[{{ x }}] {% set x | upper | replace('A', 'b') %}abc{% endset %}[{{ x }}]
{% if n > 50 %}a{% elif n > 40 %}b{% else %}c{% endif %} {% if nil %}x{% endif %} {% if 0.0 or '' or {} or [] or () %}x{% else %}falsy{% endif %}
{% if true %}{% set inner = 5 %}{% endif %}{{ inner }}
{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c='y') }} {{ m(b=1, a=0) }} {{ m() }}
{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m(x) %}[{{ caller() }}{{ x }}]{% endmacro %}{% call m(1) %}body{% endcall %}
{% macro m() %}{% for i in [1, 2] %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(i, j=9) m() %}<{{ i }}{{ j }}>{% endcall %}
{% macro m() %}{{ caller is defined }}{% if caller %}yes{% else %}no{% endif %}{% endmacro %}{{ m() }}
{% macro f(n) %}{{ n }}{% if n > 0 %} {{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% macro m(a=b, b=1) %}{{ a }}|{{ b }}{% endmacro %}{{ m() }}
{% macro m(a, b=a * 2) %}{{ a }}|{{ b }}{% endmacro %}{{ m(4) }}
{% set later = 1 %}{% macro m() %}{{ later }}{% endmacro %}{% set later = 2 %}{{ m() }}
{% macro m(a, b=1, *c) %}{% endmacro %}
{% macro m(a, b) %}{{ kwargs }}{% endmacro %}{{ m.name }} {{ m.arguments }} {{ m.catch_kwargs }} {{ m.catch_varargs }} {{ m.caller }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}| {% with %}{% set q = 3 %}{{ q }}{% endwith %}{{ q }}|
{% with a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}{% endwith %}
{% filter upper %}abc {{ s }}{% endfilter %} {% filter replace('a', 'b') | upper %}banana{% endfilter %}
{% raw %}{{ not }} {% parsed %}{% endraw %} {%- raw -%}  x  {%- endraw -%}  y
{% generation %}gen {{ n }}{% endgeneration %} {% block content %}in block{% endblock %} {% block a scoped %}b{% endblock a %}
{% print n %} {% print n, s %}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.next() }}
{% set j = joiner(', ') %}{% for x in list %}{{ j() }}{{ x }}{% endfor %} {% set j = joiner() %}{{ j() }}a{{ j() }}b
{% if n: %}colon{% endif %} {% for x in list: %}{{ x }}{% endfor %}
{% set ns = namespace({'x': 1}, y=2) %}{{ ns.x }}{{ ns.y }}{{ ns['x'] }} {% set ns.z = 3 %}{{ ns.z }}
{% set x = 1 %}{% set x.y = 2 %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set d2 = dict(a=1) %}{{ d2.update({'b': 2}) }}
{{ list.append(4) }}
{{ list.append }}
{{ d.pop('a') }}
{% do list %}
{{ m(**{'a': 1}) }}{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}
{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(**{'a': 1}) }} {{ m(*[1, 2]) }} {{ m(*[1], **{'b': 5}) }} {{ m(1, **{'b': 5}) }}
{{ raise_exception('stop') }}
{% include 'x' %}
{% nope %}
{{ 1 | nope }}
{{ 1 is nope }}
{% if false %}{{ 1 | nope }}{% endif %}fine
{{ nope.attr }}
{{ nope() }}
{{ nope + 1 }}
{{ n() }}
{{ 1 + 'a' }}
{{ 'a' < 1 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1 in 'a' }}
{{ 1 in 2 }}
{{ {[]: 1} }}
{{ range(1000000) }}
{{ 'abc'.index('z') }}
{{ none | length }}
{{ 'a' 1 }}
{{ (1 }}
{% for %}
{% if n %}
{{ n
{# open
{% raw %}
{#
{% raw %} x
{% endif %}
{{ }}
{% break %}
{% macro m(a=1, b) %}{% endmacro %}
{% for x in list %}{% set loopvar = loop %}{{ loopvar.index }}{% endfor %}
{% for x in list | reverse %}{{ x }}{{ loop.last }}{% endfor %} {% for x in users | map(attribute='name') %}{{ x }}{{ loop.length }}{% endfor %}
{% set g = list | map('string') %}{{ g | list }}{{ g | list }} {{ 'true' if list | select('gt', 100) else 'false' }}
{% for g in users | groupby('city') %}{{ g.grouper }}:{{ g.list | length }}:{{ g[0] }} {% endfor %}
{% for c, us in users | groupby('age') %}{{ c }}={{ us | map(attribute='name') | join('+') }} {% endfor %}
{% set x = [] %}{% for i in range(3) %}{% set x = x + [i] %}{% endfor %}{{ x }}
{% for a in [1, 2] %}{% macro mm() %}{{ a }}{% endmacro %}{{ mm() }}{% endfor %}
{% for u in users if u.admin %}{{ u.name }}{% endfor %} {% for u in users if not u.admin is defined %}{{ u.name }}{% endfor %}
{% set ns = namespace(stop=false) %}{% for x in range(6) if not ns.stop %}{{ x }}{% if x == 2 %}{% set ns.stop = true %}{% endif %}{% endfor %}
""".strip("\n").split("\n")

WHITESPACE = [
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc\n",
    "a\n  {%+ if true +%}\n  b\n  {%+ endif +%}\nc\n",
    "  {{ 1 }}  \n  {{- 2 -}}  \n 3",
    "a {# c #}\n b\n  {# c #}\n d {#- e -#}  f {#+ g +#}\n h",
    "x\n\n", "x\n\n\n", "\n", "", "{% if true %}\n\nx{% endif %}\n",
    "a\r\nb\rc\n", "  {% set a = 1 %}  \n  {{ a }}", "{{ '}}' }} {{ {'a': {'b': 1}} }}",
    "{%if true%}x{%endif%}", "{{-1}}", "{{- 1 }}", "a  {{+ 1 }}", "{{ 1 -}}  \n b", "{% raw %}\n x {% endraw %}\n y",
    "  {% raw %}  {% if %}  {% endraw %}  z", "a{% if true %} {% endif %}b", "\t{% if true %}\tx\n\t{% endif %}y",
    "{#\n multi\n line #}\nafter", "  text {% if true %}\n  x\n  {% endif %} tail\n", "a\n{% if true %}   \n b{% endif %}",
    "line\u00a0\u2003{%- if true %}x{% endif %}", "\u00a0{% if true %}x{% endif %}",
]

FILTERS = r"""
{{ -5 | abs }} {{ -5.5 | abs }} {{ d | attr('a') }}| {{ 'x' | attr('upper') is defined }}
{{ range(7) | batch(3) | list }} {{ range(7) | batch(3, 'x') | list }} {{ [] | batch(2) | list }}
{{ 'hELLO wORLD' | capitalize }} {{ u | capitalize }} {{ 'ab' | center(7) }}| {{ 'abc' | center(6) }}| {{ 'abc' | center(2) }}
{{ nope | default('x') }} {{ '' | default('x') }}| {{ '' | default('x', true) }} {{ none | default('x') }} {{ nope | d }}| {{ none | d('y', boolean=true) }}
{{ d | dictsort }} {{ d | dictsort(true) }} {{ d | dictsort(false, 'value') }} {{ d | dictsort(reverse=true) }} {{ d | dictsort(by='value', reverse=true) }}
{{ html | escape }} {{ html | e }} {{ html | e | e }} {{ html | e | forceescape }} {{ ('<' | safe) + '<' }} {{ '<' + ('<' | safe) }} {{ ('<' | safe) ~ '<' }} {{ '<' | e | upper }} {{ '<b>' | e | length }}
{{ 1 | filesizeformat }} {{ 100 | filesizeformat }} {{ 1500 | filesizeformat }} {{ 1500000 | filesizeformat }} {{ 1048576 | filesizeformat(true) }} {{ 1e27 | filesizeformat }}
{{ list | first }} {{ [] | first }}| {{ 'abc' | first }} {{ d | first }} {{ list | last }} {{ [] | last }}| {{ 'abc' | last }} {{ d | last }}
{{ '3.7' | float }} {{ 'x' | float }} {{ 'x' | float(1.5) }} {{ 3 | float }} {{ none | float }} {{ '1e3' | float }} {{ ' 2.5 ' | float }} {{ 'inf' | float }} {{ '1_0.5' | float }}
{{ '%s, %s!' | format('Hi', 'you') }} {{ '%(a)s' | format(a=1) }} {{ 'x' | format }}
{{ lines | indent }}| {{ lines | indent(2) }}| {{ lines | indent(2, true) }}| {{ lines | indent(2, true, true) }}| {{ lines | indent('--') }}| {{ 'a' | indent(first=true) }}| {{ '' | indent(2) }}|
{{ '42' | int }} {{ '42.9' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '0x1A' | int(base=16) }} {{ '1A' | int(0, 16) }} {{ 3.9 | int }} {{ -3.9 | int }} {{ none | int }} {{ ' 5 ' | int }} {{ '-7' | int }} {{ true | int }} {{ '1_000' | int }} {{ [] | int(5) }}
{{ d | items | list }} {{ nope | items | list }} {{ [1, 2, 3] | join('|') }} {{ [1, 2, 3] | join }} {{ users | join(', ', attribute='name') }} {{ 'abc' | join('-') }} {{ [none, true, 1.0] | join(' ') }}
{{ list | length }} {{ 'héllo' | length }} {{ d | count }} {{ nope | length }} {{ {} | length }} {{ 'abc' | list }} {{ d | list }} {{ (1, 2) | list }}
{{ u | lower }} {{ u | upper }} {{ u | title }} {{ 'ÀÉ' | lower }} {{ 123 | upper }} {{ none | upper }}
{{ users | map(attribute='name') | list }} {{ users | map(attribute='admin', default='?') | list }} {{ words | map('upper') | list }} {{ words | map('replace', 'o', '0') | join }} {{ users | map(attribute='tags.0') | list }} {{ users | map(attribute='tags') | map('length') | list }}
{{ list | min }} {{ list | max }} {{ words | min }} {{ words | max }} {{ words | max(case_sensitive=true) }} {{ users | max(attribute='age') }} {{ [] | min }}| {{ users | min(attribute='age') | tojson }}
{{ list | reject('odd') | list }} {{ list | reject | list }} {{ mixed | select | list }} {{ mixed | select('string') | list }} {{ list | select('gt', 1) | list }} {{ list | select('in', [1, 2]) | list }} {{ [1, none] | reject('none') | list }}
{{ users | selectattr('admin') | map(attribute='name') | list }} {{ users | rejectattr('admin') | map(attribute='name') | list }} {{ users | selectattr('age', 'equalto', 30) | map(attribute='name') | join(',') }} {{ users | selectattr('admin', 'defined') | list | length }} {{ users | rejectattr('age', 'gt', 26) | map(attribute='name') | first }}
{{ 'Hello World' | replace('Hello', 'Bye') }} {{ 'aaaa' | replace('a', 'b', 2) }} {{ 'abc' | replace('', '-') }} {{ 'abc' | replace('x', 'y') }} {{ 123 | replace('2', 'x') }} {{ 'aaa' | replace('a', '', count=1) }}
{{ list | reverse | list }} {{ 'abc' | reverse }} {{ emoji | reverse }} {{ d | reverse | list }} {{ list | reverse }}
{{ 42.55 | round }} {{ 42.55 | round(1, 'floor') }} {{ 42.55 | round(1) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ -2.5 | round }} {{ 42.1 | round(0, 'ceil') }} {{ 5 | round }} {{ 1234 | round(-2) }} {{ 1234.5 | round(-2) }} {{ 0.125 | round(2) }} {{ 2.675 | round(2) }} {{ 42.55 | round | int }} {{ 7 | round(1, 'ceil') }} {{ 1e300 | round(2) }}
{{ range(10) | slice(3) | list }} {{ range(10) | slice(3, 'x') | list }} {{ range(2) | slice(4) | list }}
{{ list | sort }} {{ list | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ users | sort(attribute='age') | map(attribute='name') | list }} {{ users | sort(attribute='age,name') | map(attribute='name') | list }} {{ users | sort(attribute='age', reverse=true) | map(attribute='name') | list }} {{ d | sort }} {{ [[2, 'a'], [1, 'b']] | sort }} {{ [3, true, 2.5] | sort }}
{{ [1, 'a'] | sort }}
{{ 42 | string ~ 1 }} {{ none | string }} {{ nope | string }}| {{ [1] | string | length }}
{{ '<p>Hello <b>big</b>   world</p><!-- x <y> -->\n!' | striptags }} {{ 'a < b > c' | striptags }}
{{ [1, 2, 3] | sum }} {{ [1.5, 2] | sum }} {{ users | sum(attribute='age') }} {{ [1] | sum(start=10) }} {{ [] | sum }} {{ [[1], [2]] | sum(start=[]) }}
{{ "hello big-world (foo) [bar] it's o'neil" | title }} {{ 'ABC dEF' | title }} {{ 'x1y2 ǆ' | title }}
{{ {'a': [1, 2.0, none, true], 'é': '</script>&\'"\\\n\u2028'} | tojson }} {{ [] | tojson }} {{ {} | tojson(indent=2) }} {{ 'x' | tojson }} {{ 1e100 | tojson }} {{ (1, 2) | tojson }} {{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}
{{ mixed | tojson(indent=2) }} {{ mixed | tojson(indent=0) }} {{ d | tojson(sort_keys=true) }} {{ d | tojson(separators=(',', ':')) }} {{ emoji | tojson(ensure_ascii=true) }} {{ '\x7f\x01é' | tojson(ensure_ascii=true) }} {{ '\x7f\x01é' | tojson }} {{ d | tojson(indent='\t') }} {{ [1, [2, {}], []] | tojson(indent=1, separators=(', ', ' : ')) }} {{ d | tojson(true, 4) }}
{{ nope | tojson }}
{{ range(3) | tojson }}
{{ d.items() | list | tojson }} {{ d.items() | tojson }}
{{ '  x  ' | trim }}| {{ 'xxaxx' | trim('x') }} {{ '\u00a0x\u2003' | trim }} {{ 'abcba' | trim('ab') }} {{ 5 | trim }}
{{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11) }} {{ 'foo bar baz qux' | truncate(11, false, '...', 0) }} {{ 'foobarbazqux' | truncate(6, leeway=0) }}
{{ 'x' | truncate(1) }}
{{ ['foo', 'bar', 'foobar', 'FooBar', 'FOO'] | unique | list }} {{ ['a', 'A'] | unique(true) | list }} {{ users | unique(attribute='age') | map(attribute='name') | list }} {{ [1, 1.0, true, 2] | unique | list }}
{{ 'a b/c?d=é&f' | urlencode }} {{ {'a b': 'c d', 'x': 1} | urlencode }} {{ [('a', '/')] | urlencode }} {{ 12 | urlencode }}
{{ 'Hello, big world! foo_bar é1' | wordcount }} {{ '' | wordcount }}
{{ long | wordwrap(20) }} {{ 'abcdefghij klm' | wordwrap(4) }} {{ 'a well-known fact' | wordwrap(7) }} {{ long | wordwrap(30, wrapstring='|') }} {{ 'ab\n\ncd ef' | wordwrap(4) }} {{ 'abcdefghij kl' | wordwrap(4, break_long_words=false) }} {{ 'one--two three' | wordwrap(6) }}
{{ {'class': 'my_list', 'missing': none, 'id': 'list-%d' | format(42)} | xmlattr }} {{ {'a': '<'} | xmlattr(false) }} {{ {} | xmlattr }}|
{{ {'a b': 1} | xmlattr }}
{{ 'see http://a.example/b?c=d, www.x.org/y (or https://z.de).' | urlize }} {{ 'me@x.org mailto:a@b.com @no x@y' | urlize }} {{ html | urlize }}
{{ 'http://1.2.3.4:80/ http://[::1]/a example.com a.museum HTTPS://UP.NET' | urlize }} {{ '(www.a.com/b(c)) <www.d.com> &lt;' | urlize }}
{{ 'http://example.com/long/path' | urlize(12, true, '_blank', 'me nofollow') }} {{ 'tel:123 x-y:z' | urlize(extra_schemes=['tel:', 'x-y:']) }} {{ 'www.a.com' | urlize(trim_url_limit=-3) }}
{{ 'tel:1' | urlize(extra_schemes=['te l:']) }}
{{ [1, 'a', {'b': none}] | pprint }} {{ {2: 1, 'x': 2, none: 3, 1.5: 4} | pprint }} {{ missing | pprint }} {{ (1,) | pprint }} {{ {} | pprint }}
{{ users | pprint }} {{ big | pprint }} {{ tree | pprint }}
{{ long | pprint }} {{ (long ~ ' ' ~ long) | pprint }} {{ [long ~ '\n' ~ long, 'x' * 90] | pprint }} {{ {'k': long ~ '  ' ~ long, 'l': [long, long]} | pprint }} {{ ('ab ' * 40) | pprint }}
{{ [1.5e3, 1e300, 12345, 999999] | map('filesizeformat') | list }} {{ -0.0 | filesizeformat }} {{ '1e6' | filesizeformat(true) }}
{{ 'x' | filesizeformat }}
{{ '&lt;p&gt; &#65;&#x42;&#128; &#0; &#1; &amp;amp; &nope; &#x110000; &#;' | striptags }}
{{ [[2, none], [1, 3]] | sort }} {{ [{'a': 1}, {}] | sort(attribute='b') | list }}
{{ [1, 2] | sort(reverse='x') }}
{{ [('x<' | safe), 'y'] }} {{ ('a<' | safe) ~ '<' }} {{ [('a,b' | safe).split(',')] }} {{ ('%s %d %r' | safe) % ('<', 2, '"') }} {{ '%s' | safe | format('<') }} {{ ('{} {!r:>8}' | safe).format('<', '&') }} {{ [('ab' | safe) | reverse, ('ab' | safe) | last] }}
{{ [1, 2] | truncate }} {{ 'Hello World' | wordwrap(3) }} {{ 'ab-cd1-2-efg --x--' | wordwrap(5) }} {{ 'one two  three' | wordwrap(3, wrapstring='|') }}
{{ range(5) | urlencode }}
{{ d.items() | urlencode }} {{ d.keys() == d.copy().keys() }} {{ d.items() == dict(d).items() }} {{ d.values() == d.values() }} {{ 'a' in d.keys() }} {{ ('a', 2) in d.items() }} {{ 2 in d.values() }}
{{ '42' | int(base=99) }} {{ 'z' | int(7, 1) }}
{{ [] is filter }}
{{ users | groupby('city') }}
{{ users | groupby('admin', default='none') | map('first') | list }}
{{ users | groupby('city', case_sensitive=true) | map(attribute='grouper') | list }}
{{ [3, 1] | map('frobnicate') | list }}
{{ 'x' | replace('a') }}
{{ 'x' | trim(1, 2, 3) }}
{{ 'x' | center(width=5, nope=1) }}
""".strip("\n").split("\n")

METHODS = r"""
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.swapcase() }} {{ s.capitalize() }} {{ u.upper() }} {{ u.lower() }} {{ u.title() }} {{ u.casefold() }} {{ u.swapcase() }} {{ "they're x2y" .title() }}
{{ '  a '.strip() }}| {{ '  a '.lstrip() }}| {{ '  a '.rstrip() }}| {{ 'xxaxx'.strip('x') }} {{ 'abcabc'.lstrip('ba') }} {{ 'a\n\n'.rstrip('\n') }}| {{ 'a'.strip(none) }}
{{ 'a,b,,c'.split(',') }} {{ 'a b  c '.split() }} {{ 'a b  c '.split(' ') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b c '.rsplit(none, 1) }} {{ ' a b c '.split(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a--b'.split('--', maxsplit=5) }} {{ 'x'.rsplit() }}
{{ 'a\nb\r\nc\n'.splitlines() }} {{ 'a\nb\n'.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\x0bb\x1cc\u2028d'.splitlines() }}
{{ 'abc'.startswith('a') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('bc') }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('') }} {{ ''.startswith('a') }} {{ 'abc'.startswith('', 4) }}
{{ 'hello'.find('l') }} {{ 'hello'.rfind('l') }} {{ 'hello'.find('z') }} {{ 'hello'.index('l') }} {{ 'hello'.rindex('l') }} {{ 'hello'.count('l') }} {{ 'aaa'.count('') }} {{ 'aaaa'.count('aa') }} {{ emoji.find('b') }} {{ emoji.rfind('本') }} {{ 'hello'.find('l', 3) }} {{ 'hello'.find('l', -2) }} {{ 'hello'.find('h', 1, 3) }} {{ 'abc'.find('') }} {{ 'abc'.rfind('') }}
{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('-') }} {{ 'abc'.rpartition('-') }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'x'.removeprefix('y') }} {{ 'x'.removesuffix('') }}
{{ 'aXbX'.replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }} {{ 'ab'.replace('', '.') }}
{{ 'a'.center(5) }}| {{ 'ab'.center(5, '*') }} {{ 'ab'.ljust(4, '.') }} {{ 'ab'.rjust(4, '.') }} {{ '42'.zfill(5) }} {{ '-42'.zfill(5) }} {{ 'abc'.zfill(2) }} {{ 'a\tb\t'.expandtabs(4) }}|
{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ ' \n'.isspace() }} {{ ''.isspace() }} {{ 'abc'.islower() }} {{ 'ABC'.isupper() }} {{ 'Abc Def'.istitle() }} {{ 'ABC'.istitle() }} {{ 'abc1'.islower() }} {{ '1'.islower() }} {{ 'a_b'.isidentifier() }} {{ '1a'.isidentifier() }} {{ 'é'.isascii() }} {{ 'a\n'.isprintable() }} {{ '日本'.isalpha() }}
{{ ', '.join(['a', 'b']) }} {{ '-'.join('abc') }} {{ ''.join(d) }} {{ ','.join(d.keys()) }}
{{ ','.join([1, 2]) }}
{{ 'a'.split('') }}
{{ list.index(1) }} {{ list.count(3) }} {{ (1, 2, 1).count(1) }} {{ (1, 2).index(2) }} {{ list.copy() }}
{{ list.index(99) }}
{{ d.copy() }} {{ d.get('b') }} {{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | sum }} {{ d.values() | list }} {{ d.keys() | length }}
{{ {'items': 1}.items }} {{ {'items': 1}['items'] }} {{ {'get': 5}['get'] }} {{ {'x': 5}['get']('x') }}
{{ s['upper']() }} {{ s | attr('lower') }}
{{ 'abc'.translate({97: 'x', 98: none, 99: 100}) }} {{ 'hello'.translate('abc'.maketrans('el', 'ip', 'o')) }} {{ ''.maketrans({'a': 1, 98: 'c'}) }} {{ 'aé🎉'.translate({233: 'e', 127881: '!'}) }}
{{ 'ab'.maketrans('ab', 'c') }}
{{ '{a} {b[0]} {c.x!r:>5}'.format_map({'a': 1, 'b': [2], 'c': {'x': 'y'}}) }} {{ '{!a}|{:>3}'.format('é🎉', 5) }} {{ '%a' % 'ü' }}
{{ '{x}'.format_map({}) }}
{{ '{:,}'.format('a') }}
{{ '{:+}'.format('a') }}
{{ '{:#}'.format('a') }}
{{ dict.fromkeys(['a', 'b']) }} {{ dict.fromkeys('ab', 0) }} {{ {}.fromkeys((1, 2), []) }}
{{ range(1, 10, 3)[1:] }} {{ range(5)[::-1] }} {{ range(5).start }}{{ range(1, 7, 2).stop }}{{ range(1, 7, 2).step }} {{ range(0)[2:] }}
{{ n[1:] }}
{{ d[1:] }}
{{ 'x' % missing }}| {{ 'x'.zfill(3) }}
{{ 'x'.center(none) }}
{{ 'a'.upper }}
{{ 'abc'.nope() }}
{{ d.keys()[0] }}|
{{ 'x'.format }}
""".strip("\n").split("\n")


def main():
    cases = []
    for source in LITERALS + EXPRESSIONS + STATEMENTS + WHITESPACE + FILTERS + METHODS:
        want = render(source, json.loads(json.dumps(DATA)))
        if want is not None and " at 0x" in want:
            continue  # Python prints an address: nothing to compare
        cases.append({"template": source, "want": want})
    path = pathlib.Path(__file__).parent / "cases.json"
    with open(path, "w", encoding="utf-8") as out:
        out.write('{"variables": %s,\n "cases": [\n' % json.dumps(DATA, ensure_ascii=False))
        out.write(",\n".join("  " + json.dumps(c, ensure_ascii=False) for c in cases))
        out.write("\n]}\n")
    failing = sum(c["want"] is None for c in cases)
    print(f"{len(cases)} cases, {failing} of them must fail")


if __name__ == "__main__":
    main()
