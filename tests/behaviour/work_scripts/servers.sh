# A web server of Python's own, asked by threads.
echo hello > index.txt
python3 -m http.server --bind 127.0.0.1 8000 >log 2>&1 & server=$!
python3 - <<'END'
import concurrent.futures, time, urllib.request
def get(_):
    return urllib.request.urlopen("http://127.0.0.1:8000/index.txt").read()
for _ in range(100):
    try:
        get(0)
        break
    except OSError:
        time.sleep(0.1)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    assert set(pool.map(get, range(40))) == {b"hello\n"}
END
kill $server
