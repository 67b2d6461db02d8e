# What an agent does all day: files written, patched, moved, made executable, run.
mkdir -p proj/src proj/tests && cd proj
printf 'def greet(name):\n    return "hello " + name\n' > src/greet.py
printf 'import sys\nsys.path.insert(0, "src")\nfrom greet import greet\nassert greet("x") == "hello x"\n' > tests/test_greet.py
python3 tests/test_greet.py && cp src/greet.py src/greet.py.orig && sed -i 's/hello/hi/' src/greet.py
diff -u src/greet.py.orig src/greet.py > change.patch || true
cp src/greet.py.orig src/greet.py && (patch -p0 < change.patch || true)
printf '#!/bin/sh\necho "$@"\n' > tool && chmod +x tool && ./tool done && mv tool bin-tool && rm -r tests
printf '[tool]\nx = 1\n' > pyproject.toml && printf 'node_modules\n' > .gitignore && printf 'KEY=value\n' > .env && . ./.env
find . -type f | sort | xargs wc -c && touch -r src/greet.py src/copy && ln -s src/greet.py link && cat link && tail -c 20 link
echo 'export PATH=$HOME/.local/bin:$PATH' >> ~/.bashrc && mkdir -p ~/.local/bin ~/.config/app ~/.cache/app && echo x > ~/.config/app/config
ssh-keygen -q -t ed25519 -N '' -f ~/deploy_key && chmod 600 ~/deploy_key && rm ~/deploy_key
chmod -R u+rwX,go+rX . && rm -rf ~/.cache/app /tmp/scratch* && tar czf ~/backup.tgz -C ~ proj && tar tzf ~/backup.tgz | wc -l
tail -f /dev/null & sleep 0.2; kill $!; nohup sleep 0.1 >/dev/null 2>&1 & wait
