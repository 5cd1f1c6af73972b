"""What is recorded of a program on each framework: its own names, never a word that was typed, and what its parent sees.

`secret` stands for what a user types. Every program of tests/programs/frameworks is run by people; here each line is one run.
"""

import pytest

MODULES = {
    "pydantic": "pydantic_settings",
    "default_group": "click_default_group",
    "django": "django.core",
    "cyclopts_meta": "cyclopts",
    "cliff_deferred": "cliff",
}

# framework, what was typed → command, options, outcome, exit code
RUNS = """
argparse        add --n 3                             → add         --n                     failure      3
click           go --n 3                              → go          --n                     failure      3
optparse                                              → (root)      -                       success      0
optparse        -d --name secret                      → (root)      --deep,--name           success      0
optparse        secret                                → (root)      -                       failure      3
optparse        --secret                              → (root)      -                       usage_error  2
optparse        --help                                → (root)      --help                  help         0
optparse        secret secret                         → (root)      -                       usage_error  2
docopt          ship new secret                       → ship_new    -                       success      0
docopt          ship secret move 1 2 --speed=9        → ship_move   --speed                 success      0
docopt          mine remove 1 --moored                → mine_remove --moored                failure      4
docopt          --version                             → (root)      -                       help         0
docopt          secret                                → (unknown)   -                       usage_error  1
docopt          --secret                              → (unknown)   -                       usage_error  1
fire            add 1                                 → add         -                       success      0
fire            add 1 --b=5 --secret=3                → add         --b                     success      0
fire            sub go --n=3                          → sub_go      --n                     success      0
fire            fail                                  → fail        -                       failure      5
fire            result secret x                       → result      -                       success      0
fire            store secret                          → (unknown)   -                       success      0
fire            secret                                → (root)      -                       usage_error  2
fire            --help                                → (root)      -                       help         0
cyclopts        --verbose                             → (root)      --verbose               success      0
cyclopts        db migrate secret                     → db_migrate  -                       failure      1
cyclopts        db migrate secret --dry-run --level 3 → db_migrate  --dry-run,--level       failure      3
cyclopts        get                                   → fetch       -                       failure      1
cyclopts        db migrate                            → db_migrate  -                       usage_error  2
cyclopts        db migrate --help                     → db_migrate  -                       help         0
cyclopts        --version                             → (root)      -                       help         0
cyclopts        secret                                → (root)      -                       usage_error  2
cyclopts        db secret                             → db          -                       usage_error  2
cyclopts_meta   --backend secret go --n 3             → go          --backend,--n           failure      3
cyclopts_meta   db migrate secret --dry-run           → db_migrate  --dry-run               success      0
cyclopts_meta   db migrate --help                     → db_migrate  -                       help         0
cyclopts_meta   --version                             → (root)      -                       help         0
cyclopts_meta   secret                                → (root)      -                       usage_error  2
cyclopts_meta   go secret                             → go          -                       usage_error  2
cleo            cache list                            → cache_list  -                       success      0
cleo            cache list secret -d --to secret      → cache_list  --deep,--to             failure      3
cleo            fail                                  → fail        -                       failure      1
cleo            cache list --help                     → cache_list  --help                  help         0
cleo            --version                             → (root)      -                       help         0
cleo            secret                                → (root)      -                       usage_error  1
cleo            cache list --secret                   → cache_list  -                       usage_error  1
invoke          b --fast --name=secret                → build       --fast,--name           success      0
invoke          build fail                            → build+fail  -                       failure      6
invoke          sub.build -f                          → sub.build   --fast                  success      0
invoke          --help build                          → build       --help                  help         0
invoke          --echo build                          → build       --echo                  success      0
invoke          --list                                → (root)      --list                  success      0
invoke          secret                                → (root)      -                       usage_error  1
absl            --name=secret -d                      → (root)      --name,--deep           success      0
absl            secret                                → (root)      -                       failure      7
absl            --secret                              → (root)      -                       usage_error  1
plumbum         -v remote add --name secret           → remote_add  --verbose,--name        failure      8
plumbum         remote --help                         → remote      --help                  help         0
plumbum         --secret                              → (root)      -                       usage_error  2
plumbum         secret                                → (root)      -                       failure      1
plumbum         remote add a secret                   → remote_add  -                       usage_error  2
asyncclick      --debug sync                          → sync        --debug                 failure      9
asyncclick      sync --n secret                       → sync        --n                     failure      9
asyncclick      sync --secret                         → sync        -                       usage_error  2
asyncclick      sync --help                           → sync        --help                  help         0
jsonargparse    add 1 --b 3                           → add         --b                     success      0
jsonargparse    fail --x secret                       → fail        --x                     failure      3
jsonargparse    add secret                            → add         -                       usage_error  2
configargparse  --genome secret                       → (root)      --genome                success      0
configargparse  go --deep                             → go          --deep                  success      0
configargparse  --secret                              → (root)      -                       usage_error  2
pydantic        init --directory secret               → init        --directory             failure      2
pydantic        secret                                → (root)      -                       usage_error  2
cloup           i --n secret                          → install     --n                     success      0
cloup           secret                                → (root)      -                       usage_error  2
click_extra     install --n secret                    → install     --n                     success      0
click_extra     --verbosity DEBUG install             → install     --verbosity             success      0
default_group   secret --n 1                          → foo         --n                     success      0
default_group   bar                                   → bar         -                       success      0
knack           abc list --n secret                   → abc_list    --n                     success      0
knack           abc secret                            → abc         -                       usage_error  2
cliff           server list secret                    → server_list -                       success      0
cliff           --debug server list --deep            → server_list --debug,--deep          failure      3
cliff           server list --secret                  → server_list -                       usage_error  2
cliff           server list --help                    → (root)      --help                  help         0
cliff_deferred  server list --help                    → server_list --help                  help         0
cliff_deferred  server list                           → server_list -                       failure      3
cliff           help server list                      → help        -                       success      0
django          startproject secret                   → startproject -                      success      0
django          startproject --help                   → startproject --help                 help         0
django          secret                                → (unknown)   -                       failure      1
django          version                               → version     -                       success      0
django          help                                  → help        -                       success      0
django          help startproject                     → help        -                       success      0
django          --version                             → (root)      -                       success      0
django          startapp                              → startapp    -                       usage_error  2
django          makemessages --all --no-wrap          → makemessages --all,--no-wrap        success      0
"""


@pytest.mark.parametrize("line", [line for line in RUNS.splitlines() if line])
def test_what_is_recorded(host, line):
    """The declared names, the outcome and the exit code that the parent sees; no frame of ours in what is printed."""
    called, _, right = line.partition("→")
    framework, *argv = called.split()
    command, options, outcome, code = right.split()
    pytest.importorskip(MODULES.get(framework, framework))

    ended = host.run(f"frameworks/{framework}_program.py", *argv)

    run = host.the_run
    assert (command.replace("_", " "), options) == (run.command, ",".join(run.options) or "-"), ended.err.decode()
    assert (ended.status, outcome, int(code)) == (int(code), run.ending[1], run.ending[0]), ended.err.decode()
    assert b"otel_usage" not in ended.err
    assert not any(b"secret" in file.read_bytes() for file in host.home.rglob("*") if file.is_file())
