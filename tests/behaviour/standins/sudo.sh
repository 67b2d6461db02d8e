#!/bin/sh
# Stand-in for sudo(8): runs what it is given, as whom it is.
while [ $# -gt 0 ]; do
	case "$1" in
	-u | -g | -h | -p | -C) shift 2 ;;
	--) shift && break ;;
	-*) shift ;;
	*=*) export "$1" && shift ;;
	*) break ;;
	esac
done
[ $# -gt 0 ] || exit 1
exec "$@"
