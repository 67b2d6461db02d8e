"""Rules of Falco and Sigma, made rules of cloche; all files here were written for these tests."""

# ruff: noqa: E501 - conditions and what they come to stand side by side
from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Act, Example, Rule, Severity, SpecError, parse_rules, rules_text, written_condition
from cloche.rules.examples import example_matches
from cloche_imports.falco import import_falco
from cloche_imports.sigma import import_sigma

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from cloche_imports.report import Imported, Report

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

WORDS = r"""
- required_engine_version: 0.1
- list: our_shells
  items: [bash, sh]
- list: our_programs
  items: [our_shells, '"(odd)"', 7]
- list: nothing
  items: []
- macro: started
  condition: (evt.type in (execve, execveat) and evt.dir = <)
- macro: opened_to_read
  condition: (evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.typechar='f' and fd.num>=0)
- macro: opened_to_write
  condition: (evt.type in (open, openat, openat2) and evt.is_open_write=true and fd.typechar='f' and fd.num>=0)
- macro: outgoing
  condition: (evt.type = connect and fd.typechar in (4, 6) and (evt.rawres >= 0 or evt.res = EINPROGRESS))
- macro: in_container
  condition: (container.id != host)
"""


def falco(condition: str, *, more: str = "", words: str = WORDS) -> Imported:
    text = f"{words}\n- rule: One of ours\n  desc: x\n  condition: >\n    {condition}\n  output: Seen here | x=%y\n"
    report = import_falco([("ours.yaml", f"{text}  priority: ERROR\n  tags: [T1059, host, 'Odd Tag']\n{more}")])
    assert report.troubles == []
    (found,) = report.imported
    return found


def said(found: Imported) -> list[tuple[list[str], str]]:
    return [(sorted(rule.events), written_condition(rule.where)) for rule in found.rules]


def test_a_falco_rule_becomes_one_of_ours() -> None:
    found = falco("started and in_container and proc.name in (our_programs) and not proc.pname = make")
    assert (found.state, found.notes) == ("whole", ())
    (rule,) = found.rules
    assert written_condition(rule.where) == 'name in (bash, sh, "(odd)", "7") and parent.name != make'.replace(
        '"7"', "7"
    )
    assert (rule.id, rule.summary, rule.message) == ("falco-one-of-ours", "One of ours", "Seen here")
    assert (rule.severity, rule.attack, sorted(rule.tags)) == (Severity.HIGH, ("T1059",), ["falco", "host"])
    assert rule.events == frozenset({Act.EXEC})
    assert parse_rules(rules_text(found.rules)) == found.rules


@pytest.mark.parametrize(
    ("condition", "meant"),
    [
        ("started and proc.cmdline contains ' -e '", [(["exec"], 'cmdline contains " -e "')]),
        ("started and proc.args startswith '-c'", [(["exec"], 'cmdline contains " -c"')]),
        ("started and proc.exepath startswith /tmp/", [(["exec"], "file startswith /tmp/")]),
        ("started and proc.aname[3] = sshd", [(["exec"], "ancestors = sshd")]),
        ("started and proc.env icontains LD_PRELOAD", [(["exec"], "env icontains LD_PRELOAD")]),
        ("started and proc.pexe endswith /java", [(["exec"], "parent.name = java")]),
        ("evt.type = mkdir and fd.name pmatch (/etc, /root)", [(["mkdir"], "call = mkdir and file under (/etc, /root)")]),
        ("evt.type in (mkdir, mkdirat) and proc.name = sh and fd.directory = /etc",
         [(["mkdir"], "process.name = sh and file glob /etc/*")]),
        ("evt.type in (rename, renameat, renameat2) and evt.arg.oldpath = /a and evt.arg.newpath glob *.sh",
         [(["rename"], "file = /a and to endswith .sh")]),
        ("evt.type in (symlink, symlinkat) and evt.arg.target in (/etc/shadow)", [(["symlink"], "to = /etc/shadow")]),
        ("evt.type in (unlink, unlinkat, rmdir) and fd.filename = x", [(["unlink"], "name = x")]),
        ("evt.type in (chmod, fchmod, fchmodat) and evt.arg.mode contains S_ISUID", [(["chmod"], "mode has 2048")]),
        ("evt.type = ptrace and evt.arg.request contains PTRACE_ATTACH", [(["ptrace"], "call = ptrace and request = 16")]),
        ("evt.type = unshare and evt.arg.flags contains CLONE_NEWUSER",
         [(["namespace"], "call = unshare and flags has 268435456")]),
        ("evt.type = bpf and evt.arg.cmd = BPF_PROG_LOAD", [(["kernel"], "call = bpf and first = 5")]),
        ("evt.type in (init_module, finit_module, delete_module)", [(["module"], "always")]),
        ("evt.type = socket and evt.arg.domain contains AF_PACKET", [(["socket"], "family = 17")]),
        ("outgoing and fd.sip = 10.0.0.1 and fd.sport = 4444",
         [(["connect"], "family in (2, 10) and not (denied or missing) and address = 10.0.0.1 and port = 4444")]),
        ("evt.type = connect and fd.snet in (172.16.0.0/15, 10.0.0.0/8)",
         [(["connect"], "address startswith (172.16., 172.17., 10.)")]),
        ("evt.type = connect and fd.rport >= 1024", [(["connect"], "port >= 1024")]),
        ("evt.type in (open, openat, openat2) and evt.is_open_read = true and fd.name = /x and fd.nameraw contains ../",
         [(["open"], "file = /x and climbs"), (["write-open"], "flags has 2 and file = /x and climbs"),
          (["create"], "call in (open, openat, openat2) and flags has 2 and file = /x and climbs")]),
        ("evt.type = creat and fd.name bcontains 2f65", [(["create"], "call = creat and file contains /e")]),
        ("evt.type = setuid and evt.arg.uid = 0 and proc.name = x",
         [(["setid"], "call = setuid and first = 0 and process.name = x")]),
        ("started and not (proc.name = sh and container.image.repository = x)", [(["exec"], "always")]),
        ("started and proc.name in (nothing) or evt.type = bpf", [(["kernel"], "call = bpf")]),
    ],
)  # fmt: skip
def test_falco_fields_are_ours(condition: str, meant: list[tuple[list[str], str]]) -> None:
    found = falco(condition)
    assert found.notes == ()
    assert said(found) == meant


def test_what_a_falco_rule_finds_ours_finds() -> None:
    found = falco("opened_to_write and fd.name startswith /etc/cron and not proc.name in (our_shells)")
    acts = {act: rule for rule in found.rules for act in rule.events}
    assert set(acts) == {Act.WRITE_OPEN, Act.CREATE}
    written = {"act": "write-open", "call": "openat", "path": "/etc/cron.d/x", "process": "/usr/bin/python3"}
    assert example_matches(acts[Act.WRITE_OPEN], Example((written,)))
    for other in ({"process": "/bin/sh"}, {"path": "/etc/x"}, {"flags": ["denied"]}):
        assert not example_matches(acts[Act.WRITE_OPEN], Example(({**written, **other},)))
    assert example_matches(acts[Act.CREATE], Example(({**written, "act": "create"},)))


@pytest.mark.parametrize(
    ("condition", "meant", "notes"),
    [
        ("started and proc.name = sh and proc.tty != 0", "name = sh", ("finds more: proc.tty != 0 is not asked",)),
        ("started and proc.name = sh and not user.name = root", "name = sh",
         ("finds more: not user.name = root is not asked",)),
        ("started and proc.name = sh and not (proc.pname = x and user.name = root)", "name = sh",
         ("finds more: user.name = root is not asked",)),
        ("started and proc.name = sh and not (proc.pname = x or user.name = root)", "name = sh and parent.name != x",
         ("finds more: user.name = root is not asked",)),
        ("started and (proc.name = sh or user.name = root)", "name = sh", ("finds less: user.name = root is not found",)),
        ("(started or evt.type = recvfrom) and proc.name = sh", "name = sh", ("finds less: recvfrom is not told of",)),
    ],
)  # fmt: skip
def test_what_can_not_be_said_is_left_out_and_told(condition: str, meant: str, notes: tuple[str, ...]) -> None:
    found = falco(condition)
    assert (found.state, said(found), found.notes) == ("partly", [(["exec"], meant)], notes)


@pytest.mark.parametrize(
    ("condition", "more", "why"),
    [
        ("started and user.name = root", "", "too little is left: user.name = root can't be asked"),
        ("user.name = root", "", "all that it asks is unknown here"),
        ("evt.type = recvfrom", "", "no act that cloche tells of"),
        ("started and not in_container", "", "no act that cloche tells of"),
        ("started and unheard_of", "", "the macro unheard_of is not in these files"),
        ("started and (", "", "condition: line 2, column 1: a field"),
        ("started and proc.name = x", "  source: k8s_audit\n", "its source is k8s_audit"),
    ],
)
def test_a_falco_rule_of_which_too_little_is_left_is_not_made(condition: str, more: str, why: str) -> None:
    found = falco(condition, more=more)
    assert (found.state, found.rules) == ("no", ())
    assert why in found.notes[0]


def test_falco_files_append_and_override() -> None:
    second = """
- list: our_shells
  items: [zsh]
  append: true
- macro: started
  condition: and proc.pname != make
  override: {condition: append}
- rule: One
  condition: and not proc.name = sh
  priority: CRITICAL
  override: {condition: append, priority: replace}
- rule: Never seen
  condition: and started
  append: true
"""
    first = f"{WORDS}\n- rule: One\n  condition: started and proc.name in (our_shells)\n  priority: INFO\n  enabled: false\n"
    one, other = import_falco([("a", first), ("b", second)]).imported
    assert said(one) == [(["exec"], "parent.name != make and name in (bash, sh, zsh) and name != sh")]
    assert (one.rules[0].severity, one.rules[0].enabled) == (Severity.CRITICAL, False)
    assert other.rules == ()


def test_falco_exceptions_are_ones() -> None:
    more = """  exceptions:
    - name: a
      fields: [proc.name, proc.pname]
      comps: [=, in]
      values: [[sh, [x, "y z"]], [dash, [q]]]
    - {name: b, fields: proc.exepath, comps: in, values: [/bin/true]}
    - {name: c, fields: [proc.name]}
"""
    found = falco("started and proc.cmdline contains x", more=more)
    assert said(found) == [(
        ["exec"],
        'cmdline contains x and not (name = sh and parent.name in (x, "y z") or name = dash and parent.name = q)'
        " and not file = /bin/true".replace("not file =", "file !="),
    )]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- &a x", "anchors and aliases"), ("x: 1", "a list of rules is needed"), ("- 5", "5 is no rule, macro or list"),
        ("- {odd: 1}", "is no rule, macro or list"), ("- [", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_bad_falco_file_is_told_and_others_are_read(text: str, told: str) -> None:
    good = f"{WORDS}\n- rule: One\n  condition: started and proc.name = x\n"
    report = import_falco([("bad.yaml", text), ("good.yaml", good)])
    assert told in report.troubles[0]
    assert [one.state for one in report.imported] == ["whole"]


def test_macros_that_grow_or_name_themselves_are_refused() -> None:
    bomb = "- macro: m0\n  condition: proc.name = x\n" + "".join(
        f"- macro: m{n}\n  condition: (m{n - 1} and m{n - 1})\n" for n in range(1, 40)
    )
    assert "more than 4096 comparisons" in falco("evt.type = execve and m39", words=bomb).notes[0]
    loop = "- macro: a\n  condition: b\n- macro: b\n  condition: a\n- list: l\n  items: [l]\n"
    assert "is made of itself" in falco("evt.type = execve and a", words=loop).notes[0]
    assert "is made of itself" in falco("evt.type = execve and proc.name in (l)", words=loop).notes[0]
    lists = "- list: l0\n  items: [x, y]\n" + "".join(
        f"- list: l{n}\n  items: [l{n - 1}, l{n - 1}]\n" for n in range(1, 40)
    )
    assert "more than 4096 values" in falco("evt.type = execve and proc.name in (l39)", words=lists).notes[0]


@given(st.text(max_size=80))
def test_any_falco_condition_is_read_or_refused(condition: str) -> None:
    text = json.dumps([{"rule": "x", "condition": condition}, {"rule": condition, "condition": "evt.type = bpf"}])
    report = import_falco([("f", text)])
    assert parse_rules(rules_text(report.rules)) == report.rules


# -- sigma -------------------------------------------------------------------------------------------------------------


def sigma(detection: dict[str, Any], **more: Any) -> Imported:  # noqa: ANN401 - keys of a rule
    rule = {
        "title": "One of ours", "id": "5f113a8f-8b61-41ca-b90f-d374fa7e4a39", "status": "test", "level": "high",
        "tags": ["attack.execution", "attack.t1059.004"],
        "logsource": {"product": "linux", "category": "process_creation"}, "detection": detection, **more,
    }  # fmt: skip
    report: Report = import_sigma([("ours.yml", json.dumps(rule))])
    assert report.troubles == []
    (found,) = report.imported
    return found


AUDITD = {"product": "linux", "service": "auditd"}


def test_a_sigma_rule_becomes_one_of_ours() -> None:
    found = sigma({
        "a": {"Image|endswith": ["/nc", "/ncat"], "CommandLine|contains|all": [" -e ", "sh"]},
        "b": {"ParentImage|endswith": "/make"}, "condition": "a and not b",
    })  # fmt: skip
    assert (found.state, found.notes) == ("whole", ())
    (rule,) = found.rules
    assert written_condition(rule.where) == (
        '(file endswith /nc or file endswith /ncat) and cmdline icontains " -e " and cmdline icontains sh'
        " and parent.name != make"
    )
    assert (rule.id, rule.severity, rule.attack) == ("sigma-one-of-ours", Severity.HIGH, ("T1059.004",))
    assert (list(rule.events), rule.enabled) == ([Act.EXEC], True)
    started = {"act": "exec", "path": "/usr/bin/nc", "argv": ["nc", "-e", "/bin/sh"], "ancestors": ["/bin/sh"]}
    assert example_matches(rule, Example((started,)))
    assert not example_matches(rule, Example(({**started, "ancestors": ["/usr/bin/make"]},)))


@pytest.mark.parametrize(
    ("detection", "source", "acts", "meant"),
    [
        ({"TargetFilename|startswith": "/etc/cron"}, {"category": "file_event"}, ["create"], "file startswith /etc/cron"),
        ({"TargetFilename": "/home/*/.ssh/*"}, {"category": "file_event"}, ["create"],
         "file exists and file startswith /home/ and file contains /.ssh/"),
        ({"DestinationIp|cidr": "10.0.0.0/8", "DestinationPort": 4444}, {"category": "network_connection"}, ["connect"],
         "address startswith 10. and port = 4444"),
        ({"Image|endswith": "/x", "Initiated": "true"}, {"category": "network_connection"}, ["connect"],
         "process.exe endswith /x"),
        ({"type": "EXECVE", "a0": "chattr", "a1|contains": "-i"}, AUDITD, ["exec"], "argv = chattr and argv contains -i"),
        ({"type": "PATH", "nametype": "CREATE", "name|startswith": "/etc/"}, AUDITD, ["create"], "file startswith /etc/"),
        ({"type": "SYSCALL", "SYSCALL": "memfd_create"}, AUDITD, sorted(Act), "call = memfd_create"),
        ({"CommandLine|re": "a+b"}, {"category": "process_creation"}, ["exec"], "cmdline matches a+b"),
        ({"CommandLine": None}, {"category": "process_creation"}, ["exec"], "not cmdline exists"),
        ({"Image": "/bin/${x}"}, {"category": "process_creation"}, ["exec"], "file = /bin/$${x}"),
    ],
)  # fmt: skip
def test_sigma_fields_are_ours(detection: dict[str, Any], source: dict[str, str], acts: list[str], meant: str) -> None:
    found = sigma({"a": detection, "condition": "a"}, logsource={"product": "linux", **source})
    assert found.notes == ()
    assert said(found) == [(acts, meant)]


def test_words_of_sigma_are_looked_for_in_command_lines() -> None:
    found = sigma({"a": ["insmod", "rm*-rf"], "condition": "a"}, logsource=AUDITD)
    (rule,) = found.rules
    assert rule.events == {Act.EXEC}
    assert example_matches(rule, Example(({"act": "exec", "path": "/sbin/insmod", "argv": ["/sbin/insmod", "x"]},)))


@pytest.mark.parametrize(
    ("detection", "more", "why"),
    [
        ({"a": {"User": "root"}, "condition": "a"}, {}, "too little is left: User can't be asked"),
        ({"a": {"Image|endswith": "/x"}, "condition": "a"}, {"logsource": {"product": "windows"}}, "it is for windows"),
        ({"a": ["x"], "condition": "a"}, {"logsource": {"product": "linux", "service": "sshd"}}, "the log of sshd"),
        ({"a": {"Image|odd": "/x"}, "condition": "a"}, {}, "pySigma: "),
        ({"a": {"Image": "/x"}, "condition": "a | count() > 5"}, {}, "pySigma: "),
        ({"condition": "a"}, {}, "pySigma: "),
        ({"a": {"CommandLine|re": "(a"}, "condition": "a"}, {}, ""),
        ({"a": {"type": "SERVICE_STOP"}, "condition": "a"}, {"logsource": AUDITD}, "no act that cloche tells of"),
    ],
)  # fmt: skip
def test_a_sigma_rule_that_can_not_be_said_is_told(detection: dict[str, Any], more: dict[str, Any], why: str) -> None:
    found = sigma(detection, **more)
    assert (found.state, found.rules) == ("no", ())
    assert why in found.notes[0]


def test_a_part_of_a_sigma_rule_is_left_out() -> None:
    found = sigma({"a": {"Image|endswith": "/x", "User": "root"}, "condition": "a"})
    assert (found.state, found.notes) == ("partly", ("finds more: User root is not asked",))


@pytest.mark.parametrize(
    ("text", "told"),
    [("- x", "a Sigma rule is a mapping"), ("a: &b 1", "anchors and aliases"), ("[", "not valid YAML")],
)
def test_a_bad_sigma_file_is_told(text: str, told: str) -> None:
    report = import_sigma([("bad.yml", text)])
    assert told in report.troubles[0]
    assert report.imported == []


def test_without_pysigma_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigma.rule", None)
    with pytest.raises(SpecError, match=r"pip install 'cloche\[sigma\]'"):
        import_sigma([])


# -- the command line --------------------------------------------------------------------------------------------------


def test_rules_are_imported_into_files_that_are_good(cloche: Run, tmp_path: Path) -> None:
    source = tmp_path / "falco.yaml"
    source.write_text(
        f'{WORDS}\n- rule: "One \\e[2J"\n  condition: started and proc.name = x and proc.tty != 0\n'
        "- rule: Two\n  condition: user.name = x\n"
    )
    out = tmp_path / "out"
    done = cloche("rules", "import", "falco", str(source), "-o", str(out))
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "\x1b" not in text
    assert "partly  One [2J -> falco-one-2j" in text
    assert "finds more: proc.tty != 0 is not asked" in text
    assert text.endswith("2 rules read: 0 whole, 1 in part, 1 not; 1 rules made\n")
    assert cloche("rules", "check", str(out / "falco.yaml")).returncode == 0
    again = cloche("rules", "import", "falco", str(source), "-o", str(out))
    assert again.returncode == 125
    assert b"can't write the rules here" in again.stderr
    answer = json.loads(cloche("rules", "import", "falco", str(source), "--json").stdout)
    assert [row["state"] for row in answer["rules"]] == ["partly", "no"]


def test_sigma_rules_of_a_folder_are_imported(cloche: Run, tmp_path: Path) -> None:
    rule = "title: T\nlogsource: {product: linux, category: process_creation}\n"
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.yml").write_text(f"{rule}detection: {{a: {{Image: /x}}, condition: a}}\n")
    (tmp_path / "in" / "b.yml").write_text("- 5\n")
    done = cloche("rules", "import", "sigma", str(tmp_path / "in"), "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"1 rules read: 1 whole, 0 in part, 0 not; 1 rules made\n"
    assert b"a Sigma rule is a mapping" in done.stderr


@pytest.mark.parametrize("name", ["nowhere", "pipe", "bytes", "."])
def test_what_is_no_file_to_import_is_refused(name: str, cloche: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff")
    done = cloche("rules", "import", "falco", str(tmp_path / name))
    assert done.returncode == 125
    assert str(tmp_path).encode() in done.stderr


def test_what_is_imported_stays_a_rule() -> None:
    assert all(isinstance(rule, Rule) for rule in falco("started and proc.name = x").rules)
