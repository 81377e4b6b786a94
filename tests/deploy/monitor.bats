#!/usr/bin/env bats
# monitor.sh on a real service with a server that can be held up, and on the shapes that a service of
# many machines tells. SERVICE: the program that serves (served.py). PYTHON: a Python for it.

MONITOR="$BATS_TEST_DIRNAME/../../scripts/monitor.sh"

setup_file() {
    export DATA=$BATS_FILE_TMPDIR/data
    "$PYTHON" "$BATS_TEST_DIRNAME/held_up.py" "$DATA" "$BATS_FILE_TMPDIR/control" \
        >"$BATS_FILE_TMPDIR/url" 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/pid"
    wait_for test -s "$BATS_FILE_TMPDIR/url"
    URL=$(cat "$BATS_FILE_TMPDIR/url")
    export URL
    wait_for curl --silent --fail "$URL/ready"
}

teardown_file() { kill "$(cat "$BATS_FILE_TMPDIR/pid")" 2>/dev/null || true; }

# Tries a command until it succeeds, for 2 minutes.
wait_for() {
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    echo "in vain: $*"
    return 1
}

# Calls monitor.sh without the settings of this machine.
monitor() {
    run sh "$MONITOR" --settings "$BATS_FILE_TMPDIR/none" --url "$URL" --full 101:102 "$@"
    echo "$output"
}

# A program in front of all others: in_front NAME <BODY
in_front() {
    mkdir -p "$BATS_TEST_TMPDIR/bin"
    { echo '#!/bin/sh' && cat; } >"$BATS_TEST_TMPDIR/bin/$1"
    chmod +x "$BATS_TEST_TMPDIR/bin/$1"
    PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

@test "healthy" {
    monitor --disk "$DATA"
    [ "$status" -eq 0 ]
    [[ ${lines[0]} == "SPRITEWORKS OK - all is well |"* ]]
    [[ ${lines[0]} == *"'queue'=0s"* ]]
    [[ $output == *"OK ready: ready for jobs"* ]]
    [[ $output == *"1 servers open"* ]]
}

@test "healthy as JSON" {
    monitor --json --disk "$DATA"
    [ "$status" -eq 0 ]
    echo "$output" | "$PYTHON" -c '
import json, sys
told = json.load(sys.stdin)
assert (told["status"], told["code"]) == ("OK", 0), told
assert {"service", "ready", "queue", "workers"} <= {one["name"] for one in told["checks"]}, told
assert all(one["status"] == "OK" for one in told["checks"]), told
'
}

@test "stuck: jobs wait and nothing comes to its end" {
    curl --silent --fail --data-binary hold "$(cat "$BATS_FILE_TMPDIR/control")"
    for _ in 1 2 3 4; do
        curl --silent --fail "$URL/api/v2/jobs" -H 'Content-Type: application/json' -d '{"workflow":
            {"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 0],
                   "filename_prefix": "x"}},
             "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8,
                   "batch_size": 1, "color": 0}}}}'
    done
    is_stuck() { ! sh "$MONITOR" --settings /none --url "$URL" --full 101:102 --queue 1:2; }
    wait_for is_stuck
    wait_for eval 'monitor --queue 1:2; [ "$status" -eq 2 ]'
    monitor --queue 1:2
    [ "$status" -eq 2 ]
    [[ ${lines[0]} == "SPRITEWORKS CRITICAL - the oldest of "*" waiting jobs: "* ]]
    monitor --queue 1:100000
    [ "$status" -eq 1 ]
    [[ ${lines[0]} == "SPRITEWORKS WARNING - "* ]]
    curl --silent --fail --data-binary go "$(cat "$BATS_FILE_TMPDIR/control")"
    wait_for eval 'monitor --queue 1:2; [ "$status" -eq 0 ]'
}

@test "a disk that is nearly full, and one that is not there" {
    run sh "$MONITOR" --settings /none --url "$URL" --disk / --full 0:101
    [ "$status" -eq 1 ]
    run sh "$MONITOR" --settings /none --url "$URL" --disk / --full 0:0
    [ "$status" -eq 2 ]
    [[ ${lines[0]} == *"/: "*"% of the disk used"* ]]
    monitor --disk "$DATA/nothing"
    [ "$status" -eq 3 ]
    [[ ${lines[0]} == *"there is no $DATA/nothing"* ]]
}

@test "workers that are too few, stale or gone" {
    real=$(command -v curl)
    in_front curl <<CURL
case \$* in *metrics*) cat "$BATS_TEST_TMPDIR/metrics" ;; *) exec "$real" "\$@" ;; esac
CURL
    metrics() {
        printf '# TYPE spriteworks_workers gauge\nspriteworks_queue_oldest_seconds 0\n'
        printf 'spriteworks_workers{status="live"} %s\n' "$1"
        printf 'spriteworks_workers{status="stale"} %s\n' "$2"
        printf 'spriteworks_server_open{server="a"} %s\n' "$3"
    }
    metrics 2 0 1 >"$BATS_TEST_TMPDIR/metrics"
    monitor --workers 2
    [ "$status" -eq 0 ]
    monitor --workers 3
    [ "$status" -eq 1 ]
    metrics 2 1 1 >"$BATS_TEST_TMPDIR/metrics"
    monitor
    [ "$status" -eq 1 ]
    [[ ${lines[0]} == *"1 stale"* ]]
    metrics 0 3 1 >"$BATS_TEST_TMPDIR/metrics"
    monitor --workers 3
    [ "$status" -eq 2 ]
    metrics 2 0 0 >"$BATS_TEST_TMPDIR/metrics"
    monitor
    [ "$status" -eq 2 ]
    [[ ${lines[0]} == *"0 servers open"* ]]
}

@test "GPUs: there, hot, fallen off the bus, too few" {
    in_front nvidia-smi <<'SMI'
printf '0, 61, 20480, 24576\n1, 86, 100, 24576\n'
SMI
    monitor --gpus 2 --hot 90:95
    [ "$status" -eq 0 ]
    [[ $output == *"GPU 0: 61 degrees, 20480 of 24576 MiB"* ]]
    monitor --gpus 2
    [ "$status" -eq 1 ]
    [[ ${lines[0]} == *"GPU 1: 86 degrees"* ]]
    monitor --gpus 3 --hot 90:95
    [ "$status" -eq 2 ]
    in_front nvidia-smi <<'SMI'
echo 'Unable to determine the device handle for GPU "0000:01:00.0": | GPU is lost\'
exit 15
SMI
    monitor
    [ "$status" -eq 2 ]
    [[ ${lines[0]} == *"GPU is lost"* ]]
    monitor --json
    echo "$output" | "$PYTHON" -c '
import json, sys
(one,) = (one for one in json.load(sys.stdin)["checks"] if one["name"] == "gpus")
assert one["text"].endswith("handle for GPU \"0000:01:00.0\": | GPU is lost\\"), one
'
}

@test "a certificate that counts, runs out soon, and is signed by nobody" {
    certificate() {
        openssl req -x509 -newkey rsa:2048 -nodes -days "$1" -subj /CN=localhost \
            -addext subjectAltName=DNS:localhost -keyout "$BATS_TEST_TMPDIR/key" \
            -out "$BATS_TEST_TMPDIR/certificate" 2>/dev/null
    }
    certificate 30
    "$PYTHON" "$BATS_TEST_DIRNAME/tls_proxy.py" "$URL" "$BATS_TEST_TMPDIR/certificate" \
        "$BATS_TEST_TMPDIR/key" >"$BATS_TEST_TMPDIR/port" 3>&- &
    proxy=$!
    wait_for test -s "$BATS_TEST_TMPDIR/port"
    monitor --site "https://localhost:$(cat "$BATS_TEST_TMPDIR/port")" --certificate 40:7
    beside=$status
    URL=https://localhost:$(cat "$BATS_TEST_TMPDIR/port")
    monitor --cacert "$BATS_TEST_TMPDIR/certificate"
    ok=$status
    monitor --cacert "$BATS_TEST_TMPDIR/certificate" --certificate 40:7
    soon=$status words=${lines[0]}
    monitor --cacert "$BATS_TEST_TMPDIR/certificate" --certificate 50:40
    late=$status
    monitor
    strange=$status
    kill "$proxy"
    [ "$beside $ok $soon $late $strange" = "1 0 1 2 2" ]
    [[ $words == *"the certificate counts until"* ]]
}

@test "what is called in a wrong way is UNKNOWN" {
    for wrong in "--queue 5" "--queue 5:" "--workers two" "--nothing 1" "--url"; do
        # shellcheck disable=SC2086
        run sh "$MONITOR" $wrong
        [ "$status" -eq 3 ]
        [[ $output == "UNKNOWN - "*"--help"* ]]
    done
    run sh "$MONITOR" --help
    [ "$status" -eq 0 ]
    [[ $output == *"--certificate WARN:CRIT"* ]]
}

@test "settings of the machine say where the service is" {
    printf 'SPRITEWORKS_URL="%s"\nSPRITEWORKS_DATA=%s\n' "$URL" "$DATA" >"$BATS_TEST_TMPDIR/env"
    run sh "$MONITOR" --settings "$BATS_TEST_TMPDIR/env" --full 101:102
    [ "$status" -eq 0 ]
    [[ $output == *"$URL answers"* ]]
    [[ $output == *"$DATA: "* ]]
}

@test "dead" {
    kill -9 "$(cat "$DATA/service.pid")"
    wait_for eval 'monitor; [ "$status" -eq 2 ]'
    monitor
    [ "$status" -eq 2 ]
    [[ ${lines[0]} == "SPRITEWORKS CRITICAL - $URL does not answer"* ]]
}
