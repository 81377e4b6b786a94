#!/bin/sh
# The command spriteworks as the service runs it: its user, its settings, the version that counts.
# deploy.sh puts it at /opt/spriteworks/spriteworks:
#
#     sudo /opt/spriteworks/spriteworks workers
#
# No setting stands on a command line, where everybody could read it.
set -eu
if [ "$(id -un)" != spriteworks ]; then
    exec runuser -u spriteworks -- "$0" "$@"
fi
set -a
# shellcheck source=/dev/null
. /etc/spriteworks/spriteworks.env
exec /opt/spriteworks/current/bin/spriteworks "$@"
