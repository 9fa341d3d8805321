"""Every fault that a tunnel meets, and the tests that inject it. `test_table.py` holds it to them.

Tests of `tests/e2e/tunnel` judge from outside; those of `tests/tunnel` go where no clock need be
waited for: the machine, its supervisor and its children by themselves.
"""

from __future__ import annotations

START, RUN, LOGS, STOP = "Start", "Running", "Logs", "Stop and replace"
_E2E, _UNIT = "tests/e2e/tunnel/", "tests/tunnel/"
_STARTING, _RUNNING = f"{_E2E}test_starting.py::", f"{_E2E}test_running.py::"
_LOGS, _STOPPING = f"{_E2E}test_logs.py::", f"{_E2E}test_stopping.py::"
_REPLACED = f"{_E2E}test_replacing.py::"
_ENDS, _LIFE = f"{_UNIT}test_ends.py::", f"{_UNIT}test_lifecycle.py::"
_CHILD, _FAULTS = f"{_UNIT}test_child.py::", f"{_UNIT}test_child_faults.py::"
_REPLACING, _SUPERVISOR = f"{_UNIT}test_replacing.py::", f"{_UNIT}test_supervisor.py::"

# number: when, what, and what tests it
FAULTS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    1: (START, "the binary is missing, not executable, of another machine, or prints garbage", (
        f"{_STARTING}test_a_binary_that_does_not_run",
        f"{_FAULTS}test_what_cannot_be_started",
    )),
    2: (START, "exit 0 at once with the help on stdout", (
        f"{_STARTING}test_flags_that_are_not_known_are_left_out",
        f"{_STARTING}test_help_and_exit_0_is_a_fault_that_somebody_must_mend",
        f"{_ENDS}test_a_usage_error_leaves_flags_out_and_then_parks",
    )),
    3: (START, "exit 255: a token that is none", (
        f"{_STARTING}test_a_token_that_is_none_is_parked_until_it_changes",
        f"{_ENDS}test_a_permanent_cause_is_parked",
    )),
    4: (START, "no name resolves, for 20 s", (
        f"{_STARTING}test_names_that_resolve_only_after_a_while",
    )),
    5: (START, "names resolve late, and with them comes the metrics port", (
        f"{_STARTING}test_a_metrics_port_that_is_late_is_waited_for",
        f"{_LIFE}test_the_port_may_be_late_and_the_registration_still_has_its_time",
    )),
    6: (START, "somebody else answers 200 at the metrics port", (
        f"{_STARTING}test_another_process_at_the_metrics_port_is_no_health",
        f"{_LIFE}test_the_answer_of_another_process_is_no_health",
    )),
    7: (START, "registered after 115 s", (
        f"{_STARTING}test_a_registration_after_115_seconds_is_waited_for",
        f"{_STARTING}test_quic_that_is_blocked_is_left_for_http2_and_remembered",
        f"{_LIFE}test_the_fallback_to_http2_is_waited_for_and_remembered",
    )),
    8: (START, "never registered: silence, no control stream, refused and kept open, black hole", (
        f"{_STARTING}test_a_registration_that_never_comes_has_a_deadline",
        f"{_LIFE}test_a_start_that_takes_too_long",
    )),
    9: (START, "unauthorized for long, then valid", (
        f"{_STARTING}test_unauthorized_raises_an_alarm_and_recovers",
        f"{_ENDS}test_unauthorized_parks_with_the_child_that_goes_on_asking",
        f"{_ENDS}test_one_that_was_refused_and_fell_silent_is_started_again",
    )),
    10: (START, "the account is refused at every start", (
        f"{_STARTING}test_an_account_that_is_refused_is_asked_ever_more_seldom",
        f"{_ENDS}test_a_crash_loop_is_flagged_told_once_and_goes_on",
    )),
    11: (START, "the quick service says 429 or 500, garbage, or nothing for long", (
        f"{_STARTING}test_a_quick_service_that_fails",
        f"{_ENDS}test_too_many_quick_tunnels_are_told_and_waited_out",
    )),
    12: (RUN, "one connection drops", (
        f"{_RUNNING}test_one_connection_that_drops_restarts_nothing",
    )),
    13: (RUN, "all connections drop", (
        f"{_RUNNING}test_all_connections_that_drop_come_back_by_themselves",
        f"{_LIFE}test_connections_that_come_back_by_themselves",
    )),
    14: (RUN, "the edge is down for 5 s, 60 s, 10 min", (
        f"{_RUNNING}test_an_edge_that_was_down_carries_again_at_once",
        f"{_ENDS}test_an_edge_that_is_down_is_no_crash_loop_and_no_idle_time",
    )),
    15: (RUN, "connections flap every 3 s", (
        f"{_RUNNING}test_connections_that_flap_cause_no_storm",
        f"{_LIFE}test_flapping_restarts_nothing",
    )),
    16: (RUN, "the edge is frozen: `/ready` says 200, and nothing comes through", (
        f"{_RUNNING}test_a_frozen_edge_is_seen_by_the_probe_alone",
        f"{_ENDS}test_a_frozen_edge_is_seen_by_probes_alone",
    )),
    17: (RUN, "packets vanish in silence", (
        f"{_RUNNING}test_packets_that_vanish_are_noticed_long_before_cloudflared_does",
        f"{_RUNNING}test_without_a_network_a_restart_is_not_tried",
        f"{_ENDS}test_no_restart_without_a_well_origin_and_a_network",
    )),
    18: (RUN, "one of four connections takes requests and never answers", (
        f"{_RUNNING}test_one_wedged_connection_of_four_is_told",
        f"{_LIFE}test_a_part_of_the_probes_is_told_and_restarts_nothing",
    )),
    19: (RUN, "the child is killed", (
        f"{_RUNNING}test_a_child_that_somebody_ends_is_back_within_the_first_pause",
        f"{_SUPERVISOR}test_a_child_that_is_killed_is_replaced_within_a_second",
    )),
    20: (RUN, "the child is stopped", (
        f"{_RUNNING}test_a_child_that_is_stopped_is_replaced",
        f"{_SUPERVISOR}test_a_child_that_answers_nothing_is_ended_by_force",
    )),
    21: (RUN, "the child ends with 0, 1, 2, 11, -13, -6; after a stable run or a short one", (
        f"{_RUNNING}test_a_child_that_ends_by_itself_is_started_again",
        f"{_RUNNING}test_only_a_stable_run_makes_the_pauses_short_again",
        f"{_ENDS}test_a_child_that_ends_is_started_again",
    )),
    22: (RUN, "what the tunnel leads to is down", (
        f"{_E2E}test_alone.py::test_an_origin_that_is_down_restarts_nothing",
        f"{_RUNNING}test_a_backend_that_is_down_restarts_nothing",
        f"{_ENDS}test_no_restart_without_a_well_origin_and_a_network",
    )),
    23: (RUN, "`/ready` is slow, truncated, 500, huge, or never ends", (
        f"{_RUNNING}test_a_child_whose_answers_make_no_sense_is_replaced",
        f"{_UNIT}test_readiness.py::test_ready",
    )),
    24: (RUN, "the clock leaps", (
        f"{_RUNNING}test_a_leap_of_the_clock_restarts_nothing",
        f"{_LIFE}test_a_leap_of_the_clock_ends_no_child_that_answers",
    )),
    25: (RUN, "no descriptor or process is left for another child", (
        f"{_RUNNING}test_a_system_that_has_nothing_left_to_give",
        f"{_FAULTS}test_without_descriptors_none_is_started",
            f"{_FAULTS}test_without_descriptors_a_child_that_ends_leaves_no_folder",
    )),
    26: (LOGS, "50,000 lines in a second", (f"{_LOGS}test_a_flood",)),
    27: (LOGS, "a line of 10 MB, bytes that are no text, steering signs", (
        f"{_LOGS}test_a_line_of_ten_megabytes",
        f"{_LOGS}test_bytes_that_are_no_text",
    )),
    28: (LOGS, "nobody reads our log", (f"{_LOGS}test_a_log_that_nobody_reads",)),
    29: (LOGS, "a line with the token", (f"{_LOGS}test_a_line_with_the_token",)),
    30: (LOGS, "lines that strangers make up", (
        f"{_LOGS}test_lines_that_a_stranger_makes_up",
        f"{_E2E}test_quick.py::test_its_name_is_told_once_a_request_has_come_back",
    )),
    31: (STOP, "SIGTERM idle, with a stream, with one without end", (
        f"{_STOPPING}test_idle",
        f"{_STOPPING}test_a_stream_in_flight_is_brought_to_its_end",
        f"{_STOPPING}test_a_stream_without_end_is_cut_when_the_grace_is_over",
    )),
    32: (STOP, "the child ignores SIGTERM", (
        f"{_STOPPING}test_one_that_ignores_the_signal_is_killed",
        f"{_STOPPING}test_there_may_be_less_time_than_the_grace",
    )),
    33: (STOP, "the edge never answers or never closes", (
        f"{_STOPPING}test_an_edge_that_lets_nobody_go",
    )),
    34: (STOP, "a stop in every state, and twice", (
        f"{_STOPPING}test_a_signal_in_every_state",
        f"{_STOPPING}test_a_second_signal_ends_the_drain",
        f"{_UNIT}test_stopping.py::test_stop_in_every_state",
    )),
    35: (STOP, "the supervisor is killed", (
        f"{_STOPPING}test_killed_it_takes_its_child_along_or_the_next_one_ends_it",
        f"{_E2E}test_alone.py::test_a_killed_one_takes_its_child_along",
    )),
    36: (STOP, "make before break under load", (
        f"{_REPLACED}test_a_planned_restart_loses_nothing",
        "tests/tunnel_load/test_tunnel_load.py::test_a_short_load",
    )),
    37: (STOP, "a replacement that never gets ready", (
        f"{_REPLACED}test_a_second_that_never_gets_ready_leaves_the_first_alone",
        f"{_REPLACED}test_a_token_of_another_tunnel_is_tried_beside_the_first",
        f"{_REPLACING}test_a_second_that_is_refused_is_given_up",
    )),
    38: (STOP, "the token changes", (
        f"{_REPLACED}test_a_new_token_loses_nothing",
        f"{_REPLACED}test_a_token_that_is_none_changes_nothing",
        f"{_E2E}test_alone.py::test_nothing_is_exposed_before_the_origin_proves_itself",
    )),
    39: (STOP, "two supervisors at once", (
        f"{_REPLACED}test_two_supervisors_tell_each_other_apart",
    )),
}  # fmt: skip
