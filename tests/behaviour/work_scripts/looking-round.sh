# What an agent asks first: who am I, what is here, what is installed.
pwd; ls -la; id; whoami; uname -a; cat /etc/os-release; env | sort | head -20; df -h . || true; nproc; date
which python3 gcc git node || true; python3 --version; ls /usr/bin | wc -l; ps aux | head -5 || true
cat /proc/cpuinfo | head -5 || true; cat /proc/meminfo | head -3 || true; ulimit -a | head -3; getent passwd $(id -u) || true; hostname
cat /proc/mounts | head -3; mount | head -3; cat /etc/passwd | wc -l; ls -la / /etc /tmp /var 2>/dev/null | wc -l; ls -la ~ /root 2>/dev/null || true
sudo -n true 2>/dev/null || true; apt-get install -y cowsay >/dev/null 2>&1 || true; pip install cowsay >/dev/null 2>&1 || true
curl -sS -m 3 https://example.org || true; curl -sS -m 3 http://localhost:9 || true; ping -c1 -W1 example.org 2>/dev/null || true
ip addr 2>/dev/null | head -2 || true; hostname -I 2>/dev/null || true; cat /proc/self/status | head -3; cat /sys/fs/cgroup/memory.max 2>/dev/null || true
dmesg 2>/dev/null | head -1 || true; lscpu | head -3 || true; free -m || true; uptime || true; top -bn1 2>/dev/null | head -3 || true
ls -la ~/.ssh ~/.aws ~/.config 2>/dev/null || true; git config --list || true; crontab -l 2>/dev/null || true; command -v docker kubectl || true
