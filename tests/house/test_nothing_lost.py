"""The suite of 0.1 lives on: every test function that it had is here, and asserts no less."""

from __future__ import annotations

import ast
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..hosts import ROOT

BEFORE_THE_MOVE = "48555ae"
# Tests of the old layout, and the tests that took their place.
REPLACED = {
    "test_segment_halves_what_is_too_large": "test_what_is_too_large_is_halved",
    "test_every_module_names_its_ring": "test_layout.py: a folder is a ring, and no docstring names one",
    "test_a_failing_run_loads_one_module_more": "test_imports.py: test_a_failing_run_loads_one_file_more",
    "test_optimized": "test_loading.py: test_python_O_uses_its_own_bytecode",
    "test_log_mode_prints_none_without_a_destination": "test_rehearsal_for_nobody.py: test_log_mode_shows_the_record",
    "test_shell_completion_is_help": "test_outcomes.py: test_shell_completion_is_no_run",
    "test_broken_bytecode": "test_loading.py: test_torn_bytecode_is_not_run",
}
# Tests that go on under a name that says more: they assert no less, either.
RENAMED = {
    "test_ga4_rules": "test_each_ga4_rule_is_named_when_broken",
    "test_segment_rules": "test_each_segment_rule_is_named_when_broken",
    "test_ga4_bodies": "test_a_ga4_body_that_is_no_small_json_object_is_named",
    "test_ga4_queries": "test_a_ga4_query_without_stream_or_secret_is_named",
    "test_segment_headers": "test_wrong_segment_headers_are_named",
    "test_health_is_told": "test_health_endpoint_answers",
    "test_of_a_key_that_comes_twice_one_is_left": "test_a_repeated_key_passes_with_the_value_that_was_checked",
    "test_other_versions": "test_other_versions_of_click_record_the_same",
    "test_older_typer": "test_a_typer_that_uses_click_records_the_same",
    "test_few_descriptors": "test_a_low_limit_of_descriptors_is_no_problem",
    "test_a_liar_costs_nobody_anything": "test_hostile_records_in_a_request_cost_the_others_nothing",
    "test_told_twice_it_stops_at_once": "test_a_second_signal_stops_the_relay_at_once",
    "test_nothing_in_hand_nothing_in_files": "test_a_run_without_counts_has_no_metrics_file",
    "test_other_prefixes": "test_options_may_begin_with_other_characters",
    "test_the_apps_variable": "test_the_variable_named_for_the_app_takes_a_mode",
    "test_dropped_is_told_and_not_tried_again": "test_what_an_exporter_drops_is_a_partial_success",
    "test_wrong_settings_are_not_described": "test_no_page_is_made_of_wrong_settings",
    "test_an_encrypted_key_is_told": "test_an_encrypted_tls_key_is_refused_without_asking_for_its_passphrase",
    "test_homes_that_are_none": "test_a_home_folder_that_makes_no_sense",
    "test_tries_are_few": "test_a_busy_server_is_asked_four_times",
    "test_faults_of_the_connection": "test_what_a_broken_connection_means_for_each_vendor",
    "test_intermixed_errors": "test_a_usage_error_of_an_intermixed_parse_is_one",
}


def functions(sources: Iterator[str]) -> dict[str, int]:
    """Return {test function: how many things it asserts}, the sum where two files have one of the same name."""
    asserted: dict[str, int] = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                checks = [n for n in ast.walk(node) if isinstance(n, ast.Assert)]
                name = RENAMED.get(node.name, node.name)
                asserted[name] = asserted.get(name, 0) + len(checks)
    return asserted


def test_no_test_and_no_assertion_was_lost() -> None:
    """By name and by number of assertions, over all files."""
    command = ["git", "archive", BEFORE_THE_MOVE, "tests"]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the history of the repository is not here")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        members = [member for member in tar.getmembers() if Path(member.name).match("test_*.py")]
        before = functions((tar.extractfile(member) or io.BytesIO()).read().decode() for member in members)
    now = functions(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert len(before) > 500
    assert [] == sorted(name for name in before.keys() - now.keys() if name not in REPLACED)
    assert {} == {name: (n, now[name]) for name, n in before.items() if name in now and now[name] < n}
