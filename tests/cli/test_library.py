"""libweft as another program sees it: installed headers, libraries and pkg-config."""
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_the_example_builds_against_an_installed_libweft(weft, smollm2, tmp_path):
    build = weft.parent
    root = tmp_path / "root"
    subprocess.run(["meson", "install", "-C", str(build), "--no-rebuild", "--destdir", str(root)],
                   check=True, capture_output=True)
    pc = next(root.rglob("weft.pc"))
    prefix = pc.parent
    while not (prefix / "include").exists():
        prefix = prefix.parent
    flags = subprocess.run(
        ["pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "--libs", str(pc)],
        check=True, capture_output=True, text=True).stdout.split()
    program = tmp_path / "complete"
    subprocess.run([os.environ.get("CC", "cc"), str(ROOT / "examples" / "complete.c"), *flags, "-o",
                    str(program)], check=True)
    answer = subprocess.run([str(program), str(smollm2), "One, two, three,"], check=True,
                            capture_output=True, text=True,
                            env={**os.environ, "LD_LIBRARY_PATH": str(pc.parent.parent)})
    assert answer.stdout.strip()
    # The static library alone is enough too.
    static = next(root.rglob("libweft.a"))
    private = subprocess.run(["pkg-config", "--static", "--libs", str(pc)], check=True,
                             capture_output=True, text=True).stdout.split()
    rest = [f for f in private if f.startswith("-l") and f != "-lweft"] + ["-pthread"]
    subprocess.run([os.environ.get("CC", "cc"), str(ROOT / "examples" / "complete.c"),
                    f"-I{prefix / 'include'}", str(static), *rest, "-o", str(program)], check=True)
    again = subprocess.run([str(program), str(smollm2), "One, two, three,"], check=True,
                           capture_output=True, text=True)
    assert again.stdout == answer.stdout


def test_every_function_of_the_public_headers_is_exported(weft):
    """Every one that is declared, no more."""
    declared = set()
    for header in (ROOT / "include" / "weft").glob("*.h"):
        text = re.sub(r"/\*.*?\*/|^#.*?(?<!\\)$|typedef .*?;", "", header.read_text(), flags=re.S | re.M)
        declared |= set(re.findall(r"\b(weft_\w+)\(", text))
    library = next(p for p in weft.parent.glob("libweft.*") if p.suffix in (".so", ".dylib"))
    listing = subprocess.run(["nm", "-gU" if library.suffix == ".dylib" else "-gD", "--defined-only", str(library)],
                             check=True, capture_output=True, text=True).stdout
    exported = {line.split()[-1].lstrip("_") for line in listing.splitlines() if " T " in line}
    assert len(declared) > 20
    assert {name for name in exported if name.startswith("weft_")} == declared
