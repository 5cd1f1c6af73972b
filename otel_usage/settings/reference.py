"""Every setting, under each of its names: the table that docs/settings.md is made from."""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """One setting. keyword: of `otel_usage.init`, or ""; variable: "" if it has none."""

    keyword: str
    variable: str
    default: str
    meaning: str


SETTINGS = (
    Setting("app", "", "required", "name of the program, lower case; names its variables and its folder"),
    Setting("version", "", "required", "the program's version"),
    Setting("consent", "<APP>_TELEMETRY", "required", "`opt-in`, `opt-out` or `ask`, and `host` for a plugin: see plugins.md; the variable is the user's own word: "
            "`on`, `off`, `local`, `log`; see consent.md"),
    Setting("", "<APP>_DISABLE_ANALYTICS", "", "switches this app off; a false value (`0`, `false`, `no`, `off`, empty) "
            "says nothing"),
    Setting("", "DO_NOT_TRACK", "", "switches every app off; likewise"),
    Setting("", "OTEL_SDK_DISABLED", "", "switches every app off; likewise"),
    Setting("", "OTEL_USAGE_DISABLED", "", "switches every app off; likewise"),
    Setting("destinations", "OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER, OTEL_EXPORTER_*", "None: the variables",
            "`{exporter: endpoint, or {keyword: value}}`; what a host gives here beats the variables"),
    Setting("schema", "", "nothing but runs", "what may be recorded besides runs; see schema.md"),
    Setting("sender", "OTEL_USAGE_SENDER", "`detached`", "`detached`, `inline` (waited for, at most 500 ms) or `none`; "
            "in CI and where a container would end with the program, `detached` is `inline` unless the variable says "
            "otherwise; never of a service"),
    Setting("policy", "", "1", "version of what is collected; a larger one shows the notice again"),
    Setting("about", "", "", "address of the page that tells users what is collected"),
    Setting("flush_s", "", "60, of a service 3600", "seconds after which a long-running program hands over actions and counts, and "
            "starts a sender"),
    Setting("service", "", "False", "no run; nobody sits at a terminal: the operator's environment decides, one line at start-up "
            "says so"),
    Setting("heartbeat", "", "`thread`", "of a service: `thread`, a daemon that sleeps until something is due, or `calls`, whichever "
            "comes next"),
    Setting("", "<APP>_INSTALLATION_ID", "", "of a service: which installation it is, any text of the operator's; it leaves as a "
            "keyed hash. By default the ServiceAccount of a pod, else a random id in the folder"),
    Setting("", "<APP>_CLUSTER_IDENTITY", "", "of a service in Kubernetes: `true` sends a keyed hash of the cluster's id, too; see "
            "services.md"),
    Setting("flag", "", "`--disable-analytics`", "option that switches one run off; taken out of `sys.argv` before the "
            "program's parser sees it; empty for none"),
    Setting("", "OTEL_USAGE_HOME", "`$XDG_STATE_HOME/otel-usage`, `~/.local/state/otel-usage`",
            "folder of all apps' state"),
    Setting("", "OTEL_USAGE_SEND_DELAY_S", "10", "seconds between a run and its sending; at most one sender is started "
            "in that time"),
    Setting("", "OTEL_USAGE_STRICT", "", "`1` makes wrong settings and undeclared records errors, as in tests and under "
            "`python -X dev`; a program at a terminal that is not installed (a checkout, an editable install) has wrong "
            "settings said on stderr"),
    Setting("", "OTEL_USAGE_RELAY_TOKEN", "", "the relay's bearer token; see relay.md"),
    Setting("", "OTEL_USAGE_SERVE_TOKEN", "", "`otel-usage serve`: the token of clients; see serve.md"),
    Setting("", "OTEL_USAGE_SERVE_VIEWER_TOKEN", "", "`otel-usage serve`: the token of those who look; see serve.md"),
    Setting("", "OTEL_USAGE_CHILD", "", "set by us in the sender and in what it starts: nothing is recorded there"),
    Setting("", "OTEL_USAGE_TRAP", "", "set by `otel-usage verify` for the program's start-up"),
    Setting("", "OTEL_USAGE_DOCTOR", "", "set by `otel-usage doctor` for the program's start-up, and removed there"),
    Setting("", "OTEL_USAGE_INSTRUMENT", "a program that has the service's name", "whether `opentelemetry-instrument` records the "
            "program as a run: `true` or `false`; see exporters.md"),
    Setting("", "OTEL_USAGE_INSTRUMENTED", "", "set in a program under `opentelemetry-instrument`, to its process id: what it "
            "starts is a part of its run"),
    Setting("", "OTEL_USAGE_RUN", "", "set by `otel-usage run` for the program's start-up, and removed there"),
)  # fmt: skip
