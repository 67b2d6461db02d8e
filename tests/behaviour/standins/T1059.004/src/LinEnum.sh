#!/bin/sh
# Stand-in: looks around as such scripts do.
id
uname -a
cat /etc/passwd /etc/sudoers
find / -perm -4000 -type f 2>/dev/null | head
