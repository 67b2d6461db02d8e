# Git: init, commits, branches, a merge, clone of file://, log, gc.
git config --global user.email a@example.org && git config --global user.name A
git init -q -b main r && cd r
for n in $(seq 15); do echo $n > f$n && git add f$n && git commit -q -m "commit $n"; done
git checkout -q -b side && echo s > s && git add s && git commit -q -m side && git checkout -q main
git merge -q --no-edit side && git tag -a v1 -m v1 && git stash list && git gc -q
cd .. && git clone -q file:///workspace/r c && cd c && git log --oneline | wc -l && git fsck && git archive HEAD | tar t >/dev/null
git -c protocol.file.allow=always submodule -q add file:///workspace/r sub && git rm -q --cached sub -f && git status --short
