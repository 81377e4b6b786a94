#!/bin/sh
# Looks after Spriteworks, for cron, Nagios, Icinga and whoever takes their plugins:
#
#     scripts/monitor.sh
#     scripts/monitor.sh --url https://sprites.example.org --workers 4 --gpus 2 --json
#     */5 * * * *  monitor.sh --workers 2 >/tmp/state || mail -s Spriteworks admin </tmp/state
#
# One line says how it is, with figures after "|"; a line for each check follows. It ends with
# 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN).
#
# Options:
#     --url URL              the service; else SPRITEWORKS_URL of the settings, else this machine
#     --queue WARN:CRIT      s that the oldest waiting job may have waited (default 900:3600)
#     --workers N            workers that there should be (default 0: as many as there are)
#     --disk PATH            a disk to look at, may be repeated; else that of SPRITEWORKS_DATA
#     --full WARN:CRIT       percent of a disk that may be used (default 85:95)
#     --gpus N               GPUs that this machine should have (default 0: as many as there are)
#     --hot WARN:CRIT        degrees Celsius that a GPU may have (default 85:95)
#     --certificate WARN:CRIT  days that an https certificate should still count (default 21:7)
#     --site URL             an https address whose certificate to look at; else that of --url
#     --cacert FILE          certificates to trust, for one that is signed by yourself
#     --settings FILE        default /etc/spriteworks/spriteworks.env
#     --timeout S            for each question (default 10)
#     --json                 one JSON object instead
set -u

URL='' QUEUE=900:3600 WORKERS=0 DISKS='' FULL=85:95 GPUS=0 HOT=85:95 CERTIFICATE=21:7 SITE='' CACERT=''
SETTINGS=/etc/spriteworks/spriteworks.env TIMEOUT=10 JSON=''
# a line for each check: code, name, value with unit, words; with tabs between
FOUND=''
TAB=$(printf '\t')

misused() {
    echo "UNKNOWN - $*; --help tells more"
    exit 3
}

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }

read_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
        --json) JSON=1 && shift && continue ;;
        -h | --help) usage && exit 0 ;;
        --url | --queue | --workers | --disk | --full | --gpus | --hot | --certificate | --site | \
            --cacert | --settings | --timeout)
            [ $# -gt 1 ] || misused "$1 needs a value"
            ;;
        *) misused "there is no option $1" ;;
        esac
        case $1 in
        --url) URL=$2 ;;
        --queue) QUEUE=$2 ;;
        --workers) WORKERS=$2 ;;
        --disk) DISKS="$DISKS$2
" ;;
        --full) FULL=$2 ;;
        --gpus) GPUS=$2 ;;
        --hot) HOT=$2 ;;
        --certificate) CERTIFICATE=$2 ;;
        --site) SITE=$2 ;;
        --cacert) CACERT=$2 ;;
        --settings) SETTINGS=$2 ;;
        --timeout) TIMEOUT=$2 ;;
        esac
        shift 2
    done
    for numbers in "$WORKERS" "$GPUS" "$TIMEOUT"; do
        case $numbers in '' | *[!0-9]*) misused "$numbers is no number" ;; esac
    done
    for numbers in "$QUEUE" "$FULL" "$HOT" "$CERTIFICATE"; do
        case $numbers in
        *[!0-9:]* | *:*:* | :* | *:) misused "$numbers is not WARN:CRIT" ;;
        *:*) ;;
        *) misused "$numbers is not WARN:CRIT" ;;
        esac
    done
    [ -n "$URL" ] || URL=$(setting SPRITEWORKS_URL)
    URL=${URL:-http://127.0.0.1:8190}
    URL=${URL%/}
    SITE=${SITE:-$URL}
    [ -n "$DISKS" ] || DISKS=$(setting SPRITEWORKS_DATA)
}

# The value of a setting of the service: setting NAME
setting() {
    [ -r "$SETTINGS" ] || return 0
    sed -n "s/^$1=//p" "$SETTINGS" | tail -n 1 | sed 's/^"\(.*\)"$/\1/'
}

# Notes a check: note CODE NAME VALUE WORDS
note() {
    FOUND="$FOUND$1$TAB$2$TAB$3$TAB$4
"
}

# 0, 1 or 2: judged VALUE WARN:CRIT, where more is worse
judged() {
    awk -v value="$1" -v warn="${2%:*}" -v crit="${2#*:}" \
        'BEGIN { print (value + 0 >= crit + 0) ? 2 : (value + 0 >= warn + 0) ? 1 : 0 }'
}

ask() {
    if [ -n "$CACERT" ]; then set -- --cacert "$CACERT" "$@"; fi
    curl --silent --show-error --max-time "$TIMEOUT" "$@" 2>&1
}

check_service() {
    if ! answer=$(ask --fail "$URL/health"); then
        reason=$(printf '%s\n' "$answer" | sed -n 's/^curl: ([0-9]*) //p' | head -n 1)
        note 2 service '' "$URL does not answer: $reason"
        return 1
    fi
    note 0 service '' "$URL answers"
    answer=$(ask --write-out '\n%{http_code}' "$URL/ready")
    case $answer in
    *200) note 0 ready '' "ready for jobs" ;;
    *) note 2 ready '' "not ready: $(printf '%s' "$answer" | sed '$d' | tr -d '\n\t')" ;;
    esac
}

# Sums the figures of a metric: figure NAME [LABELS as they stand in the line]
figure() {
    printf '%s\n' "$METRICS" | awk -v name="spriteworks_$1" -v labels="${2:-}" '
        { bare = $1; sub(/\{.*/, "", bare) }
        bare == name && (labels == "" || index($0, labels)) { sum += $NF; seen = 1 }
        END { if (seen) printf "%.0f", sum }'
}

check_queue() {
    age=$(figure queue_oldest_seconds)
    waiting=$(figure jobs 'status="queued"')
    if [ -z "$age" ]; then
        note 3 queue '' "$URL/metrics tells no age of the queue"
        return
    fi
    note "$(judged "$age" "$QUEUE")" queue "${age}s" "the oldest of ${waiting:-0} waiting jobs: $age s"
}

check_workers() {
    live=$(figure workers 'status="live"')
    stale=$(figure workers 'status="stale"')
    open=$(figure server_open)
    words="${live:-0} workers live, ${stale:-0} stale, ${open:-0} servers open"
    code=0
    if [ "${stale:-0}" -gt 0 ] || [ "${live:-0}" -lt "$WORKERS" ]; then code=1; fi
    if [ "$WORKERS" -gt 0 ]; then
        words="$words; there should be $WORKERS workers"
        [ "${live:-0}" -gt 0 ] || code=2
    fi
    # Nobody can make anything, whoever has the servers.
    [ "${open:-0}" -gt 0 ] || code=2
    note "$code" workers "${live:-0}" "$words"
}

check_disks() {
    while IFS= read -r path; do
        [ -n "$path" ] || continue
        used=$(df -P "$path" 2>/dev/null | awk 'NR == 2 { sub("%", "", $5); print $5 }')
        if [ -z "$used" ]; then
            note 3 disk '' "there is no $path"
        else
            note "$(judged "$used" "$FULL")" "disk$path" "$used%" "$path: $used% of the disk used"
        fi
    done <<DISKS
$DISKS
DISKS
}

check_gpus() {
    if ! command -v nvidia-smi >/dev/null; then
        [ "$GPUS" -eq 0 ] || note 2 gpus 0 "no nvidia-smi; there should be $GPUS GPUs"
        return
    fi
    # One that fell off the bus lets it hang.
    if ! told=$(timeout "$TIMEOUT" nvidia-smi --format=csv,noheader,nounits \
        --query-gpu=index,temperature.gpu,memory.used,memory.total 2>&1); then
        note 2 gpus '' "nvidia-smi fails: $(printf '%s' "$told" | tail -n 1)"
        return
    fi
    count=$(printf '%s\n' "$told" | grep -c '^[0-9]')
    code=0
    [ "$count" -ge "$GPUS" ] || code=2
    note "$code" gpus "$count" "$count GPUs$([ "$code" -eq 0 ] || echo "; there should be $GPUS")"
    while IFS=', ' read -r index degrees used total; do
        note "$(judged "$degrees" "$HOT")" "gpu$index" "$degrees" \
            "GPU $index: $degrees degrees, $used of $total MiB"
    done <<GPUS
$told
GPUS
}

check_certificate() {
    case $SITE in https://*) ;; *) return ;; esac
    host=${SITE#https://}
    host=${host%%/*}
    case $host in *:*) port=${host##*:} host=${host%:*} ;; *) port=443 ;; esac
    certificate=$(timeout "$TIMEOUT" openssl s_client -connect "$host:$port" -servername "$host" \
        </dev/null 2>/dev/null | openssl x509 2>/dev/null)
    if [ -z "$certificate" ]; then
        note 3 certificate '' "$host:$port shows no certificate"
        return
    fi
    code=0
    lasts "${CERTIFICATE%:*}" || code=1
    lasts "${CERTIFICATE#*:}" || code=2
    until=$(printf '%s\n' "$certificate" | openssl x509 -noout -enddate)
    note "$code" certificate '' "the certificate counts until ${until#notAfter=}"
}

# Whether the certificate counts for so many days more
lasts() {
    printf '%s\n' "$certificate" | openssl x509 -noout -checkend $(($1 * 86400)) >/dev/null
}

# The code of all of it: what is wrong for sure is worse than what nobody knows.
worst() {
    for code in 2 1 3; do
        case "
$FOUND" in *"
$code$TAB"*) echo "$code" && return ;; esac
    done
    echo 0
}

word_of() {
    case $1 in 0) echo OK ;; 1) echo WARNING ;; 2) echo CRITICAL ;; *) echo UNKNOWN ;; esac
}

tell_lines() {
    printf '%s' "$FOUND" | awk -F '\t' -v code="$1" -v word="$(word_of "$1")" '
        BEGIN { split("OK,WARNING,CRITICAL,UNKNOWN", words, ",") }
        $1 == code && code != 0 { head = head (head ? "; " : "") $4 }
        $3 != "" { figures = figures " " "\x27" $2 "\x27=" $3 }
        { lines = lines words[$1 + 1] " " $2 ": " $4 "\n" }
        END {
            gsub(/\|/, "/", head); gsub(/\|/, "/", lines)
            print "SPRITEWORKS " word " - " (head ? head : "all is well") (figures ? " |" figures : "")
            printf "%s", lines
        }'
}

tell_json() {
    printf '%s' "$FOUND" | awk -F '\t' -v code="$1" -v word="$(word_of "$1")" '
        function quoted(text) {
            gsub(/\\/, "&&", text); gsub(/"/, "\\\\&", text); gsub(/[[:cntrl:]]/, " ", text)
            return "\"" text "\""
        }
        BEGIN { split("OK,WARNING,CRITICAL,UNKNOWN", words, ",")
                printf "{\"status\": \"%s\", \"code\": %d, \"checks\": [", word, code }
        {
            value = $3; sub(/[^0-9.]*$/, "", value)
            printf "%s\n  {\"name\": %s, \"status\": \"%s\", \"value\": %s, \"text\": %s}", \
                (NR > 1 ? "," : ""), quoted($2), words[$1 + 1], (value == "" ? "null" : value), quoted($4)
        }
        END { print "\n]}" }'
}

read_arguments "$@"
command -v curl >/dev/null || misused "curl is missing here; install it"
if check_service; then
    if METRICS=$(ask --fail "$URL/metrics"); then
        check_queue
        check_workers
    else
        note 3 metrics '' "$URL/metrics cannot be read"
    fi
fi
check_disks
check_gpus
check_certificate
code=$(worst)
if [ -n "$JSON" ]; then tell_json "$code"; else tell_lines "$code"; fi
exit "$code"
