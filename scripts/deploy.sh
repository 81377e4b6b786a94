#!/usr/bin/env bash
# Installs a version of Spriteworks beside the one that runs, and changes over to it:
#
#     sudo scripts/deploy.sh                     this checkout
#     sudo scripts/deploy.sh spriteworks-1.2.0-py3-none-any.whl
#     sudo scripts/deploy.sh --workers "gpu0 gpu1" --dry-run
#
# Each version is an environment of its own in /opt/spriteworks/versions, and the link `current` says
# which counts. A second call with the same version changes nothing. Where tables must be changed the
# service is stopped, its record is kept, and only then they are. Workers are restarted one after the
# other, each when it has finished its jobs. Where the service does not answer afterwards, or a worker
# does not start, all goes back: the link, the units and, if it was changed, the record.
#
# Options:
#     --workers "NAME ..."  workers to have on this machine, besides those that are enabled
#     --no-api              a machine with workers only
#     --extras LIST         extras of the package (default service,postgresql,engine; without engine
#                           there is no torch: for workers that have ComfyUI, and for the API alone)
#     --constraints FILE    versions to install, for a wheel; a checkout brings its own
#     --python PROGRAM      which Python makes the environment (default python3)
#     --timeout S           for the service to answer (default 120)
#     --keep N              versions to keep (default 3)
#     --root DIR            work in this folder as if it were / (for tests)
#     --dry-run             say what would be done, and change nothing
#
# Ends with 0 where the version runs, 1 where it does not and all is as before, 2 where the call was
# wrong, 3 where the way back failed, too, and somebody has to look.
set -euo pipefail

WORKERS=() SOURCE="" EXTRAS="service,postgresql,engine" CONSTRAINTS="" PYTHON="python3"
TIMEOUT=120 KEEP=3 ROOT="" DRY_RUN="" API=1
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
API_UNIT=spriteworks.service
UNITS=("$API_UNIT" "spriteworks-worker@.service" "spriteworks-workers.slice")

say() { printf 'deploy: %s\n' "$*" >&2; }
misused() {
    say "error: $*; --help tells more"
    exit 2
}
fail() {
    say "error: $*"
    exit 1
}

# Does something, or says in a dry run what would be done: perform WORDS COMMAND...
perform() {
    local words=$1
    shift
    if [[ -n $DRY_RUN ]]; then
        say "would $words"
    else
        say "$words"
        "$@"
    fi
}

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

read_arguments() {
    while (($#)); do
        case $1 in
        --workers | --extras | --constraints | --python | --timeout | --keep | --root)
            (($# > 1)) || misused "$1 needs a value"
            ;;&
        --workers)
            read -ra WORKERS <<<"$2"
            shift
            ;;
        --extras) EXTRAS=$2 && shift ;;
        --constraints) CONSTRAINTS=$2 && shift ;;
        --python) PYTHON=$2 && shift ;;
        --timeout) TIMEOUT=$2 && shift ;;
        --keep) KEEP=$2 && shift ;;
        --root) ROOT=${2%/} && shift ;;
        --no-api) API="" ;;
        --dry-run) DRY_RUN=1 ;;
        -h | --help)
            usage
            exit 0
            ;;
        -*) misused "there is no option $1" ;;
        *)
            [[ -z $SOURCE ]] || misused "one version at a time"
            SOURCE=$1
            ;;
        esac
        shift
    done
    SOURCE=${SOURCE:-$(dirname "$HERE")}
    [[ $TIMEOUT =~ ^[0-9]+$ ]] || misused "--timeout $TIMEOUT is no number of seconds"
    [[ $KEEP =~ ^[1-9][0-9]*$ ]] || misused "--keep $KEEP is no number from 1"
    for worker in ${WORKERS[@]+"${WORKERS[@]}"}; do
        [[ $worker =~ ^[A-Za-z0-9_.-]+$ ]] || misused "$worker is no name of a worker"
    done
    PREFIX=$ROOT/opt/spriteworks ETC=$ROOT/etc/spriteworks SYSTEMD=$ROOT/etc/systemd/system
    STATE=$ROOT/var/lib/spriteworks BACKUPS=$ROOT/var/backups/spriteworks
}

check_machine() {
    [[ -n $ROOT || $(id -u) == 0 ]] || fail "this installs for all of the machine; call it with sudo"
    local program
    for program in "$PYTHON" systemctl curl flock sha256sum; do
        command -v "$program" >/dev/null || fail "$program is missing here; install it"
    done
    "$PYTHON" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
        fail "$PYTHON is older than 3.10 or has no venv (Debian: apt-get install python3-venv)"
}

# ------------------------------------------------------------------------------ versions

# The name of what is to be installed: its version, and a hash of its content.
name_of_source() {
    local version
    if [[ -f $SOURCE && $SOURCE == *.whl ]]; then
        version=$(basename "$SOURCE" | cut -d- -f2)
        printf '%s-%s\n' "$version" "$(sha256sum <"$SOURCE" | cut -c1-12)"
    elif [[ -f $SOURCE/pyproject.toml && -f $SOURCE/orchestrator/version.py ]]; then
        version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$SOURCE/orchestrator/version.py")
        printf '%s-%s\n' "$version" "$(hash_of_checkout)"
    else
        fail "$SOURCE is no checkout of Spriteworks and no wheel"
    fi
}

PARTS=(comfy_nodes orchestrator workflows scripts pyproject.toml README.md LICENSE)

hash_of_checkout() {
    # shellcheck disable=SC2312
    (cd "$SOURCE" && find "${PARTS[@]}" -type f ! -path '*/__pycache__/*' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
}

# Makes the environment of the version, or leaves the one that is whole.
install_version() {
    if [[ -f $VERSION/.complete ]]; then
        say "$NAME is installed"
        return
    fi
    perform "install $NAME in $VERSION" make_environment
}

# In a shell of its own, so that each step can end it.
make_environment() (
    constraints=()
    rm -rf "$VERSION"
    "$PYTHON" -m venv "$VERSION" || exit 1
    # It stays: `pip install` of another extra later takes the same version. And what a build leaves
    # in its folder shall not be in the operator's.
    mkdir -p "$VERSION/source" "$VERSION/units" || exit 1
    if [[ -d $SOURCE ]]; then
        (cd "$SOURCE" && cp -R "${PARTS[@]}" "$VERSION/source/") || exit 1
        source=$VERSION/source
        constraints=(--constraint "$source/scripts/constraints.txt"
            --constraint "$source/scripts/constraints-torch.txt")
    else
        cp "$SOURCE" "$VERSION/source/" || exit 1
        source=$VERSION/source/$(basename "$SOURCE")
    fi
    [[ -z $CONSTRAINTS ]] || constraints+=(--constraint "$CONSTRAINTS")
    "$VERSION/bin/python" -m pip install --quiet --disable-pip-version-check \
        ${constraints[@]+"${constraints[@]}"} \
        "spriteworks[$EXTRAS] @ file://$(realpath "$source")" || exit 1
    "$VERSION/bin/spriteworks" --version >&2 || exit 1
    (cd "$HERE" && cp "${UNITS[@]}" "$VERSION/units/") || exit 1
    touch "$VERSION/.complete"
)

# The name of the version that counts; nothing where there is none.
current() {
    if [[ -L $PREFIX/current ]]; then basename "$(readlink "$PREFIX/current")"; fi
}

# A rename: at no moment there is no link.
point_to() {
    ln -sfn "versions/$1" "$PREFIX/current.new"
    mv -T "$PREFIX/current.new" "$PREFIX/current"
}

drop_old_versions() {
    local name count=0
    # the newest first
    while IFS= read -r name; do
        count=$((count + 1))
        if ((count > KEEP)) && [[ $name != "$NAME" && $name != "$BEFORE" ]]; then
            perform "remove the old version $name" rm -rf "${PREFIX:?}/versions/$name"
        fi
    done < <(find "$PREFIX/versions" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %f\n' 2>/dev/null |
        sort -rn | cut -d' ' -f2-)
}

# -------------------------------------------------------------------- user, settings, units

prepare_machine() {
    if ! getent passwd spriteworks >/dev/null; then
        perform "make the user spriteworks" useradd --system --user-group \
            --home-dir /var/lib/spriteworks --shell /usr/sbin/nologin spriteworks
    fi
    if [[ ! -d $BACKUPS || ! -d $PREFIX/versions || ! -d $ETC || ! -d $STATE ]]; then
        perform "make the folders" make_folders
    fi
    if ! cmp -s "$HERE/as-service.sh" "$PREFIX/spriteworks"; then
        perform "put the command $PREFIX/spriteworks in place" \
            install -m 755 "$HERE/as-service.sh" "$PREFIX/spriteworks"
    fi
    if [[ ! -e $ETC/spriteworks.env ]]; then
        perform "write $ETC/spriteworks.env; look at it" write_settings
    fi
    local worker
    for worker in ${WORKERS[@]+"${WORKERS[@]}"}; do
        if [[ ! -e $ETC/worker-$worker.env ]]; then
            perform "write $ETC/worker-$worker.env; look at it" write_worker_settings "$worker"
        fi
    done
}

make_folders() {
    mkdir -p "$PREFIX/versions" "$ETC" "$SYSTEMD" "$STATE" "$BACKUPS"
    chmod 700 "$STATE" "$BACKUPS"
    owned "$STATE" "$BACKUPS"
}

owned() { [[ $(id -u) != 0 ]] || chown spriteworks:spriteworks "$@"; }

write_settings() {
    (umask 027 && cat >"$ETC/spriteworks.env") <<'SETTINGS'
# Read by the service and every worker as EnvironmentFile= of systemd, and by a shell.
SPRITEWORKS_DATA=/var/lib/spriteworks
# Without these two all is in that folder, for this machine alone. For several, the same on each:
#SPRITEWORKS_DATABASE=postgresql://USER:PASSWORD@HOST/DATABASE
#SPRITEWORKS_STORAGE=s3://BUCKET/PREFIX
# Wakes workers at once: redis://HOST. Without it they look every few seconds.
#SPRITEWORKS_BROKER=redis://127.0.0.1:6379/0
# Where deploy.sh and monitor.sh ask how it does.
SPRITEWORKS_URL=http://127.0.0.1:8190
SPRITEWORKS_SERVE_OPTIONS="--no-servers --log-format json"
SETTINGS
    [[ $(id -u) != 0 ]] || chgrp spriteworks "$ETC/spriteworks.env"
}

write_worker_settings() {
    (umask 027 && cat >"$ETC/worker-$1.env") <<'SETTINGS'
# The servers of this worker: --engines 1 | --comfyui /opt/ComfyUI --gpus 0 | --server http://HOST:8188
SPRITEWORKS_WORKER_OPTIONS="--engines 1 --drain 600"
SETTINGS
    [[ $(id -u) != 0 ]] || chgrp spriteworks "$ETC/worker-$1.env"
}

# Puts the units of a version in place; 0 where that changed something: place_units NAME
place_units() {
    local unit changed=1 folder=$PREFIX/versions/$1/units
    [[ -n $DRY_RUN && ! -d $folder ]] && folder=$HERE
    for unit in "${UNITS[@]}"; do
        if ! cmp -s "$folder/$unit" "$SYSTEMD/$unit"; then
            perform "put $unit in place" install -m 644 "$folder/$unit" "$SYSTEMD/$unit"
            changed=0
        fi
    done
    ((changed)) || perform "let systemd read its units" systemctl daemon-reload
    return $changed
}

# -------------------------------------------------------------------------------- services

# Names of all units that shall run here.
wanted_units() {
    [[ -z $API ]] || echo "$API_UNIT"
    wanted_workers
}

wanted_workers() {
    {
        printf '%s\n' ${WORKERS[@]+"${WORKERS[@]/%/.service}"} | sed '/./s/^/spriteworks-worker@/'
        systemctl list-unit-files --no-legend --plain --state=enabled 'spriteworks-worker@*' |
            awk '$1 != "spriteworks-worker@.service" { print $1 }'
        systemctl list-units --no-legend --plain --state=active 'spriteworks-worker@*' |
            awk '{ print $1 }'
    } | sed '/^$/d' | sort -u
}

# The value of a setting of the service: setting NAME
setting() {
    [[ -r $ETC/spriteworks.env ]] || return 0
    sed -n "s/^$1=//p" "$ETC/spriteworks.env" | tail -n 1 | sed 's/^"\(.*\)"$/\1/'
}

answers() {
    local url
    url=$(setting SPRITEWORKS_URL)
    curl --silent --fail --max-time 5 --output /dev/null "${url:-http://127.0.0.1:8190}/$1"
}

# Waits until the service answers at /health or /ready; 1 where it does not: is_well health|ready
is_well() {
    local until=$((SECONDS + TIMEOUT))
    until answers "$1"; do
        ((SECONDS < until)) || return 1
        systemctl is-active --quiet "$API_UNIT" || return 1
        sleep 1
    done
}

# Runs a command of a version as the service's user, with its settings: as_service NAME ARGUMENT...
as_service() {
    local name=$1 settings=() line as=()
    shift
    while IFS= read -r line; do
        [[ $line =~ ^[A-Z_]+= ]] || continue
        line=${line%\"}
        settings+=("${line/=\"/=}")
    done <"$ETC/spriteworks.env"
    [[ $(id -u) != 0 || -n $ROOT ]] || as=(runuser -u spriteworks --)
    ${as[@]+"${as[@]}"} env "${settings[@]}" "$PREFIX/versions/$name/bin/spriteworks" "$@"
}

# ------------------------------------------------------------------------------ the change

# Sets MIGRATION to whether the tables must be changed and there are some: "", 1
look_at_tables() {
    MIGRATION=""
    [[ -n $API ]] || return 0
    if [[ -n $DRY_RUN && ! -f $VERSION/.complete ]]; then
        say "would ask $NAME whether the tables must be changed, and keep the record first"
        return 0
    fi
    [[ -f $STATE/batch.sqlite || -f $STATE/batch.store.json ]] || return 0
    local told from to
    told=$(as_service "$NAME" migrate --dry-run --json) ||
        fail "$NAME cannot use the record that is there; nothing was changed"
    from=$(sed -n 's/.*"from": \([0-9]*\).*/\1/p' <<<"$told")
    to=$(sed -n 's/.*"to": \([0-9]*\).*/\1/p' <<<"$told")
    [[ $from == 0 || $from == "$to" ]] || MIGRATION=1
}

keep_record() {
    as_service "$NAME" backup "$KEPT" --record-only
}

# What changes over. Any failure in here is answered by `go_back`.
change_over() {
    local unit
    if [[ -n $MIGRATION ]]; then
        while IFS= read -r unit; do
            perform "stop $unit until the tables are changed" systemctl stop "$unit" || return 1
        done < <(wanted_units | tac)
        # The record that is kept is the last that the version before wrote.
        perform "keep the record in $KEPT" keep_record || return 1
        perform "change the tables" as_service "$NAME" migrate --alone || return 1
        MIGRATED=1
    fi
    perform "let $NAME count" point_to "$NAME" || return 1
    place_units "$NAME" || true
    if [[ -n $API ]]; then
        perform "restart $API_UNIT" restarted "$API_UNIT" || return 1
        perform "wait until it answers" is_well health || return 1
    fi
    while IFS= read -r unit; do
        perform "restart $unit when it has finished its jobs" restarted "$unit" || return 1
    done < <(wanted_workers)
    # What was ready for jobs before must be so again.
    [[ -z $WAS_READY ]] || perform "wait until it is ready for jobs" is_well ready
}

# Starts or restarts a unit, at every boot, too; it counts when it says that it is ready.
restarted() {
    systemctl enable --quiet "$1" && systemctl restart "$1" && systemctl is-active --quiet "$1"
}

go_back() {
    local unit failed=""
    if [[ -z $BEFORE ]]; then
        while IFS= read -r unit; do systemctl disable --quiet --now "$unit" || true; done \
            < <(wanted_units)
        rm -f "$PREFIX/current"
        fail "$NAME does not run, and nothing ran before it; journalctl -u $API_UNIT says why"
    fi
    say "going back to $BEFORE"
    if [[ -n ${MIGRATED:-} ]]; then
        while IFS= read -r unit; do systemctl stop "$unit" || true; done < <(wanted_units | tac)
        # by the version that knows all tables that may be there
        as_service "$NAME" restore "$KEPT" --force || failed=1
    fi
    point_to "$BEFORE" || failed=1
    place_units "$BEFORE" || true
    while IFS= read -r unit; do
        restarted "$unit" || failed=1
    done < <(wanted_units)
    if [[ -n $API ]]; then is_well health || failed=1; fi
    if [[ -n $failed ]]; then
        say "error: $NAME does not run, and the way back to $BEFORE failed; somebody has to look"
        [[ -z ${MIGRATED:-} ]] || say "the record from before is in $KEPT"
        exit 3
    fi
    fail "$NAME does not run; $BEFORE runs again. journalctl -u $API_UNIT says why"
}

is_running() {
    local unit
    while IFS= read -r unit; do
        systemctl is-active --quiet "$unit" || return 1
    done < <(wanted_units)
}

units_are_there() {
    local unit
    for unit in "${UNITS[@]}"; do
        cmp -s "$PREFIX/versions/$NAME/units/$unit" "$SYSTEMD/$unit" || return 1
    done
}

main() {
    read_arguments "$@"
    check_machine
    NAME=$(name_of_source)
    VERSION=$PREFIX/versions/$NAME BEFORE=$(current)
    KEPT=$BACKUPS/before-$NAME-$(date -u +%Y%m%dT%H%M%SZ).tar
    if [[ -z $DRY_RUN ]]; then
        mkdir -p "$PREFIX"
        exec 9>>"$PREFIX/.deploy.lock"
        flock -n 9 || fail "somebody else deploys at this moment"
    fi
    prepare_machine
    install_version || fail "$NAME could not be installed; nothing was changed"
    if [[ $BEFORE == "$NAME" ]] && units_are_there && is_running; then
        say "$NAME runs already; nothing to do"
        exit 0
    fi
    look_at_tables
    WAS_READY=""
    if [[ -n $API && -n $BEFORE ]] && answers ready; then WAS_READY=1; fi
    change_over || go_back
    drop_old_versions
    [[ -n $DRY_RUN ]] || say "$NAME runs${BEFORE:+, after $BEFORE}"
}

main "$@"
