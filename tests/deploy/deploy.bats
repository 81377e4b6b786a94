#!/usr/bin/env bats
# deploy.sh in a throw-away root, with real environments and real services; only systemctl is a
# fake, which starts and stops them as systemd does. Each test goes on where the one before ended.
#
# Those with the tag `slow` are left out unless they are asked for, as pytest's are.
#
# WHEELS: what wheels.py wrote. PYTHON: a Python that has what Spriteworks needs.

setup_file() {
    export FAKE_ROOT=$BATS_FILE_TMPDIR/root FAKE_STATE=$BATS_FILE_TMPDIR/state
    export PATH=$BATS_TEST_DIRNAME/fakes:$PATH
    # Environments have Spriteworks from its wheel, and all else from the one that runs the tests.
    PYTHONPATH=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    export PYTHONPATH PIP_NO_DEPS=1 PIP_NO_INDEX=1
    PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    export PORT URL=http://127.0.0.1:$PORT
    mkdir -p "$FAKE_STATE" "$FAKE_ROOT/etc/spriteworks"
    cat >"$FAKE_ROOT/etc/spriteworks/spriteworks.env" <<SETTINGS
SPRITEWORKS_DATA=$FAKE_ROOT/var/lib/spriteworks
SPRITEWORKS_URL=$URL
SPRITEWORKS_SERVE_OPTIONS="--port $PORT --no-servers"
SETTINGS
    for worker in a b; do
        echo 'SPRITEWORKS_WORKER_OPTIONS="--server http://127.0.0.1:9 --drain 5"' \
            >"$FAKE_ROOT/etc/spriteworks/worker-$worker.env"
    done
}

teardown_file() {
    for unit in "$FAKE_STATE"/*.pid; do
        [ -e "$unit" ] || continue
        unit=${unit##*/}
        systemctl stop "${unit%.pid}"
    done
}

deploy() {
    run "$BATS_TEST_DIRNAME/../../scripts/deploy.sh" --root "$FAKE_ROOT" --python "$PYTHON" \
        --timeout 60 "$@"
    echo "$output"
}

wheel() { echo "$WHEELS/spriteworks-$1-py3-none-any.whl"; }

current() { basename "$(readlink "$FAKE_ROOT/opt/spriteworks/current")"; }

# All that lies in the root, and when it was changed; the record changes by itself.
listed() { find "$FAKE_ROOT" -path '*/var/lib/*' -prune -o -printf '%p %T@ %l\n' | sort; }

# A request, as a client posts one; its id.
post() {
    curl --silent --fail "$URL/api/v2/jobs" -H 'Content-Type: application/json' -d '{"workflow":
        {"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
         "2": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1,
               "color": 0}}}}' | sed 's/.*"id": *"\([^"]*\)".*/\1/'
}

@test "a dry run says what it would do, and changes nothing" {
    before=$(listed)
    deploy "$(wheel 0.1.0)" --dry-run
    [ "$status" -eq 0 ]
    [[ $output == *"would install 0.1.0-"* ]]
    [[ $output == *"would restart spriteworks.service"* ]]
    [ "$(listed)" = "$before" ]
    ! grep -E '^(enable|restart|start|stop|useradd)' "$FAKE_STATE/calls"
}

@test "a version is deployed and answers" {
    deploy "$(wheel 0.1.0)" --workers "a b"
    [ "$status" -eq 0 ]
    [[ $(current) == 0.1.0-* ]]
    curl --fail --silent "$URL/health"
    systemctl is-active spriteworks-worker@a.service
    systemctl is-active spriteworks-worker@b.service
    cmp "$BATS_TEST_DIRNAME/../../scripts/spriteworks.service" \
        "$FAKE_ROOT/etc/systemd/system/spriteworks.service"
    grep -q '^enable .*spriteworks.service' "$FAKE_STATE/calls"
    cmp "$BATS_TEST_DIRNAME/../../scripts/as-service.sh" "$FAKE_ROOT/opt/spriteworks/spriteworks"
}

@test "a second deploy changes nothing" {
    before=$(listed)
    : >"$FAKE_STATE/calls"
    deploy "$(wheel 0.1.0)"
    [ "$status" -eq 0 ]
    [[ $output == *"runs already; nothing to do"* ]]
    [ "$(listed)" = "$before" ]
    ! grep -E '^(daemon-reload|enable|restart|start|stop)' "$FAKE_STATE/calls"
}

# bats test_tags=slow
@test "a service that was stopped is started by a deploy of the same version" {
    systemctl stop spriteworks.service
    deploy "$(wheel 0.1.0)"
    [ "$status" -eq 0 ]
    curl --fail --silent "$URL/health"
}

@test "a broken version is rolled back" {
    before=$(current)
    deploy "$(wheel 7.0)"
    [ "$status" -eq 1 ]
    [[ $output == *"$before runs again"* ]]
    [ "$(current)" = "$before" ]
    curl --fail --silent "$URL/health"
}

# bats test_tags=slow
@test "a version whose workers do not start is rolled back" {
    before=$(current)
    : >"$FAKE_STATE/calls"
    deploy "$(wheel 6.0)"
    [ "$status" -eq 1 ]
    [[ $output == *"$before runs again"* ]]
    [ "$(current)" = "$before" ]
    curl --fail --silent "$URL/health"
    systemctl is-active spriteworks-worker@a.service
    systemctl is-active spriteworks-worker@b.service
    # One after the other: the second was not touched before the first ran.
    restarts=$(grep '^restart' "$FAKE_STATE/calls" | head -n 2 | tr '\n' ' ')
    [ "$restarts" = "restart spriteworks.service restart spriteworks-worker@a.service " ]
}

# bats test_tags=slow
@test "a broken version that changed the tables is rolled back with them" {
    before=$(current)
    tables=$(sqlite "SELECT value FROM facts WHERE name = 'version'")
    sqlite "INSERT INTO facts VALUES ('of the test', 'is still there')"
    deploy "$(wheel 8.0)"
    [ "$status" -eq 1 ]
    [[ $output == *"change the tables"* ]]
    [[ $output == *"$before runs again"* ]]
    [ "$(current)" = "$before" ]
    curl --fail --silent "$URL/health"
    [ "$(sqlite "SELECT value FROM facts WHERE name = 'version'")" = "$tables" ]
    [ "$(sqlite "SELECT value FROM facts WHERE name = 'of the test'")" = "is still there" ]
}

# bats test_tags=slow
@test "a version with other tables is deployed after a backup" {
    tables=$(sqlite "SELECT value FROM facts WHERE name = 'version'")
    deploy "$(wheel 9.0)"
    [ "$status" -eq 0 ]
    [[ $(current) == 9.0-* ]]
    curl --fail --silent "$URL/health"
    [ "$(sqlite "SELECT value FROM facts WHERE name = 'version'")" -eq $((tables + 1)) ]
    [ -s "$(echo "$FAKE_ROOT"/var/backups/spriteworks/before-9.0-*.tar)" ]
    systemctl is-active spriteworks-worker@b.service
}

# bats test_tags=slow
@test "what cannot be used is refused, and changes nothing" {
    before=$(current)
    deploy "$(wheel 0.1.0)"
    [ "$status" -eq 1 ]
    [[ $output == *"cannot use the record that is there; nothing was changed"* ]]
    [ "$(current)" = "$before" ]
    deploy "$BATS_FILE_TMPDIR"
    [ "$status" -eq 1 ]
    [[ $output == *"no checkout of Spriteworks and no wheel"* ]]
    deploy --workers "a;b"
    [ "$status" -eq 2 ]
    deploy --nothing
    [ "$status" -eq 2 ]
    curl --fail --silent "$URL/health"
}

# bats test_tags=slow
@test "two do not deploy at once" {
    exec 8>"$FAKE_ROOT/opt/spriteworks/.deploy.lock"
    flock 8
    deploy "$(wheel 9.0)"
    [ "$status" -eq 1 ]
    [[ $output == *"somebody else deploys"* ]]
}

# bats test_tags=slow
@test "old versions go, those that count and ran before stay" {
    deploy "$(wheel 9.0)" --keep 1
    systemctl stop spriteworks.service
    deploy "$(wheel 9.0)" --keep 1
    [ "$status" -eq 0 ]
    [ "$(ls "$FAKE_ROOT/opt/spriteworks/versions")" = "$(current)" ]
}

sqlite() {
    "$PYTHON" -c '
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=60) as connection:
    for row in connection.execute(sys.argv[2]):
        print(*row)
' "$FAKE_ROOT/var/lib/spriteworks/batch.sqlite" "$1"
}
