#!/bin/sh
# Stand-in for crontab(1): keeps a user's table where the real one does, in the way the real one does it.
table=/var/spool/cron/crontabs/${LOGNAME:-root}
case "$1" in
-l) exec cat "$table" ;;
-r) exec rm -f "$table" ;;
-e) exec "${EDITOR:-true}" "$table" ;;
esac
[ "$1" = - ] && set --
cat "$@" > /var/spool/cron/crontabs/tmp.$$ && mv /var/spool/cron/crontabs/tmp.$$ "$table"
