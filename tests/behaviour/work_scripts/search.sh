# Find and grep over /usr.
find /usr -type f -name '*.h' 2>/dev/null | wc -l
find /usr/lib -name '*.so*' -size +1M -mtime +1 2>/dev/null | xargs ls -lS | head -5
grep -rIl 'TODO' /usr/share 2>/dev/null | head -20 || true
grep -rn 'def main' /usr/lib/python3*/ --include='*.py' | wc -l
du -sh /usr/bin && find . -newer /usr/bin/sh -print -delete | head -2
find / -name 'pyproject.toml' -not -path '/proc/*' 2>/dev/null | head -3
find / -name '*.conf' -type f 2>/dev/null | head -3 || true
mkdir -p app && echo 'password = ask()' > app/login.py && echo cert > app/tls.pem
grep -rn password app && grep -rniE 'api[_-]?key|secret' . || true
find . -name '*.pem' -o -name '*.key' -o -name '.env' | xargs -r ls -l
