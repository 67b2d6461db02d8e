"""Secrets: files that hold them, and searches for them."""

from __future__ import annotations

from typing import Final

from cloche import Act, Count, F, Rule, Severity
from cloche_rules.words import READS, RUN, SECRETS, SHELLS, WRITES, at, did, hit, miss, ran, runs, says

_STORES: Final = (
    "**/.aws/credentials", "**/.aws/config", "**/.azure/**", "**/.config/gcloud/**", "**/.kube/config",
    "**/.docker/config.json", "**/.ssh/id_*", "**/.netrc", "**/.git-credentials", "**/.pgpass", "**/.my.cnf",
    "**/.pypirc", "**/.npmrc", "**/.gnupg/**", "**/.config/gh/hosts.yml", "**/.oci/**", "**/.vault-token",
    "**/.terraform.d/credentials.tfrc.json", "**/.password-store/**", "**/keyrings/*.keyring", "**/*.kdbx",
    "**/wallet.dat", "**/.mozilla/firefox/*/logins.json", "**/.mozilla/firefox/*/key4.db",
    "**/.config/google-chrome/*/Login Data", "**/.config/chromium/*/Login Data", "**/.config/google-chrome/*/Cookies",
    "**/.claude.json", "**/.config/op/**", "**/.s3cfg", "**/.boto", "**/.rclone.conf", "**/.config/rclone/rclone.conf",
)  # fmt: skip
_PRIVATE: Final = (
    "**/.ssh/id_*", "**/.aws/credentials", "**/.git-credentials", "**/.gnupg/private-keys-v1.d/**", "**/.vault-token",
    "**/.pgpass",
)  # fmt: skip
_NAMES: Final = (
    "id_rsa", "id_dsa", "id_ed25519", "id_ecdsa", "authorized_keys", ".aws/credentials", ".netrc", ".git-credentials",
    ".pgpass", ".kube/config", "accessTokens.json", "msal_token_cache", ".oci/sessions", "credentials.db",
    "access_tokens.db", "application_default_credentials", ".docker/config.json", ".gnupg", ".azure", ".oci/", "gcloud",
    ".s3cfg", "/.aws", ".mozilla", "places.sqlite", "google-chrome", ".config/chromium", "-name .env", ".kdbx",
    "wallet.dat", "logins.json", "key4.db", "Login Data", "unattend.xml", ".htpasswd", "wp-config.php", "shadow.bak",
    ".vault-token", "private.key", ".ppk", "serviceaccount/token",
)  # fmt: skip
_SEARCHERS: Final = (
    "find", "grep", "egrep", "fgrep", "rg", "ag", "ack", "locate", "fd", "xargs", "tar", "zip", "rsync", "scp", "cp",
    "cat", "dd", "head", "tail", "strings", "less", "more", "sed", "awk", "mawk", "gawk", "ed", "vim", "vi", "nano",
    "base64", "xxd", "od", "hexdump", "tee", "cut", "7z", "gzip", "curl", "wget", "gpg",
)  # fmt: skip
_SHADOW: Final = (
    "/etc/shadow", "/etc/gshadow", "/etc/master.passwd", "/etc/security/opasswd", "/etc/sudoers",
)  # fmt: skip
_HINT: Final = "give the program the secret that it needs by its input or its environment"

RULES: Final = (
    Rule(
        id="sensitive-file-read", severity=Severity.HIGH, events=READS,
        summary="a file is read that holds secrets of the machine, or that the policy calls sensitive",
        where=F.file.glob(*SECRETS, "${sensitive}") | (F.file.glob("/root/.ssh/*") & ~F.file.under("${home}/.ssh"))
        | (F.file.glob("/run/secrets/*", "/run/secrets/*/**", "/var/run/secrets/*/**") & ~F.file.under("${mounted}")),
        mode="inline", best_effort=True,
        attack=("T1003.008", "T1552.001"), tags=frozenset({"credentials", "reads"}),
        message="{file} is read", hint=_HINT,
        examples=(
            hit(did("open", "/etc/shadow")), hit(did("open", "/workspace/x", resolved="/etc/shadow")),
            hit(did("open", "/srv/key.pem"), sensitive=["/srv/*.pem"]), hit(did("open", "/root/.ssh/id_rsa")),
            miss(did("open", "/root/.ssh/config"), home="/root"), miss(did("open", "/etc/sudoers.d")),
            miss(did("open", "/run/secrets/db"), mounted=["/run/secrets"]), miss(did("open", "/etc/passwd")),
        ),
    ),
    Rule(
        id="sensitive-file-changed", severity=Severity.HIGH, events=WRITES | {Act.UNLINK, Act.CHMOD, Act.CHOWN},
        summary="a file is changed that the policy calls sensitive",
        where=F.file.glob("/etc/ssh/ssh_host_*_key", "/etc/krb5.keytab", "/run/secrets/**", "${sensitive}"),
        mode="inline", best_effort=True,
        attack=("T1565.001", "T1552"), tags=frozenset({"credentials"}),
        message="{file} is changed", hint="write into your own folder",
        examples=(
            hit(did("write-open", "/run/secrets/db")),
            hit(did("rename", "/srv/key.pem", "/tmp/k"), sensitive=["/srv/*.pem"]),
            miss(did("write-open", "/workspace/secrets/db")),
        ),
    ),
    Rule(
        id="private-key-read", severity=Severity.MEDIUM, events=READS,
        summary="a private key or a password file of a user is read",
        where=F.file.glob(*_PRIVATE),
        attack=("T1552.004", "T1552.001"), tags=frozenset({"credentials", "reads"}),
        message="{file} is read", hint=_HINT,
        examples=(hit(did("open", "/workspace/.ssh/id_ed25519")), miss(did("open", "/workspace/.ssh/known_hosts"))),
    ),
    Rule(
        id="credential-stores-read", severity=Severity.HIGH, events=READS,
        summary="many different files with secrets are opened one after another",
        where=F.file.glob(*_STORES, *SECRETS) & ~F.file.glob("**/.npmrc", "**/node_modules/**"),
        count=Count(4, per=60, distinct=("path",)),
        attack=("T1552.001", "T1555"), tags=frozenset({"credentials", "reads"}),
        message="over 4 files with secrets within a minute, the last {file}", hint=_HINT,
        examples=(
            hit(*(did("open", f"/workspace/{name}", at=n) for n, name in enumerate((".aws/credentials", ".netrc",
                            ".kube/config", ".pgpass", ".ssh/id_rsa")))),
            miss(*(did("open", "/workspace/.netrc", at=n) for n in range(9))),
        ),
    ),
    Rule(
        id="shadow-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command names a file with secrets of the machine",
        where=says(*_SHADOW),
        attack=("T1003.008",), tags=frozenset({"credentials"}),
        message="{cmdline}", hint=_HINT,
        examples=(hit(ran("cat", "/etc/shadow")), miss(ran("cat", "shadow.md"))),
    ),
    Rule(
        id="account-list-command", severity=Severity.LOW, events=RUN,
        summary="a command reads the list of users or groups",
        where=runs(*_SEARCHERS, *SHELLS, "getent", "sort", "wc") & (says("/etc/passwd", "/etc/group", "/etc/login.defs")
            | F.argv.one_of("passwd", "group", "shadow") & runs("getent")),
        attack=("T1087.001", "T1003.008"), tags=frozenset({"credentials", "accounts", "discovery"}),
        message="{cmdline}", hint="a sandbox has one user: id tells",
        examples=(hit(ran("cat", "/etc/passwd")), hit(ran("getent", "passwd")), miss(ran("cat", "/etc/hostname"))),
    ),
    Rule(
        id="credential-search", severity=Severity.MEDIUM, events=RUN,
        summary="a command looks for keys, tokens, password files or a browser's data by their names",
        where=runs(*_SEARCHERS, *SHELLS) & says(*_NAMES),
        attack=("T1552.001", "T1552.004"), tags=frozenset({"credentials", "discovery"}),
        message="{cmdline}", hint=_HINT,
        examples=(
            hit(ran("find", "/", "-name", "id_rsa")), hit(ran("find", "/root/.azure", "-name", "x")),
            miss(ran("find", "/usr", "-name", "*.h")), miss(ran("grep", "-r", "TODO", "/usr/share")),
        ),
    ),
    Rule(
        id="password-search", severity=Severity.LOW, events=RUN,
        summary="a command looks for passwords or keys in the contents of files",
        where=runs("grep", "egrep", "fgrep", "rg", "ag", "ack", "awk", "gawk", "mawk", "strings", "find", *SHELLS)
        & F.cmdline.icontains("passw", "-e pass", "secret", "api_key", "apikey", "BEGIN RSA", "BEGIN OPENSSH",
            "PRIVATE KEY", "aws_access", "AKIA", "-i pass", "token") & says("grep", " rg -", "ack -", "awk", "strings",
            " -exec"),
        attack=("T1552.001", "T1552.003"), tags=frozenset({"credentials", "discovery"}),
        message="{cmdline}", hint=_HINT,
        examples=(
            hit(ran("grep", "-ri", "password", "/")), hit(ran("sh", "-c", "cat ~/.history | grep -e pass")),
            miss(ran("grep", "-r", "TODO", "/usr/share")), miss(ran("sh", "-c", "echo password")),
        ),
    ),
    Rule(
        id="key-copied", severity=Severity.MEDIUM, events=frozenset({Act.RENAME, Act.LINK, Act.SYMLINK, Act.CREATE,
                Act.UNLINK}) | {Act.CHMOD},
        summary="a private key or password file is made, moved, removed or linked",
        where=at(*_PRIVATE, "**/.netrc"),
        attack=("T1552.004", "T1098.004"), tags=frozenset({"credentials"}),
        message="{file}", hint=_HINT,
        examples=(
            hit(did("rename", "/workspace/.ssh/id_rsa", "/tmp/x")), miss(did("create", "/workspace/.ssh/known_hosts")),
        ),
    ),
    Rule(
        id="credential-tool", severity=Severity.HIGH, events=RUN,
        summary="a tool that collects or breaks passwords is started",
        where=F.name.one_of("mimipenguin", "mimipenguin.sh", "mimipenguin.py", "laZagne.py", "lazagne", "hydra",
            "medusa", "john", "hashcat", "ncrack", "unshadow", "truffleHog", "linpeas.sh", "LinEnum.sh", "linenum.sh",
            "pspy64", "les.sh", "ldapdomaindump", "enum4linux", "crackmapexec", "netexec", "responder", "kerbrute")
        | (runs(*SHELLS, "python", "python3", "perl") & F.argv.endswith("mimipenguin.sh", "mimipenguin.py",
                "laZagne.py", "lazagne.py", "linpeas.sh", "LinEnum.sh", "linenum.sh", "sudo_bruteforce.sh")),
        mode="inline", best_effort=True,
        attack=("T1003", "T1110", "T1555"), tags=frozenset({"credentials", "discovery"}),
        message="{cmdline}", hint="run it on a machine of your own",
        examples=(
            hit(ran("hydra", "-l", "root", "ssh://x")), hit(ran("python3", "/tmp/LaZagne/Linux/laZagne.py", "all")),
            miss(ran("python3", "hydra_config.py")),
        ),
    ),
    Rule(
        id="credential-tool-named", severity=Severity.MEDIUM, events=RUN,
        summary="a command names a tool that collects or breaks passwords",
        where=says("mimipenguin", "LaZagne", "laZagne", "lazagne", "linpeas", "LinEnum", "linenum.sh", "ldapdomaindump",
            "sudo_bruteforce", "pspy64"),
        attack=("T1003", "T1555"), tags=frozenset({"credentials", "discovery"}),
        message="{cmdline}", hint="run it on a machine of your own",
        examples=(hit(ran("curl", "-O", "http://x/linpeas.sh")), miss(ran("curl", "-O", "http://x/lint.sh"))),
    ),
    Rule(
        id="brute-force-command", severity=Severity.MEDIUM, events=RUN,
        summary="su, ssh or sudo is given a password by a program",
        where=runs("sshpass", "sucrack", "expect") | says("sshpass -p", "sudo -S", "sudo -k -S", "| su -", " su -c"),
        attack=("T1110.001", "T1110.004"), tags=frozenset({"credentials"}),
        message="{cmdline}", hint="use keys, and never somebody else's",
        examples=(hit(ran("sshpass", "-p", "x", "ssh", "a@b")), miss(ran("ssh-keygen", "-t", "ed25519"))),
    ),
    Rule(
        id="many-sudo", severity=Severity.HIGH, events=RUN,
        summary="su or sudo is tried over and over",
        where=runs("su", "sudo", "sshpass", "passwd", "unix_chkpwd"),
        count=Count(30, per=60),
        attack=("T1110.001",), tags=frozenset({"credentials"}),
        message="over 30 times in a minute", hint="nothing in a sandbox needs sudo",
        examples=(
            hit(*(ran("su", "-c", "id", "root") | {"at": n / 10} for n in range(31))),
            miss(*(ran("sudo", "make") | {"at": n} for n in range(3))),
        ),
    ),
)  # fmt: skip
